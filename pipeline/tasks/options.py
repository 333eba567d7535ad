"""Options of classify, evaluate-task and predict; nothing heavy is imported here."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.command_line.runner_names import DEFAULT_RUNNER
from transforms.errors import BadInput, check_at_least
from transforms.ingest.options import PassageOptions
from transforms.models.options import Placement
from transforms.tasks.options import HeadOptions


@dataclass(frozen=True)
class LabelOptions:
    """The columns of labelled rows.

    Attributes:
        label_column: the column of labels.
        multi_label: whether it has lists of labels.
        text_column: the column of texts.
        id_column: the column of document ids, where documents of a store are labelled.
    """

    label_column: str = "label"
    multi_label: bool = False
    text_column: str = "text"
    id_column: str = "id"


@dataclass(frozen=True)
class RowOptions:
    """The columns of known rows of other tasks than to classify.

    Attributes:
        tokens_column: the column of words, of a tagger.
        tags_column: the column of their BIO tags.
        spans_column: the column of entities in texts, instead of words and tags.
        first_column: the column of the first texts of pairs.
        second_column: the column of the second texts.
        score_column: the column of their scores.
        question_column: the column of questions, of a reader.
        context_column: the column of their passages.
        answers_column: the column of their answers.
    """

    tokens_column: str = "tokens"
    tags_column: str = "tags"
    spans_column: str | None = None
    first_column: str = "sentence1"
    second_column: str = "sentence2"
    score_column: str = "score"
    question_column: str = "question"
    context_column: str = "context"
    answers_column: str = "answers"


@dataclass(frozen=True)
class ClassifyOptions:
    """Options of ``albeam classify``.

    Attributes:
        store: the store's URL.
        labels: Parquet files with ids and labels.
        output: the folder of the head.
        columns: the columns of the labels.
        snapshot: the snapshot's number; None for the newest.
        head: how the head is fitted.
    """

    store: str
    labels: tuple[Path, ...]
    output: str
    columns: LabelOptions = LabelOptions()
    snapshot: int | None = None
    head: HeadOptions = HeadOptions()


@dataclass(frozen=True)
class EvaluateTaskOptions:
    """Options of ``albeam evaluate-task``.

    Attributes:
        head: the folder of the head.
        data: Parquet files with texts, or with ids of the store's documents, and what is known of
            them.
        store: the store that has the documents; None to embed texts.
        snapshot: its snapshot; None for the newest.
        report: the HTML file of the report; None for none.
        columns: the columns of texts and labels.
        rows: the columns of the rows of other tasks.
        passages: Parquet files of the passages that questions name by id.
        model: the present folder of the encoder, if it has moved.
        stride: minimum tokens that adjacent passages of a text share.
        placement: device and dtype of the encoder.
        seed: the seed of the bootstrap.
    """

    head: str
    data: tuple[Path, ...]
    store: str | None = None
    snapshot: int | None = None
    report: str | None = None
    columns: LabelOptions = LabelOptions()
    rows: RowOptions = RowOptions()
    passages: tuple[Path, ...] = ()
    model: str | None = None
    stride: int = PassageOptions.stride
    placement: Placement = Placement()
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise BadInput for values that can't work."""
        check_at_least("seed", self.seed, 0)
        _check_snapshot(self.snapshot, self.store)


@dataclass(frozen=True)
class PredictOptions:
    """Options of ``albeam predict``.

    Attributes:
        head: the folder of the head.
        inputs: Parquet files, folders or globs with documents; empty if a store has them.
        store: the store that has the documents.
        snapshot: its snapshot; None for the newest.
        output: the folder of the predictions; None if they only go into the store.
        column: the metadata column of the store that gets the labels; None for none.
        id_column: the input's column of ids.
        text_column: the input's column of texts.
        question_column: the input's column of questions, for a reader.
        context_column: the input's column of their passages.
        model: the present folder of the encoder, if it has moved.
        stride: minimum tokens that adjacent passages of a text share.
        placement: device and dtype of the encoder.
        rows_per_part: documents of a part, which is a file; None to choose automatically.
        runner: ``direct`` or the name of a Beam runner.
        beam_args: options for Beam.
    """

    head: str
    inputs: tuple[str, ...] = ()
    store: str | None = None
    snapshot: int | None = None
    output: str | None = None
    column: str | None = None
    id_column: str = LabelOptions.id_column
    text_column: str = LabelOptions.text_column
    question_column: str = RowOptions.question_column
    context_column: str = RowOptions.context_column
    model: str | None = None
    stride: int = PassageOptions.stride
    placement: Placement = Placement()
    rows_per_part: int | None = None
    runner: str = DEFAULT_RUNNER
    beam_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise BadInput for values that can't work together."""
        check_at_least("rows_per_part", self.rows_per_part, 1)
        _check_snapshot(self.snapshot, self.store)
        if bool(self.inputs) == (self.store is not None):
            problem = "must be given either as INPUT or as --store"
            raise BadInput("input", None, problem, "Give one of the two")
        if self.output is None and self.column is None:
            remedy = "Give --output FOLDER, or --as COLUMN to write into the store"
            raise BadInput("output", None, "is missing", remedy)
        if self.column is not None and self.store is None:
            problem = "writes into a store, and none is given"
            raise BadInput("as", self.column, problem, "Give --store STORE in place of the input")
        if self.column is not None and self.snapshot is not None:
            problem = "can't be combined with --as, which works on the newest snapshot"
            raise BadInput("snapshot", self.snapshot, problem, "Leave --snapshot out")


def _check_snapshot(snapshot: int | None, store: str | None) -> None:
    if snapshot is not None and store is None:
        raise BadInput("snapshot", snapshot, "needs --store", "Give both, or leave it out")
