"""What each command is asked to do; checked once, by what reads it first."""

from dataclasses import dataclass

from transforms.index_choice import IndexOptions
from transforms.lexical_info import LexicalOptions
from transforms.model import ModelOptions, Placement
from transforms.planning import ColumnOptions

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
