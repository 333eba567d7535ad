"""The options of ``albeam pretrain``, ``distill`` and ``finetune``, without heavy imports."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from transforms.errors import BadInput, check_choice, check_share
from transforms.models.options import DEVICES
from transforms.tasks.training_options import AUGMENTATIONS
from transforms.training.options import (
    MASKINGS,
    PRECISIONS,
    SENTENCES,
    Controls,
    StudentShape,
)

#: The dtypes of a teacher; ``auto`` is that of the training.
TEACHER_PRECISIONS = ("auto", "float32", "bfloat16", "int8")
NEGATIVES = ("bm25", "none")


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(Controls):
    """The options that all trainings share: the controls, folders, and where to compute.

    Attributes:
        output: folder of the finished model.
        work: folder of vectors and checkpoints.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        tensorboard: write event files to the folder ``tensorboard`` in ``work``.
        resume: continue from the last checkpoint.
    """

    output: Path
    work: Path
    device: str = "auto"
    precision: str = "auto"
    tensorboard: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        """Raise BadInput for values that can't work."""
        super().__post_init__()
        check_choice("device", self.device, DEVICES)
        check_choice("precision", self.precision, PRECISIONS)


@dataclass(frozen=True, kw_only=True)
class AugmentedOptions(TrainingOptions):
    """The options of a training that may change its texts.

    Attributes:
        augment: how the training texts are changed at each pass, of `AUGMENTATIONS`.
    """

    decisive: ClassVar = (*TrainingOptions.decisive, "augment")

    augment: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise BadInput for values that can't work."""
        super().__post_init__()
        for way in self.augment:
            check_choice("augment", way, AUGMENTATIONS)


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(TrainingOptions):
    """The options of ``albeam pretrain``.

    Attributes:
        texts: Parquet files with a column ``text``.
        model: an ALBERT to train further; None for a new one.
        shape: the size of a new network.
        masking: what is masked: n-grams of words, words or tokens.
        sentence: what is asked about two segments: ``sop``, ``nsp`` or ``none``.
        max_tokens: the most tokens of a row, and where the finished model cuts texts.
        held_out: texts kept for validation.
        average: the share of the new weights in the encoder of the result; the rest are those of
            ``model``.
    """

    decisive: ClassVar = (
        *TrainingOptions.decisive,
        *("masking", "sentence", "max_tokens", "held_out"),
    )
    least: ClassVar = {**TrainingOptions.least, "max_tokens": 8, "held_out": 2}
    has_head: ClassVar = True

    texts: tuple[Path, ...]
    model: Path | None = None
    shape: StudentShape = field(default_factory=StudentShape)
    masking: str = "ngram"
    sentence: str = "sop"
    max_tokens: int = 256
    held_out: int = 500
    average: float = 1.0
    rate: float = 2e-3

    def __post_init__(self) -> None:
        """Raise BadInput for values that can't work."""
        super().__post_init__()
        check_choice("masking", self.masking, MASKINGS)
        check_choice("sentence", self.sentence, SENTENCES)
        check_share("average", self.average)
        if self.model is None and self.average != 1:
            raise BadInput(
                "average", self.average, "mixes in the weights of a model", "Name it as --model"
            )
        if self.model is not None and self.shape != StudentShape():
            raise BadInput(
                "model", str(self.model), "has its own shape", "Leave out the options for sizes"
            )
        if self.model is not None and self.output.absolute() == self.model.absolute():
            raise BadInput("output", str(self.output), "is the model itself", "Name another folder")
        if self.model is None and self.max_tokens > self.shape.positions:
            raise BadInput(
                "max_tokens",
                self.max_tokens,
                f"must not exceed the {self.shape.positions} positions",
                "Give fewer tokens, or more --positions",
            )


@dataclass(frozen=True, kw_only=True)
class DistillOptions(TrainingOptions):
    """The options of ``albeam distill``.

    Attributes:
        teacher: sentence-transformers folder of a BERT.
        second_teacher: folder of another teacher, whose similarities count too; None for none.
        second_share: the weight of the second teacher's similarities.
        teacher_precision: the dtype of the teachers' products, of `TEACHER_PRECISIONS`.
        texts: Parquet files with a column ``text``.
        student: an ALBERT to train further; None for a new one.
        shape: the size of a new student.
        max_tokens: where texts are cut.
        held_out: texts kept for validation.
    """

    decisive: ClassVar = (*TrainingOptions.decisive, "max_tokens", "held_out")
    least: ClassVar = {**TrainingOptions.least, "max_tokens": 8, "held_out": 1}

    teacher: Path
    texts: tuple[Path, ...]
    second_teacher: Path | None = None
    second_share: float = 0.5
    teacher_precision: str = "auto"
    student: Path | None = None
    shape: StudentShape = field(default_factory=StudentShape)
    max_tokens: int = 256
    epochs: float = 2.0
    rate: float = 2e-3
    held_out: int = 2000

    def __post_init__(self) -> None:
        """Raise BadInput for values that can't work."""
        super().__post_init__()
        check_share("second_share", self.second_share)
        check_choice("teacher_precision", self.teacher_precision, TEACHER_PRECISIONS)
        if self.second_teacher is None and self.second_share != DistillOptions.second_share:
            raise BadInput(
                "second_share",
                self.second_share,
                "weighs a second teacher, and there is none",
                "Name it as --second-teacher",
            )
        if self.student is not None and self.shape != StudentShape():
            raise BadInput(
                "student",
                str(self.student),
                "has its own shape",
                "Leave out the options for sizes",
            )
        if self.student is None and self.max_tokens > self.shape.positions:
            raise BadInput(
                "max_tokens",
                self.max_tokens,
                f"must not exceed the {self.shape.positions} positions",
                "Give fewer tokens, or more --positions",
            )


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(AugmentedOptions):
    """The options of ``albeam finetune``.

    Attributes:
        model: folder of the model to start from.
        pairs: for each corpus, the Parquet files of passages and of questions.
        distilled: work folder of a distillation whose loss is added; None for none.
        negatives: hard negatives: ``bm25`` or ``none``.
        max_tokens: where the finished model cuts texts; None for the model's own limit.
        passage_tokens: where training cuts texts; None for ``max_tokens``.
        passages: passages of a contrastive batch.
        neighbours: passages of a batch that are hard negatives of each other, at most.
        questions: questions of a passage, at most.
        temperature: the temperature of the contrastive loss.
        keep: weight of the distillation loss; None for 1.
        average: share of the new weights in the result; the rest are those of ``model``.
    """

    decisive: ClassVar = (
        *AugmentedOptions.decisive,
        *("negatives", "passage_tokens", "passages", "neighbours", "questions"),
        *("temperature", "keep"),
    )
    least: ClassVar = {
        **TrainingOptions.least,
        **{"max_tokens": 8, "passage_tokens": 8, "passages": 2, "questions": 1, "keep": 0},
    }
    positive: ClassVar = (*TrainingOptions.positive, "temperature")

    model: Path
    pairs: tuple[tuple[Path, Path], ...]
    distilled: Path | None = None
    negatives: str = "bm25"
    max_tokens: int | None = None
    passage_tokens: int | None = None
    passages: int = 48
    neighbours: int = 4
    questions: int = 4
    temperature: float = 0.05
    keep: float | None = None
    average: float = 1.0
    evaluate_every: int = 50

    def __post_init__(self) -> None:
        """Raise BadInput for values that can't work."""
        super().__post_init__()
        check_choice("negatives", self.negatives, NEGATIVES)
        if not 1 <= self.neighbours <= self.passages:
            raise BadInput(
                "neighbours",
                self.neighbours,
                f"must lie between 1 and the {self.passages} passages of a batch",
                "Change --neighbours or --passages",
            )
        if self.keep is not None and self.distilled is None:
            raise BadInput(
                "keep",
                self.keep,
                "weights the loss of a distillation, and none is given",
                "Name its work folder as --distilled, or give an --average below 1 to stay near "
                "the first weights",
            )
        if self.output.absolute() == self.model.absolute():
            raise BadInput("output", str(self.output), "is the model itself", "Name another folder")
        check_share("average", self.average)
