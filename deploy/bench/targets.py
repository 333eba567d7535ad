"""What the benchmarks of tasks must reach: met or missed, in a table, in JSON and in exit codes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Target:
    """A bound of a figure, and what was measured.

    Attributes:
        name: what was measured.
        bound: the least figure that meets the target, or the most.
        figure: what was measured.
        least: whether the bound is the least figure.
    """

    name: str
    bound: float
    figure: float
    least: bool = True

    @property
    def met(self) -> bool:
        """Whether the figure is within its bound; one that is no number is not."""
        return self.figure >= self.bound if self.least else self.figure <= self.bound

    def row(self) -> str:
        """Return the target as a row of a Markdown table."""
        sign = "≥" if self.least else "≤"
        word = "met" if self.met else "**missed**"
        return f"| {self.name} | {sign} {self.bound:g} | {self.figure:.4f} | {word} |"


HEADER = "| target | bound | figure | |\n| --- | ---: | ---: | --- |"


def finish(found: Mapping[str, Any], targets: Sequence[Target], path: Path | None) -> int:
    """Print the targets, write the figures with them, and return the exit code.

    Args:
        found: the figures.
        targets: what they must reach.
        path: the JSON file; None for none.

    Returns:
        0 if each target is met, else 1.
    """
    print(HEADER)
    for target in targets:
        print(target.row())
    if path is not None:
        content = {**found, "targets": [asdict(target) for target in targets]}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return int(not all(target.met for target in targets))


def read_targets(path: Path) -> list[Target]:
    """Return the targets in a file that `finish` wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return [Target(**each) for each in content["targets"]]
