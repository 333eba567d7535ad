"""The options of ``albeam finetune classify`` and its kin, without heavy imports."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipeline.training.options import AugmentedOptions
from transforms.errors import BadInput, check_choice, check_share
from transforms.tasks.options import CLASS_WEIGHTS


@dataclass(frozen=True, kw_only=True)
class TaskOptions(AugmentedOptions):
    """The options that the trainings on labelled rows share.

    Attributes:
        model: folder of the model to start from.
        data: Parquet files of the training rows.
        validation: Parquet files of the validation rows; none means that rows of ``data`` are
            held out.
        held_out: the share of the rows of ``data`` that is held out then.
        max_tokens: tokens of a window, special tokens included; None for the model's own limit.
    """

    decisive: ClassVar = (*AugmentedOptions.decisive, "held_out", "max_tokens")
    least: ClassVar = {**AugmentedOptions.least, "max_tokens": 8}
    positive: ClassVar = (*AugmentedOptions.positive, "held_out")
    has_head: ClassVar = True

    model: Path
    data: tuple[Path, ...]
    validation: tuple[Path, ...] = ()
    held_out: float = 0.1
    optimizer: str = "adamw"
    dropout: float = 0.1
    batch_tokens: int = 1024
    max_tokens: int | None = None

    def files(self) -> dict[str, tuple[Path, ...]]:
        """Return the files of rows by option."""
        return {"data": self.data, "validation": self.validation}

    def __post_init__(self) -> None:
        """Raise BadInput for values that can't work."""
        super().__post_init__()
        if not self.held_out <= 0.5:
            raise BadInput(
                "held_out", self.held_out, "must be at most 0.5", "Give a share such as 0.1"
            )
        if self.output.absolute() == self.model.absolute():
            raise BadInput("output", str(self.output), "is the model itself", "Name another folder")


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions(TaskOptions):
    """The options of ``albeam finetune classify``.

    Attributes:
        text_column: the column of texts.
        label_column: the column of labels.
        multi_label: whether a row has a list of labels.
        class_weights: ``balanced`` weighs each class by the inverse of its rows.
    """

    decisive: ClassVar = (
        *TaskOptions.decisive,
        *("text_column", "label_column", "multi_label", "class_weights"),
    )

    text_column: str = "text"
    label_column: str = "label"
    multi_label: bool = False
    class_weights: str = "none"
    epochs: float = 4.0
    rate: float = 1e-4

    def __post_init__(self) -> None:
        """Raise BadInput for values that can't work."""
        super().__post_init__()
        check_choice("class_weights", self.class_weights, CLASS_WEIGHTS)


@dataclass(frozen=True, kw_only=True)
class TagOptions(TaskOptions):
    """The options of ``albeam finetune tag``.

    Attributes:
        tokens_column: the column of words.
        tags_column: the column of their BIO tags.
        text_column: the column of texts, with ``spans_column``.
        spans_column: the column of entities in texts, instead of words and tags.
        class_weights: ``balanced`` weighs each tag by the inverse of its words.
    """

    decisive: ClassVar = (
        *TaskOptions.decisive,
        *("tokens_column", "tags_column", "text_column", "spans_column"),
        "class_weights",
    )

    tokens_column: str = "tokens"
    tags_column: str = "tags"
    text_column: str = "text"
    spans_column: str | None = None
    class_weights: str = "none"
    epochs: float = 8.0
    optimizer: str = "muon"
    rate: float = 1e-3

    def __post_init__(self) -> None:
        """Raise BadInput for values that can't work."""
        super().__post_init__()
        check_choice("class_weights", self.class_weights, CLASS_WEIGHTS)


@dataclass(frozen=True, kw_only=True)
class ReadOptions(TaskOptions):
    """The options of ``albeam finetune read``.

    Attributes:
        passages: Parquet files of the passages that rows name by id; none means that each row has
            its own passage.
        question_column: the column of questions.
        context_column: the column of passages, without ``passages``.
        answers_column: the column of answers.
        no_answer: whether rows without answers are kept, and the network may find none.
        window_tokens: tokens of a training window; None for ``max_tokens``.
    """

    decisive: ClassVar = (
        *TaskOptions.decisive,
        *("question_column", "context_column", "answers_column", "no_answer", "window_tokens"),
    )
    least: ClassVar = {**TaskOptions.least, "max_tokens": 16, "window_tokens": 16}

    passages: tuple[Path, ...] = ()
    question_column: str = "question"
    context_column: str = "context"
    answers_column: str = "answers"
    no_answer: bool = False
    window_tokens: int | None = None
    held_out: float = 0.05
    epochs: float = 2.0
    rate: float = 5e-4
    dropout: float = 0.0
    evaluate_every: int = 500

    def __post_init__(self) -> None:
        """Raise BadInput for values that can't work."""
        super().__post_init__()
        most = self.max_tokens
        if most is not None and self.window_tokens is not None and self.window_tokens > most:
            raise BadInput(
                "window_tokens",
                self.window_tokens,
                f"must not exceed the {most} of --max-tokens",
                "Give fewer tokens",
            )

    def files(self) -> dict[str, tuple[Path, ...]]:
        """Return the files of rows by option."""
        return {**super().files(), "passages": self.passages}


@dataclass(frozen=True, kw_only=True)
class SimilarOptions(TaskOptions):
    """The options of ``albeam finetune similar``.

    Attributes:
        first_column: the column of the first texts.
        second_column: the column of the second texts.
        score_column: the column of the scores: a higher one means more similar.
        average: share of the new weights in the result; the rest are those of ``model``.
    """

    decisive: ClassVar = (
        *TaskOptions.decisive,
        *("first_column", "second_column", "score_column"),
    )
    has_head: ClassVar = False

    first_column: str = "sentence1"
    second_column: str = "sentence2"
    score_column: str = "score"
    average: float = 1.0
    dropout: float = 0.0
    epochs: float = 4.0
    rate: float = 1e-4
    batch_tokens: int = 2048

    def __post_init__(self) -> None:
        """Raise BadInput for values that can't work."""
        super().__post_init__()
        check_share("average", self.average)
