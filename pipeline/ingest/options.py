"""Options of embed, plan and watch; nothing heavy is imported here."""

from dataclasses import dataclass

from pipeline.command_line.runner_names import DEFAULT_RUNNER, DIRECT
from transforms.catalog.options import ColumnOptions
from transforms.errors import BadInput, check_above_zero, check_at_least, check_choice
from transforms.index.options import IndexOptions, LexicalOptions
from transforms.ingest.options import PassageOptions
from transforms.models.options import ModelOptions, Placement

MODES = ("append", "sync", "replace")
ON_DUPLICATE = ("error", "first", "last")
VECTOR_DTYPES = ("float32", "float16")


@dataclass(frozen=True)
class EmbedOptions:
    """Options of ``albeam embed``, most of which plan and watch share.

    Attributes:
        inputs: Parquet files, folders or globs.
        store: the store's URL; "" for a plan.
        model: the model, and how it makes vectors.
        columns: which columns hold what.
        stride: minimum number of tokens that adjacent passages share.
        placement: device and dtype of the model.
        vector_dtype: the dtype of stored vectors, one of `VECTOR_DTYPES`.
        index: the vector index of the new segment.
        recall_questions: a file of questions on which the index must also reach its recall target.
        lexical: the lexical index of the new segment.
        rows_per_part: input rows of a part; None to choose automatically.
        mode: one of `MODES`.
        on_duplicate: which of several rows of one id counts, one of `ON_DUPLICATE`.
        classify: the folder of a head that labels documents while they are embedded; None for none.
        label_column: the metadata column that gets its labels.
        resume: whether to resume what an earlier run of the same command left.
        runner: ``direct`` or the name of a Beam runner.
        beam_args: options for Beam, as they were given.
    """

    inputs: tuple[str, ...]
    store: str
    model: ModelOptions
    columns: ColumnOptions = ColumnOptions()
    stride: int = PassageOptions.stride
    placement: Placement = Placement()
    vector_dtype: str = "float32"
    index: IndexOptions = IndexOptions()
    recall_questions: str | None = None
    lexical: LexicalOptions = LexicalOptions()
    rows_per_part: int | None = None
    mode: str = "append"
    on_duplicate: str = "error"
    classify: str | None = None
    label_column: str | None = None
    resume: bool = True
    runner: str = DEFAULT_RUNNER
    beam_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise BadInput if an option is out of range."""
        for url in self.inputs:
            if not url.strip():
                raise BadInput("input", url, "is blank", "Give a file, a folder or a URL")
        check_choice("mode", self.mode, MODES)
        check_choice("on_duplicate", self.on_duplicate, ON_DUPLICATE)
        check_choice("vector_dtype", self.vector_dtype, VECTOR_DTYPES)
        check_at_least("rows_per_part", self.rows_per_part, 1)
        if (self.classify is None) != (self.label_column is None):
            given, value, other = ("classify", self.classify, "--as COLUMN")
            if self.classify is None:
                given, value, other = ("as", self.label_column, "--classify HEAD")
            raise BadInput(given, value, f"needs {other}", "Give both, or leave it out")


@dataclass(frozen=True)
class WatchCommandOptions:
    """Options of ``albeam watch``.

    Attributes:
        embed: as for ``albeam embed``; the mode is always append, and of ids that occur twice the
            last counts.
        every: seconds between two polls of the inputs, in the job and in this process.
        until_idle: seconds without anything new after which the watch ends; None never ends it.
        max_segments: live segments above which they are compacted to half as many.
    """

    embed: EmbedOptions
    every: float = 30.0
    until_idle: float | None = None
    max_segments: int = 8

    def __post_init__(self) -> None:
        """Raise BadInput if an option is out of range, or the runner ends with its input."""
        if self.embed.runner == DIRECT:
            remedy = "Give --runner prism or flink"
            raise BadInput("runner", DIRECT, "ends with its input", remedy)
        check_above_zero("every", self.every, "Give a time such as 30s")
        check_at_least("until_idle", self.until_idle, 0, "Give a time such as 5m")
        check_at_least("max_segments", self.max_segments, 1)


@dataclass(frozen=True)
class PlanOptions:
    """Options of ``albeam plan``.

    Attributes:
        embed: the run to plan; its store is ignored.
        rows: plan as if the input had this many rows; None for the rows that it has.
        parallel: workers that embed at the same time, each as fast as this machine.
        tokens_per_second: the speed of one worker; None to measure this machine.
        price_per_hour: the price of one worker, in any currency; None to leave out the cost.
    """

    embed: EmbedOptions
    rows: int | None = None
    parallel: int = 1
    tokens_per_second: float | None = None
    price_per_hour: float | None = None

    def __post_init__(self) -> None:
        """Raise BadInput if an option is out of range."""
        check_at_least("rows", self.rows, 1)
        check_at_least("parallel", self.parallel, 1)
        speed = "Give the measured speed of a worker"
        check_above_zero("tokens_per_second", self.tokens_per_second, speed)
        check_at_least("price_per_hour", self.price_per_hour, 0, "Give the price of one worker")
