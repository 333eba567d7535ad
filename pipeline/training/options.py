"""What both trainings are asked: lengths, rates, seed and place."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from transforms.errors import BadInput
from transforms.models.options import DEVICES

PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The part that ``albeam distill`` and ``albeam finetune`` share.

    Attributes:
        output: folder of the finished model.
        work: folder of vectors and checkpoints.
        batch_tokens: tokens of a batch, padding counted.
        epochs: passes over the data.
        minutes: end after so long, the schedule fitted to it; None for no bound.
        rate: the highest learning rate.
        seed: of order and sampling.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        evaluate_every: steps between validations.
        resume: go on from the last checkpoint.
    """

    deciding: ClassVar[tuple[str, ...]] = (
        *("batch_tokens", "epochs", "minutes", "rate", "seed", "evaluate_every"),
    )
    least: ClassVar[dict[str, float]] = {"batch_tokens": 8, "seed": 0, "evaluate_every": 1}
    above_zero: ClassVar[tuple[str, ...]] = ("epochs", "minutes", "rate")

    output: Path
    work: Path
    batch_tokens: int = 4096
    epochs: float = 1.0
    minutes: float | None = None
    rate: float = 3e-4
    seed: int = 17
    device: str = "auto"
    precision: str = "auto"
    evaluate_every: int = 100
    resume: bool = False

    def __post_init__(self) -> None:
        """Raise BadInput for options that cannot work."""
        for name, least in self.least.items():
            if (value := getattr(self, name)) is not None and not value >= least:
                raise BadInput(f"{option(name)} {value} is below {least:g}")
        for name in self.above_zero:
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise BadInput(f"{option(name)} {value} is not a number above 0")
        for name, known in (("device", DEVICES), ("precision", PRECISIONS)):
            if (value := getattr(self, name)) not in known:
                raise BadInput(f"--{name} {value} is unknown: use one of {', '.join(known)}")

    def settings(self) -> dict[str, Any]:
        """Name the numbers that decide the weights: a resume must find the same."""
        return {"optimizer": "muon", **{name: getattr(self, name) for name in self.deciding}}


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    Attributes:
        output: the model's folder.
        steps: that were taken.
        best_step: the step whose weights were written.
        score: of those weights, by validation.
        seconds: of training, those before a resume included.
    """

    output: str
    steps: int
    best_step: int
    score: float
    seconds: float

    @classmethod
    def of(cls, output: Path, state: Any) -> "Trained":
        """From the last state of a trainer."""
        return cls(str(output), state.step, state.best_step, state.best, state.seconds)

    def __str__(self) -> str:
        """Write it as one line."""
        kept = f"the weights of step {self.best_step}, score {self.score:.4f}"
        if self.best_step == 0:
            kept += "; no later step did better than the model as it came"
        return f"wrote {self.output}: {kept}"


def option(name: str) -> str:
    """How the command line calls a field."""
    return "--" + name.replace("_", "-")


def fingerprint(path: Path) -> str:
    """Hash a file: the first 16 hex digits of its sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
