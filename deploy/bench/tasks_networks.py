"""Train whole networks on labelled texts, and compare them with heads on stored vectors.

``python -m deploy.bench.tasks_networks --data FOLDER`` trains `albeam-small` on sentiment and on
BANKING77, with the settings below, and fits a head on the vectors of the same rows. It prints the
accuracy of both on the test rows with their 95 % intervals. The exit code is 1 if a target is
missed. ``--work`` keeps the models; ``--json FILE`` writes the figures.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deploy.bench.resuming import continued
from deploy.bench.targets import Target, finish
from pipeline.ingest import embed
from pipeline.ingest.options import EmbedOptions
from pipeline.tasks import classify, evaluate_task
from pipeline.tasks.options import ClassifyOptions as FitOptions
from pipeline.tasks.options import EvaluateTaskOptions
from pipeline.training.finetune_classify import finetune_classify
from pipeline.training.task_options import ClassifyOptions
from transforms.index.options import IndexOptions, LexicalOptions
from transforms.models.options import ModelOptions
from transforms.models.resolve import find_folder

#: The settings of each training that differ from the defaults.
CORPORA: dict[str, dict[str, Any]] = {"rotten_tomatoes": {}, "banking77": {}}


#: The least accuracy of a whole network on BANKING77.
LEAST_ACCURACY = 0.925


def head_on_vectors(folder: Path, model: str, work: Path) -> dict[str, Any]:
    """Return what a head on stored vectors reaches on the test rows."""
    table = pq.read_table(folder / "train.parquet", columns=["text", "label"])
    rows = work / f"{folder.name}.parquet"
    names = pa.array([f"{n}" for n in range(len(table))])
    pq.write_table(table.append_column("id", names), rows)
    store, head = str(work / f"{folder.name}-store"), str(work / f"{folder.name}-head")
    embed.run(
        EmbedOptions(
            (str(rows),),
            store,
            ModelOptions(model),
            index=IndexOptions("none"),
            lexical=LexicalOptions("none"),
        )
    )
    classify.run(FitOptions(store, (rows,), head))
    return measured(head, folder, None)


def network(folder: Path, model: str, work: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """Return what a whole network reaches on the test rows."""
    validation = folder / "dev.parquet"
    output = work / f"{folder.name}-network"
    options = ClassifyOptions(
        model=Path(find_folder(ModelOptions(model))[0]),
        data=(folder / "train.parquet",),
        validation=(validation,) if validation.exists() else (),
        output=output,
        work=work / f"{folder.name}.work",
        **changes,
    )
    result = None if output.exists() else finetune_classify(continued(options))
    return measured(str(output), folder, result and result.seconds)


def measured(head: str, folder: Path, seconds: float | None) -> dict[str, Any]:
    """Return a head's accuracy on the test rows, its interval, and the time of its training."""
    test = EvaluateTaskOptions(head, (folder / "test.parquet",))
    metrics = evaluate_task.run(test).metrics
    found = {name: metrics.values[name] for name in ("accuracy", "macro_f1")}
    return {**found, "interval": metrics.intervals["accuracy"], "seconds": seconds}


def targets_of(found: dict[str, Any]) -> list[Target]:
    """Return the targets of the networks that were measured."""
    made = []
    for corpus, rows in found.items():
        if "network" not in rows:
            continue
        accuracy = rows["network"]["accuracy"]
        if corpus == "banking77":
            made.append(Target(f"{corpus}: accuracy of the network", LEAST_ACCURACY, accuracy))
        else:
            name = f"{corpus}: accuracy above the interval of the head on vectors"
            made.append(Target(name, 0, accuracy - rows["vector head"]["interval"][1]))
    return made


def main() -> int:
    """Run all, and print it; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("ALBEAM_DATA") or "../shared/data")
    )
    parser.add_argument("--model", default="albeam-small")
    parser.add_argument("--corpora", nargs="+", choices=CORPORA, default=[*CORPORA])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--heads-only", action="store_true")
    parser.add_argument("--steps", type=int, help="of each training (default: its epochs)")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for corpus in given.corpora:
        folder = given.data / corpus
        found[corpus] = {"vector head": head_on_vectors(folder, given.model, given.work)}
        if not given.heads_only:
            changes = {**CORPORA[corpus], "steps": given.steps}
            found[corpus]["network"] = network(folder, given.model, given.work, changes)
        print(f"{corpus}: {found[corpus]}", flush=True)
    return finish(found, targets_of(found), given.json)


if __name__ == "__main__":
    raise SystemExit(main())
