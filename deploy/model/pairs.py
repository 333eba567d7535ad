"""The pairs of `albeam-small` beside SQuAD's: medical answers, sentences of science, excerpts.

`python -m deploy.model.pairs --data DATA --output PAIRS` writes PAIRS/medquad and PAIRS/science,
each with passages.parquet and questions.parquet. A science "question" is one sentence of a
paragraph, and its passage is the rest (the inverse cloze task of Lee et al., 2019), which is near
to finding the abstract that a claim speaks of. With `--texts TEXTS` of `deploy.model.texts` it
writes PAIRS/excerpts too: of any text a few words in a row, and its rarest words, which is what
search by words goes by (Chen et al., 2021, teach that to vectors). Run on Linux.
"""

from __future__ import annotations

import argparse
import math
import random
import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from deploy.model.texts import sentences

#: Words of a text that excerpts are made of, of an excerpt, and of a question of rare words.
LEAST, EXCERPT, KEYWORDS = 30, (5, 14), (3, 7)
#: The share of texts that an excerpt is taken out of.
TAKEN_OUT = 0.3
SCIENCE = ("pubmedqa", "covid_qa", "openstax")


def write(folder: Path, passages: list[tuple[str, str]], asked: list[tuple[str, str]]) -> None:
    """Write (id, text) and (question, passage id) rows."""
    folder.mkdir(parents=True, exist_ok=True)
    ids, texts = [p[0] for p in passages], [p[1] for p in passages]
    pq.write_table(pa.table({"id": ids, "text": texts}), folder / "passages.parquet")
    pq.write_table(
        pa.table({"question": [a[0] for a in asked], "relevant": [[a[1]] for a in asked]}),
        folder / "questions.parquet",
    )


def medical(data: Path, most: int, dice: random.Random) -> tuple[list[tuple[str, str]], ...]:
    """Sample MedQuAD: passages, and the questions that they alone answer."""
    rows = pq.read_table(data / "medquad/passages.parquet", columns=["id", "text"]).to_pylist()
    dice.shuffle(rows)
    passages = [(row["id"], row["text"]) for row in rows[:most]]
    kept = {name for name, _ in passages}
    questions = pq.read_table(data / "medquad/questions.parquet").to_pylist()
    asked = [(q["question"], name) for q in questions for name in q["relevant"] if name in kept]
    return passages, asked


def science(data: Path, most: int, dice: random.Random) -> tuple[list[tuple[str, str]], ...]:
    """Sample paragraphs of at least four sentences, and take one sentence out of each."""
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
        asked.append((question, row["id"]))
        if len(passages) == most:
            break
    return passages, asked


def excerpts(texts: list[str], most: int, dice: random.Random) -> tuple[list[tuple[str, str]], ...]:
    """Sample texts of at least `LEAST` words, and ask each for two things that it says.

    One is some of its words in a row; of three in ten texts these are then taken out of it. The
    other is some of its words that few texts have, in their order.
    """
    long = [text for text in texts if text.count(" ") + 1 >= LEAST]
    words_of = [re.findall(r"\w[\w'-]*", text) for text in long]
    held = Counter(word for words in words_of for word in {one.lower() for one in words})
    passages, asked = [], []
    for place in dice.sample(range(len(long)), min(most, len(long))):
        name, text = f"e{place}", long[place]
        words = text.split()
        length = dice.randint(*EXCERPT)
        start = dice.randrange(len(words) - length)
        asked.append((" ".join(words[start : start + length]), name))
        rare = {
            number: math.log(len(long) / held[word.lower()]) * dice.random()
            for number, word in enumerate(words_of[place])
        }
        chosen = sorted(rare, key=lambda n, r=rare: -r[n])[: dice.randint(*KEYWORDS)]
        asked.append((" ".join(words_of[place][n] for n in sorted(chosen)), name))
        if dice.random() < TAKEN_OUT:
            text = " ".join(words[:start] + words[start + length :])
        passages.append((name, text))
    return passages, asked


def main() -> None:
    """Write the pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--medical", type=int, default=3000)
    parser.add_argument("--science", type=int, default=5000)
    parser.add_argument("--texts", type=Path, help="what deploy.model.texts wrote")
    parser.add_argument("--excerpts", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=17)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    write(options.output / "medquad", *medical(options.data, options.medical, dice))
    write(options.output / "science", *science(options.data, options.science, dice))
    if options.texts is not None:
        texts = pq.read_table(options.texts, columns=["text"])["text"].to_pylist()
        write(options.output / "excerpts", *excerpts(texts, options.excerpts, dice))


if __name__ == "__main__":
    main()
