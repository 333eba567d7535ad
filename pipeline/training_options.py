"""What both trainings are asked: lengths, rates, seed and place."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from transforms.errors import BadInput
from transforms.model import DEVICES

PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The part that ``albeam distill`` and ``albeam finetune`` share.

    Attributes:
        output: folder of the finished model.
        work: folder of vectors and checkpoints.
        max_tokens: tokens of a text at most.
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

    deciding: ClassVar[tuple[str, ...]] = ("batch_tokens", "epochs", "minutes", "rate", "seed")

    output: Path
    work: Path
    max_tokens: int = 256
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
        if self.epochs <= 0:
            raise BadInput(f"--epochs {self.epochs} is not above 0")
        for name, known in (("device", DEVICES), ("precision", PRECISIONS)):
            if (value := getattr(self, name)) not in known:
                raise BadInput(f"--{name} {value} is unknown: use one of {', '.join(known)}")

    def settings(self) -> dict[str, Any]:
        """Name the numbers that decide the weights: a resume must find the same."""
        return {"optimizer": "muon", **{name: getattr(self, name) for name in self.deciding}}


def fingerprint(path: Path) -> str:
    """Hash a file: the first 16 hex digits of its sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
