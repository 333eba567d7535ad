"""Add the changes of several fine-tunings to one model.

`python -m deploy.model.soup --base DISTILLED --change WEIGHT TUNED START … --output FOLDER` writes
the base's weights plus the weighted differences TUNED - START (task arithmetic, Ilharco et al.,
2023). With equal weights and one start this is a model soup (Wortsman et al., 2022). All models
must come from one distillation; otherwise the sum is meaningless. Run on Linux.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from transforms.errors import BadInput
from transforms.training.contrastive import load_tokenizer
from transforms.training.export import read_model, write_model

Weights = Mapping[str, npt.NDArray[np.float32]]
Change = tuple[float, Path, Path]


def add_changes(base: Weights, changes: Sequence[tuple[float, Weights, Weights]]) -> Weights:
    """Add weighted changes, each (weight, tuned, start), to the weights of a model."""
    return {
        name: one + sum(weight * (tuned[name] - start[name]) for weight, tuned, start in changes)
        for name, one in base.items()
    }


def soup(base: Path, changes: Sequence[Change], output: Path, max_tokens: int) -> None:
    """Apply the changes (weight, tuned, start) to a base model, and write the result.

    Raises:
        BadInput: a folder holds no ALBERT, or one of another shape or vocabulary.
    """
    config, weights = read_model(base)
    tokenizer = load_tokenizer(base, config.vocab_size)

    def read_related(folder: Path) -> Weights:
        other, found = read_model(folder)
        same = {n: one.shape for n, one in found.items()} == {
            n: one.shape for n, one in weights.items()
        }
        words = load_tokenizer(folder, other.vocab_size).get_vocab()
        if not same or words != tokenizer.get_vocab():
            raise BadInput(
                "change",
                str(folder),
                f"has other shapes or another vocabulary than {base}",
                "Name models of one distillation",
            )
        return found

    added = [(weight, read_related(tuned), read_related(start)) for weight, tuned, start in changes]
    write_model(output, config, add_changes(weights, added), tokenizer, max_tokens)


def main() -> None:
    """Read the arguments, and write the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument(
        "--change",
        nargs=3,
        action="append",
        required=True,
        metavar=("WEIGHT", "TUNED", "START"),
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--max-tokens", type=int, default=256)
    asked = parser.parse_args()
    changes = [(float(weight), Path(tuned), Path(start)) for weight, tuned, start in asked.change]
    soup(asked.base, changes, asked.output, asked.max_tokens)


if __name__ == "__main__":
    main()
