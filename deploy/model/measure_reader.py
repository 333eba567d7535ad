"""Measure a reader on SQuAD's development questions, given the right paragraph of each.

`python -m deploy.model.measure_reader READER --data DATA` prints exact match and F1 with their 95 %
intervals: on SQuAD 1.1, where each question has an answer, and on SQuAD 2.0, where the reader may
find none. `--questions` takes fewer. DATA has squad_dev and squad2. Run on Linux.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.bench.answers.reading import ALWAYS_NONE, read_unanswerable
from deploy.bench.reader import measure
from transforms.models.options import DEFAULT_READER, Placement
from transforms.search.reader import Reader


def rows(name: str, found: dict[str, Any]) -> Iterator[str]:
    """Yield the table rows of a set of questions."""
    for metric, value in found["values"].items():
        interval = found["intervals"].get(metric)
        shown = "" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"
        label = "F1 of always finding none" if metric == ALWAYS_NONE else metric
        yield f"| {name} | {found['rows']:,} | {label} | {value:.4f} | {shown} |"


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reader", nargs="?", default=DEFAULT_READER)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=100_000, help="of each set, at most")
    given = parser.parse_args()
    reader = Reader(given.reader, Placement())
    print("| questions | how many | metric | value | 95 % interval |")
    print("| --- | ---: | --- | ---: | --- |")
    answered = measure(reader, given.data / "squad_dev", given.questions)
    print("\n".join(rows("SQuAD 1.1", answered)), flush=True)
    print("\n".join(rows("SQuAD 2.0", read_unanswerable(reader, given.data, given.questions))))


if __name__ == "__main__":
    main()
