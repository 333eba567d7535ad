"""Pretrain a small ALBERT from nothing; compare it, fine-tuned, with the same network at random.

``python -m deploy.bench.pretraining_gain --data FOLDER --minutes 30`` pretrains on the paragraphs
of FOLDER without labels, then trains a classifier for sentiment and one for topics from both
networks, with the same steps, and prints what each reaches on the test rows. ``--work`` keeps the
models, so that a second run resumes the pretraining or measures what is there. The exit code is 1
if neither corpus gains beyond the intervals; ``--json FILE`` writes the figures.
"""

from __future__ import annotations

import argparse
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from deploy.bench.resuming import continued
from deploy.bench.targets import Target, finish
from pipeline.tasks import evaluate_task
from pipeline.tasks.options import EvaluateTaskOptions
from pipeline.training.finetune_classify import finetune_classify
from pipeline.training.options import PretrainOptions
from pipeline.training.pretrain import pretrain
from pipeline.training.task_options import ClassifyOptions
from transforms.training.options import StudentShape

_SHAPE = StudentShape(
    8_000, layers=3, groups=1, hidden=192, heads=6, intermediate=768, embedding=128, positions=128
)
_TEXTS = ("text/paragraphs", "squad_train/passages", "broad/texts")
CORPORA = ("rotten_tomatoes", "stackoverflow_titles")


def pretraining(data: Path, work: Path, minutes: float) -> PretrainOptions:
    """Return the options of the pretraining."""
    texts = tuple(data / f"{name}.parquet" for name in _TEXTS)
    return PretrainOptions(
        texts=tuple(path for path in texts if path.exists()),
        output=work / "pretrained",
        work=work / "pretrained.work",
        shape=_SHAPE,
        max_tokens=_SHAPE.positions,
        minutes=minutes,
        epochs=100.0,
        evaluate_every=200,
        patience=10**6,
    )


def at_random(options: PretrainOptions, work: Path) -> Path:
    """Write the same network, with its vocabulary, after one step of no size."""
    output = work / "random"
    if not output.exists():
        folder = work / "random.work"
        folder.mkdir(exist_ok=True)
        for file in options.work.glob("vocabulary-*"):
            shutil.copy(file, folder)
        one = replace(options, output=output, work=folder)
        pretrain(replace(one, steps=1, rate=1e-12, minutes=None))
    return output


def fine_tuned(model: Path, folder: Path, work: Path, steps: int) -> dict[str, Any]:
    """Train a classifier from a model; return its accuracy on the test rows, and its interval."""
    name = f"{model.name}-{folder.name}"
    options = ClassifyOptions(
        model=model,
        data=(folder / "train.parquet",),
        validation=(folder / "dev.parquet",),
        output=work / name,
        work=work / f"{name}.work",
        optimizer="muon",
        rate=1e-3,
        steps=steps,
        evaluate_every=max(1, steps // 5),
    )
    if not options.output.exists():
        finetune_classify(options)
    test = EvaluateTaskOptions(str(options.output), (folder / "test.parquet",))
    metrics = evaluate_task.run(test).metrics
    return {
        "accuracy": metrics.values["accuracy"],
        "interval": list(metrics.intervals["accuracy"]),
    }


def main() -> int:
    """Run all, and print it; return 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("ALBEAM_DATA") or "../shared/data")
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--steps", type=int, default=400, help="of each fine-tuning")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    options = pretraining(given.data, given.work, given.minutes)
    found: dict[str, Any] = {}
    gains = {}
    if not options.output.exists():
        found["pretraining"] = asdict(pretrain(continued(options)))
        print(found["pretraining"], flush=True)
    models = {"pretrained": options.output, "random": at_random(options, given.work)}
    for corpus in CORPORA:
        rows = {
            name: fine_tuned(model, given.data / corpus, given.work, given.steps)
            for name, model in models.items()
        }
        found[corpus] = rows
        gains[corpus] = rows["pretrained"]["interval"][0] - rows["random"]["interval"][1]
        word = "beyond" if gains[corpus] > 0 else "within"
        print(f"{corpus}: {rows}: {word} the intervals", flush=True)
    best = max(gains, key=gains.__getitem__)
    target = Target(f"gain of pretraining beyond the intervals, {best}", 0, gains[best])
    return finish(found, [target], given.json)


if __name__ == "__main__":
    raise SystemExit(main())
