"""The options of ``albeam compress``, without heavy imports."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipeline.training.options import TrainingOptions
from transforms.compression.options import Pruning
from transforms.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class CompressOptions(TrainingOptions):
    """The options of ``albeam compress``. The controls are those of the recovery.

    Attributes:
        model: folder of the model.
        pruning: how much is pruned.
        recover: train the smaller model to give the vectors of the original one.
        texts: Parquet files with a column ``text``; empty for none.
        max_tokens: where the recovery cuts texts, at most.
        held_out: texts kept for comparison.
        questions: questions with their relevant passages; None for none.
        passages: the passages of ``questions``.
    """

    decisive: ClassVar = (*TrainingOptions.decisive, "max_tokens", "held_out")
    least: ClassVar = {**TrainingOptions.least, "max_tokens": 8, "held_out": 1}

    model: Path
    pruning: Pruning
    recover: bool = False
    texts: tuple[Path, ...] = ()
    max_tokens: int = 256
    held_out: int = 500
    questions: Path | None = None
    passages: Path | None = None
    rate: float = 1e-3

    def __post_init__(self) -> None:
        """Raise BadInput for values that can't work."""
        super().__post_init__()
        output = self.output.absolute()
        if output == self.model.absolute():
            raise BadInput("output", str(self.output), "is the model itself", "Name another folder")
        if output.exists() and not (output.is_dir() and not any(output.iterdir())):
            raise BadInput("output", str(self.output), "exists", "Name a new folder")
        if self.recover and not self.texts:
            raise BadInput("recover", None, "needs texts to learn from", "Give --texts")
        for name in ("minutes", "resume"):
            if getattr(self, name) and not self.recover:
                problem = "belongs to the recovery, which is not asked for"
                raise BadInput(name, None, problem, "Give --recover and --texts, or leave it out")
        for name, other in (("questions", "passages"), ("passages", "questions")):
            if getattr(self, name) and not getattr(self, other):
                raise BadInput(
                    name, str(getattr(self, name)), f"needs --{other}", f"Give --{other}"
                )
