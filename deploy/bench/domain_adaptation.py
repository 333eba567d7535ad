"""Adapt `albeam-small` to the texts of a field: masked perplexity, and what similarity loses.

``python -m deploy.bench.domain_adaptation --data FOLDER --minutes 15`` trains the heads of
pretraining alone first, on the answers of MedQuAD, so that the encoder's own share in the fall of
the perplexity is seen. It then trains all weights, and mixes them with those of the start. It
prints held-out perplexity and the Spearman correlation on STS-B dev for each, with ``--retrieval``
also what MedQuAD's questions find. ``--work`` keeps the models; ``--json FILE`` writes the figures.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploy.model.measure import retrieval, similarity
from pipeline.training.options import PretrainOptions
from pipeline.training.pretrain import pretrain
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_folder
from transforms.training.checkpoints import CHECKPOINT

SHARES = (1.0, 0.5, 0.25)


def main() -> None:
    """Run all, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("ALBEAM_DATA") or "../shared/data")
    )
    parser.add_argument("--model", default="albeam-small")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--head-minutes", type=float, default=4.0)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--retrieval", action="store_true", help="takes minutes a model")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    start = Path(find_folder(ModelOptions(given.model))[0])
    shared = PretrainOptions(
        texts=(given.data / "medquad/passages.parquet",),
        output=given.work / "head",
        work=given.work / "head.work",
        model=start,
        train="head",
        minutes=given.head_minutes,
        epochs=100.0,
        patience=10**6,
        evaluate_every=100,
    )
    rows: dict[str, Any] = {given.model: {}}
    head = _trained(shared)
    rows["heads alone"] = head
    for share in SHARES:
        options = replace(
            shared,
            model=shared.output,
            train="all",
            rate=given.rate,
            minutes=given.minutes,
            average=share,
            output=given.work / f"adapted-{share:g}",
            work=given.work / "adapted.work",
        )
        rows[f"share {share:g}"] = _trained(options)
    placement = Placement()
    for name, row in rows.items():
        folder = str(start if name == given.model else row.pop("folder"))
        row["stsb_dev"] = similarity(folder, given.data / "stsb/dev.parquet", placement)
        if given.retrieval:
            row["medquad"] = retrieval(folder, given.data / "medquad", placement)
        if "perplexity" in row:
            row["fall"] = 1 - row["perplexity"] / head["perplexity"]
        print(f"{name}: {row}", flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _trained(options: PretrainOptions) -> dict[str, Any]:
    resumed = (options.work / CHECKPOINT).exists()
    result = pretrain(replace(options, resume=resumed))
    return {
        "folder": result.output,
        "steps": result.steps,
        "masked_accuracy": result.masked_accuracy,
        "perplexity": result.perplexity,
        "order_accuracy": result.order_accuracy,
    }


if __name__ == "__main__":
    main()
