"""What the ingest commands are asked to do."""

from dataclasses import dataclass

from transforms.catalog.options import ColumnOptions
from transforms.index.options import IndexOptions, LexicalOptions
from transforms.models.options import ModelOptions, Placement

MODES = ("append", "sync", "replace")
DEFAULT_STRIDE = 32


@dataclass(frozen=True)
class EmbedOptions:
    """``albeam embed``.

    Attributes:
        inputs: Parquet files, folders or globs.
        store: the store's URL.
        model: which model, and how it makes vectors.
        columns: which columns hold what.
        stride: tokens that neighbouring passages share.
        placement: device and dtype.
        vector_dtype: ``float32`` or ``float16``, as written.
        index: which index, and what it must reach.
        recall_questions: a file of questions for which it must reach that too.
        lexical: whether a lexical index is built beside it, and of which language.
        rows_per_part: input rows of a part, or None to choose.
        mode: ``append``, ``sync`` or ``replace``.
        on_duplicate: ``error``, or which of several rows of one id counts: ``first`` or ``last``.
        resume: go on with what an earlier run of the same command left.
        runner: ``direct`` or a Beam runner's name.
        beam_args: options for Beam, as given.
    """

    inputs: tuple[str, ...]
    store: str
    model: ModelOptions
    columns: ColumnOptions = ColumnOptions()
    stride: int = DEFAULT_STRIDE
    placement: Placement = Placement()
    vector_dtype: str = "float32"
    index: IndexOptions = IndexOptions()
    recall_questions: str | None = None
    lexical: LexicalOptions = LexicalOptions()
    rows_per_part: int | None = None
    mode: str = "append"
    on_duplicate: str = "error"
    resume: bool = True
    runner: str = "direct"
    beam_args: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlanOptions:
    """``albeam plan``.

    Attributes:
        embed: the run that is planned; its store is not looked at.
        rows: plan as if the input had so many rows like its own; None for those it has.
        workers: machines or processes that embed side by side, each as fast as this one.
        tokens_per_second: of one worker; None to measure this machine.
        price_per_hour: of one worker, in any currency; None where no cost is wanted.
    """

    embed: EmbedOptions
    rows: int | None = None
    workers: int = 1
    tokens_per_second: float | None = None
    price_per_hour: float | None = None
