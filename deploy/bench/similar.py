"""Train `albeam-small` on the pairs of the STS benchmark, and measure it on the dev pairs.

``python -m deploy.bench.similar --data FOLDER`` trains with the defaults of `albeam finetune
similar`, so many steps, without a look at the dev pairs, and prints Spearman's correlation on them
before and after. The exit code is 1 if it is below its target; ``--json FILE`` writes the figures.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from deploy.bench.targets import Target, finish
from deploy.model.measure import similarity
from pipeline.training.finetune_similar import finetune_similar
from pipeline.training.task_options import SimilarOptions
from transforms.models.options import DEFAULT_MODEL, ModelOptions, Placement
from transforms.models.resolve import find_folder

#: The least correlation.
LEAST = 0.86


def main() -> int:
    """Train, measure and print; return 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("ALBEAM_DATA") or "../shared/data")
    )
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--steps", type=int, default=90)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    model = Path(find_folder(ModelOptions(given.model))[0])
    pairs = given.data / "stsb" / "dev.parquet"
    with tempfile.TemporaryDirectory(prefix="albeam-") as work:
        options = SimilarOptions(
            model=model,
            data=(given.data / "stsb" / "train.parquet",),
            output=Path(work) / "similar",
            work=Path(work) / "similar.work",
            steps=given.steps,
        )
        finetune_similar(options)
        before, after = (
            similarity(str(folder), pairs, Placement()) for folder in (model, options.output)
        )
    found = {"steps": given.steps, "before": before, "after": after}
    print(f"Spearman's correlation on the dev pairs: {before:.4f} before, {after:.4f} after")
    return finish(found, [Target("STS-B dev, Spearman", LEAST, after)], given.json)


if __name__ == "__main__":
    raise SystemExit(main())
