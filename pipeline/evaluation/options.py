"""Options of ``albeam evaluate`` and ``albeam compare``; nothing heavy is imported here."""

from dataclasses import dataclass

from transforms.errors import check_at_least
from transforms.search.options import RankOptions
from transforms.search.reading_options import ReadingOptions

#: Names every mode of a store.
ALL = "all"


@dataclass(frozen=True)
class EvaluateOptions:
    """The options of ``albeam evaluate``.

    Attributes:
        questions: ``.parquet`` or ``.jsonl`` with question_id, question, relevant.
        k: the depth of the search.
        modes: the modes to measure; ``("all",)`` for every mode that the store has.
        beside: runs of other systems to measure as well, ``(name, file)``.
        per_question: a Parquet file to write, with a row for each mode and question.
        run: a TREC file to write; with several modes a file each, with the mode in its name.
        report: an HTML file to write.
        colour: a metadata column that colours the report's map.
        reading: models that rerank the hits, and find answers in the best five.
        rank: which documents count and how scores are joined; its k and mode are ignored.
        timed: whether searches are timed, one question at a time.
        seed: the seed of the bootstrap.
    """

    questions: str
    k: int = 100
    modes: tuple[str, ...] = ("dense",)
    beside: tuple[tuple[str, str], ...] = ()
    per_question: str | None = None
    run: str | None = None
    report: str | None = None
    colour: str | None = None
    reading: ReadingOptions = ReadingOptions()
    rank: RankOptions = RankOptions()
    timed: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise BadInput if the depth is below 1."""
        check_at_least("k", self.k, 1)


@dataclass(frozen=True)
class CompareOptions:
    """The options of ``albeam compare``.

    Attributes:
        a, b: two runs; see `read_run`.
        questions: ``.parquet`` or ``.jsonl`` with question_id, question, relevant; None takes those
            of a run of ``evaluate --per-question``.
        k: the depth of the comparison. It is no greater than that of either run, unless a run has
            fewer than ten documents.
        metric: the metric by which a question is won or lost.
        largest: number of questions with the largest differences to name.
        seed: the seed of the resampling.
    """

    a: str
    b: str
    questions: str | None = None
    k: int = 100
    metric: str = "mrr@10"
    largest: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise BadInput if the depth is below 1."""
        check_at_least("k", self.k, 1)
