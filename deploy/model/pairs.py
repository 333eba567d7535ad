"""Write pairs that `albeam-small` trains on besides SQuAD: medical answers and science texts.

`python -m deploy.model.pairs --data DATA --output PAIRS` writes PAIRS/medquad and PAIRS/science,
each with passages.parquet and questions.parquet. A science "question" is one sentence of a
paragraph, and its passage is the rest (the inverse cloze task of Lee et al., 2019). This resembles
finding the abstract that a claim is about. Run on Linux.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from deploy.model.texts import sentences
from transforms.storage.output_files import writing

SCIENCE = ("pubmedqa", "covid_qa", "openstax")


Passages = list[tuple[str, str]]
Asked = list[tuple[str, list[str]]]


def write(folder: Path, passages: Passages, asked: Asked) -> None:
    """Write rows (id, text), and then rows (question, ids of its passages)."""
    folder.mkdir(parents=True, exist_ok=True)
    ids, texts = [p[0] for p in passages], [p[1] for p in passages]
    pq.write_table(pa.table({"id": ids, "text": texts}), folder / "passages.parquet")
    rows = pa.table({"question": [a[0] for a in asked], "relevant": [a[1] for a in asked]})
    with writing(str(folder / "questions.parquet")) as partial:
        pq.write_table(rows, partial)


def medical(data: Path, most: int, dice: random.Random) -> tuple[Passages, Asked]:
    """Sample passages of MedQuAD, with the questions that they answer."""
    rows = pq.read_table(data / "medquad/passages.parquet", columns=["id", "text"]).to_pylist()
    dice.shuffle(rows)
    passages = [(row["id"], row["text"]) for row in rows[:most]]
    kept = {name for name, _ in passages}
    questions = pq.read_table(data / "medquad/questions.parquet").to_pylist()
    asked = [(q["question"], [name for name in q["relevant"] if name in kept]) for q in questions]
    return passages, [(question, names) for question, names in asked if names]


def science(data: Path, most: int, dice: random.Random) -> tuple[Passages, Asked]:
    """Sample paragraphs of at least four sentences; one sentence of each becomes a question."""
    rows = pq.read_table(data / "text/paragraphs.parquet").to_pylist()
    dice.shuffle(rows)
    passages, asked = [], []
    for row in rows:
        if not row["source"].startswith(SCIENCE):
            continue
        parts = sentences(row["text"])
        full = [one for one in parts if 7 <= one.count(" ") + 1 <= 40]
        if len(parts) < 4 or not full:
            continue
        question = dice.choice(full)
        rest = [one for one in parts if one != question]
        passages.append((row["id"], " ".join(rest)))
        asked.append((question, [row["id"]]))
        if len(passages) == most:
            break
    return passages, asked


def main() -> None:
    """Read the arguments, and write the pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--medical", type=int, default=3000)
    parser.add_argument("--science", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=17)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    write(options.output / "medquad", *medical(options.data, options.medical, dice))
    write(options.output / "science", *science(options.data, options.science, dice))


if __name__ == "__main__":
    main()
