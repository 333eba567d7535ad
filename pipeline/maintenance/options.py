"""Options of the commands that change or check a store without embedding."""

from dataclasses import dataclass

from pipeline.command_line.runner_names import DEFAULT_RUNNER
from transforms.errors import BadInput, check_at_least
from transforms.index.options import IndexOptions, LexicalOptions

#: Seconds of a day.
DAY = 86_400.0


@dataclass(frozen=True)
class DeleteOptions:
    """The documents that ``albeam delete`` removes: either ids, or a file of them.

    Attributes:
        ids: ids of documents.
        file: a text file with one id per line.
    """

    ids: tuple[str, ...] = ()
    file: str | None = None

    def __post_init__(self) -> None:
        """Raise BadInput if both are given, or neither."""
        if bool(self.ids) == bool(self.file):
            problem = "must come either as words or as a file"
            raise BadInput("ids", None, problem, "Give IDs, or --ids FILE")


@dataclass(frozen=True)
class VacuumOptions:
    """Options of ``albeam vacuum``.

    Attributes:
        keep: number of the newest snapshots to keep, whatever their age.
        older_than: age in seconds; everything younger is kept.
        dry_run: remove nothing.
    """

    keep: int = 1
    older_than: float = 7 * DAY
    dry_run: bool = False

    def __post_init__(self) -> None:
        """Raise BadInput if the newest snapshot would be removed."""
        check_at_least("keep", self.keep, 1)


@dataclass(frozen=True)
class CompactOptions:
    """Options of ``albeam compact``.

    Attributes:
        max_segments: number of segments that may remain.
        rows_per_part: maximum number of passages of a new part; None chooses.
        index: vector index of the new segment; None keeps the kind of the old ones.
        recall_target: recall@10 that the index must reach; None keeps the old target.
        memory, gpu, shards: see `IndexOptions`.
        runner: ``direct``, or the name of a Beam runner.
        beam_args: options for Beam.
    """

    max_segments: int = 1
    rows_per_part: int | None = None
    index: str | None = None
    recall_target: float | None = None
    memory: int = IndexOptions.memory
    gpu: str = IndexOptions.gpu
    shards: int = IndexOptions.shards
    runner: str = DEFAULT_RUNNER
    beam_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise BadInput if an option is out of range."""
        check_at_least("max_segments", self.max_segments, 1)
        check_at_least("rows_per_part", self.rows_per_part, 1)
        self.index_options(IndexOptions.index, IndexOptions.recall_target)

    def index_options(self, index: str, recall_target: float) -> IndexOptions:
        """Return the options of the new vector index, with the old ones for what is None."""
        return IndexOptions(
            index if self.index is None else self.index,
            recall_target if self.recall_target is None else self.recall_target,
            self.memory,
            self.gpu,
            self.shards,
        )


@dataclass(frozen=True)
class IndexCommandOptions:
    """Options of ``albeam index``.

    Attributes:
        vector: the vector index; None keeps the old one.
        lexical: the lexical index of segments that have none, or one of another language; None
            keeps the old ones.
        recall_questions: a file of questions on which the vector index must also reach its recall
            target.
        runner: ``direct``, or the name of a Beam runner.
        beam_args: options for Beam.
    """

    vector: IndexOptions | None = IndexOptions()
    lexical: LexicalOptions | None = None
    recall_questions: str | None = None
    runner: str = DEFAULT_RUNNER
    beam_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise BadInput if nothing would be built, or an option would have no effect."""
        if self.vector is None and self.recall_questions is not None:
            problem = "has no effect: only a lexical index is built"
            remedy = "Give --index KIND as well, or leave it out"
            raise BadInput("recall_questions", self.recall_questions, problem, remedy)
        if self.vector is not None and self.vector.index == "none":
            remedy = "Give auto, flat, hnsw, ivf, ivfpq or a factory"
            raise BadInput("index", "none", "builds nothing", remedy)
        if self.lexical is not None and self.lexical.lexical == "none":
            raise BadInput("lexical", "none", "builds nothing", "Give auto, or leave --lexical out")


@dataclass(frozen=True)
class TuneOptions:
    """Options of ``albeam tune``.

    Attributes:
        queries: number of stored vectors to search for.
        plot: SVG file for a plot of recall and latency; None for no plot.
    """

    queries: int = 200
    plot: str | None = None

    def __post_init__(self) -> None:
        """Raise BadInput if nothing would be measured, or the plot is no SVG file."""
        check_at_least("queries", self.queries, 1)
        if self.plot is not None and not self.plot.lower().endswith(".svg"):
            remedy = "Give a file name that ends in .svg"
            raise BadInput("plot", self.plot, "does not end in .svg", remedy)
