"""Adapt `albeam-small` to the texts of a field: masked perplexity, and what similarity loses.

``python -m deploy.bench.domain_adaptation --data FOLDER --minutes 15`` trains the heads of
pretraining alone first, on the answers of MedQuAD, so that the encoder's own share in the fall of
the perplexity is seen. It then trains all weights, and mixes them with those of the start. It
prints held-out perplexity and the Spearman correlation on STS-B dev for each, with ``--retrieval``
also what MedQuAD's questions find. The exit code is 1 if a target is missed. ``--work`` keeps the
models; ``--json FILE`` writes the figures.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploy.bench.resuming import continued
from deploy.bench.targets import Target, finish
from deploy.model.measure import retrieval, similarity
from pipeline.training.options import PretrainOptions
from pipeline.training.pretrain import pretrain
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_folder

SHARES = (1.0, 0.5, 0.25)
#: The least fall of the perplexity of one mixture, which may lose so much on STS-B.
LEAST_FALL = 0.2
MOST_LOSS = 0.01


def targets_of(rows: dict[str, Any], model: str) -> list[Target]:
    """Return the targets of the mixture that loses least on STS-B, of those that adapt enough.

    Args:
        rows: what was measured of the model, and of each mixture.
        model: the name of the model.
    """
    mixtures = [each for name, each in rows.items() if name.startswith("share ")]
    enough = [each for each in mixtures if each["fall"] >= LEAST_FALL]
    chosen = max(enough, key=lambda each: each["stsb_dev"], default=None)
    chosen = chosen or max(mixtures, key=lambda each: each["fall"])
    loss = rows[model]["stsb_dev"] - chosen["stsb_dev"]
    return [
        Target("MedQuAD: fall of the masked perplexity", LEAST_FALL, chosen["fall"]),
        Target("STS-B dev: loss of that model", MOST_LOSS, loss, least=False),
    ]


def main() -> int:
    """Run all, and print it; return 1 if a target is missed."""
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
    return finish(rows, targets_of(rows, given.model), given.json)


def _trained(options: PretrainOptions) -> dict[str, Any]:
    result = pretrain(continued(options))
    return {
        "folder": result.output,
        "steps": result.steps,
        "masked_accuracy": result.masked_accuracy,
        "perplexity": result.perplexity,
        "order_accuracy": result.order_accuracy,
    }


if __name__ == "__main__":
    raise SystemExit(main())
