"""Train a reader on SQuAD for some minutes, and measure it on the questions of the dev set.

`python -m deploy.bench.reader --data FOLDER --work FOLDER` trains from `albeam-small`, reads the
right paragraph of each dev question, and prints exact match and F1 with their 95 % intervals. A
second call with the same work folder continues a training that was stopped, and measures a finished
one again. ``--json FILE`` writes the figures, and the curve of the training. The exit code is 1 if
the F1 is below its target.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from deploy.bench.resuming import continued
from deploy.bench.targets import Target, finish
from pipeline.training.finetune_read import finetune_read
from pipeline.training.task_options import ReadOptions
from transforms.models.options import DEFAULT_MODEL, ModelOptions, Placement
from transforms.models.resolve import find_folder
from transforms.search.reader import Reader
from transforms.tasks.metrics.text_metrics import answer_metrics
from transforms.training.records import HISTORY

#: The least F1 after the default minutes.
TARGET = 0.55
#: Longer than any training: the minutes end it.
_EPOCHS = 100.0
_AT_ONCE = 500


def train(data: Path, work: Path, model: str, minutes: float, changes: dict[str, Any]) -> Path:
    """Train a reader on SQuAD's training questions, or continue; return its folder."""
    folder = data / "squad_train"
    checkpoints = work / "reader.work"
    options = ReadOptions(
        model=Path(find_folder(ModelOptions(model))[0]),
        data=(folder / "questions.parquet",),
        passages=(folder / "passages.parquet",),
        output=work / "reader",
        work=checkpoints,
        minutes=minutes,
        epochs=_EPOCHS,
        held_out=0.01,
        patience=1_000,
        evaluate_every=1_000,
        **changes,
    )
    finetune_read(continued(options), lambda line: print(line, file=sys.stderr, flush=True))
    return options.output


def measure(reader: Reader, folder: Path, limit: int | None = None) -> dict[str, Any]:
    """Return what a reader reaches on questions, given the right paragraph of each.

    Args:
        reader: the reader.
        folder: the folder of ``questions.parquet`` and ``passages.parquet``.
        limit: read only so many questions; None for all.
    """
    passages = pq.read_table(folder / "passages.parquet", columns=["id", "text"])
    texts = dict(zip(*(passages[name].to_pylist() for name in ("id", "text")), strict=True))
    rows = pq.read_table(folder / "questions.parquet").to_pylist()[:limit]
    answers = []
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        pairs = [(row["question"], texts[row["relevant"][0]]) for row in some]
        answers += ["" if each is None else each.text for each in reader.spans(pairs)]
    return answer_metrics(answers, [row["answers"] for row in rows]).to_dict()


def main() -> int:
    """Train, measure and print; return 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("ALBEAM_DATA") or "../shared/data")
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of checkpoints and model")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--rate", type=float, default=ReadOptions.rate)
    parser.add_argument("--optimizer", default=ReadOptions.optimizer)
    parser.add_argument("--batch-tokens", type=int, default=ReadOptions.batch_tokens)
    parser.add_argument("--window-tokens", type=int, default=128)
    parser.add_argument("--limit", type=int, help="dev questions to read (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    names = ("rate", "optimizer", "batch_tokens", "window_tokens")
    changes = {name: getattr(given, name) for name in names}
    given.work.mkdir(parents=True, exist_ok=True)
    folder = train(given.data, given.work, given.model, given.minutes, changes)
    found = measure(Reader(str(folder), Placement()), given.data / "squad_dev", given.limit)
    lines = (folder / HISTORY).read_text(encoding="utf-8").splitlines()
    print(f"| {given.minutes:g} minutes, {found['rows']} questions | value | 95 % interval |")
    print("| --- | ---: | --- |")
    for name, value in found["values"].items():
        low, high = found["intervals"][name]
        print(f"| {name} | {value:.4f} | {low:.4f} to {high:.4f} |")
    figures = {
        "minutes": given.minutes,
        "settings": changes,
        **found,
        "curve": [json.loads(line) for line in lines],
    }
    target = Target("SQuAD dev, F1", TARGET, found["values"]["f1"])
    return finish(figures, [target], given.json)


if __name__ == "__main__":
    raise SystemExit(main())
