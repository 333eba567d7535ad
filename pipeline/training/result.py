"""The result of a training, as the commands report it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from transforms.training.checkpoints import State


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training.

    Attributes:
        output: the model's folder.
        steps: steps taken.
        best_step: the step whose weights were written.
        score: the validation score of those weights.
        seconds: time of training, earlier runs included.
        metrics: the metrics of those weights, by name.
    """

    output: str
    steps: int
    best_step: int
    score: float
    seconds: float
    metrics: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_state(cls, output: Path, state: State) -> TrainingResult:
        """Build the result from a trainer's last state."""
        best = next((each for each in state.history if each["step"] == state.best_step), {})
        metrics = {name: value for name, value in best.items() if name not in ("step", "loss")}
        return cls(str(output), state.step, state.best_step, state.best, state.seconds, metrics)

    def measured(self, metrics: Mapping[str, float]) -> TrainingResult:
        """Return the result with the metrics of other weights, which are written instead."""
        return replace(self, score=metrics["score"], metrics=metrics)

    def __str__(self) -> str:
        """Return the result as one line."""
        line = f"wrote {self.output}: the weights of step {self.best_step}, score {self.score:.4f}"
        if self.best_step == 0:
            line += "; no later step was better than the first weights"
        return line


@dataclass(frozen=True)
class RowsResult(TrainingResult):
    """The result of a training on labelled rows.

    Attributes:
        rejected: how many rows, or entities of rows, were left out, by reason.
    """

    rejected: Mapping[str, int] = field(default_factory=dict)
