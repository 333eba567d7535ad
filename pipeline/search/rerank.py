"""Optional steps after a search: rerank the hits, and find answers in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transforms.errors import BadInput, check_at_least
from transforms.models.options import Placement
from transforms.search.results import Hit

if TYPE_CHECKING:
    from transforms.search.cross_encoders import Answer


@dataclass(frozen=True)
class ReadingOptions:
    """Options of the models that read the hits.

    Attributes:
        rerank: how many candidates to rerank; None for no reranking.
        reranker: the reranker's folder or hub name.
        reader: folder or hub name of a model that finds answers, or None.
        no_answer: whether the reader may find no answer in a passage.
        placement: device and dtype of both models.
    """

    rerank: int | None = None
    reranker: str | None = None
    reader: str | None = None
    no_answer: bool = False
    placement: Placement = Placement()

    def __post_init__(self) -> None:
        """Raise BadInput if an option can't be used, or needs another one."""
        if self.rerank is None and self.reranker is not None:
            raise BadInput("reranker", self.reranker, "needs --rerank", "Give --rerank N as well")
        if self.rerank is not None and self.reranker is None:
            remedy = "Give --reranker MODEL as well"
            raise BadInput("rerank", self.rerank, "needs --reranker", remedy)
        check_at_least("rerank", self.rerank, 1)
        if self.no_answer and self.reader is None:
            raise BadInput("no_answer", None, "needs --reader", "Give --reader MODEL as well")

    @property
    def wanted(self) -> bool:
        """Whether any model reads the hits."""
        return self.reranker is not None or self.reader is not None

    def shown(self, k: int) -> int:
        """Return how many of ``k`` documents to show: no more than were reranked."""
        return k if self.rerank is None else min(k, self.rerank)


class Reading:
    """The loaded models that read the hits."""

    def __init__(self, options: ReadingOptions) -> None:
        """Load the models of the options; raises BadInput if a model can't be used."""
        self._options = options
        self._reranker = self._reader = None
        if options.wanted:
            from transforms.search.cross_encoders import Reader, Reranker

            if options.reranker is not None:
                self._reranker = Reranker(options.reranker, options.placement)
            if options.reader is not None:
                self._reader = Reader(options.reader, options.placement)

    @property
    def ranks(self) -> bool:
        """Whether hits are reranked."""
        return self._reranker is not None

    @property
    def reads(self) -> bool:
        """Whether answers are read from the hits."""
        return self._reader is not None

    def candidates(self, k: int) -> int:
        """Return how many documents to search for if ``k`` are wanted."""
        return k if self._options.rerank is None else self._options.rerank

    def ranked(self, question: str, hits: Sequence[Hit], k: int) -> list[Hit]:
        """Return the best ``k`` of the candidates."""
        if self._reranker is None:
            return list(hits[:k])
        from transforms.search.cross_encoders import rerank

        return rerank(hits, question, self._reranker)[:k]

    def answers(self, question: str, hits: Sequence[Hit]) -> "list[Answer | None]":
        """Return the best span of each hit; None for each hit if there is no reader."""
        if self._reader is None:
            return [None] * len(hits)
        from transforms.search.cross_encoders import read_answers

        return read_answers(hits, question, self._reader, self._options.no_answer)
