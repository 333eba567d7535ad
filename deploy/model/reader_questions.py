"""Write the questions that `albeam-reader` trains on: SQuAD 1.1's, and those without an answer.

`python -m deploy.model.reader_questions --data DATA --output questions.parquet` joins
DATA/squad_train/questions.parquet (question, relevant, answers) with SQuAD 2.0's unanswerable
questions, DATA/squad2/train_unanswerable.parquet (question, passage). The result is for `albeam
finetune read --no-answer`, with the passages of DATA/squad_train.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.storage.output_files import writing


def join(answered: pa.Table, unanswerable: pa.Table) -> pa.Table:
    """Return the questions of both tables; the second ones have no answers.

    Args:
        answered: question, relevant (list of passage ids), answers (list of strings).
        unanswerable: question, passage (an id).
    """
    first = answered.select(["question", "relevant", "answers"])
    passages = unanswerable["passage"].to_pylist()
    columns = [
        unanswerable["question"],
        pa.array([[name] for name in passages], first.schema.field("relevant").type),
        pa.array([[] for _ in passages], first.schema.field("answers").type),
    ]
    second = pa.table(columns, schema=first.schema)
    return pa.concat_tables([first, second])


def main() -> None:
    """Join the questions, and print how many there are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    answered = pq.read_table(given.data / "squad_train/questions.parquet")
    unanswerable = pq.read_table(given.data / "squad2/train_unanswerable.parquet")
    rows = join(answered, unanswerable)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    with writing(str(given.output)) as partial:
        pq.write_table(rows, partial)
    print(f"{given.output}: {len(answered)} questions with answers, {len(unanswerable)} without")


if __name__ == "__main__":
    main()
