"""What follows a search where it was asked for: reranked hits, and answers within them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transforms.errors import BadInput
from transforms.models.options import Placement
from transforms.search.results import Hit

if TYPE_CHECKING:
    from transforms.search.cross_encoders import Answer


@dataclass(frozen=True)
class ReadingOptions:
    """Which models read the hits.

    Attributes:
        rerank: how many candidates the reranker orders anew; None for no reranking.
        reranker: its folder or hub name.
        reader: folder or hub name of a model that finds answers, or None.
        no_answer: whether the reader may say that a passage has no answer.
        placement: where both run, and in what dtype.
    """

    rerank: int | None = None
    reranker: str | None = None
    reader: str | None = None
    no_answer: bool = False
    placement: Placement = Placement()

    def __post_init__(self) -> None:
        if (self.rerank is None) != (self.reranker is None):
            raise BadInput("reranking needs both --rerank N and --reranker MODEL; give both")
        if self.rerank is not None and self.rerank < 1:
            raise BadInput(f"rerank is {self.rerank}; give 1 or more candidates")
        if self.no_answer and self.reader is None:
            raise BadInput("--no-answer is for a reader; give --reader MODEL")

    @property
    def wanted(self) -> bool:
        """Whether any model reads."""
        return self.reranker is not None or self.reader is not None

    def shown(self, k: int) -> int:
        """How many documents are left of ``k``: candidates that were not read are not shown."""
        return k if self.rerank is None else min(k, self.rerank)


class Reading:
    """The models, loaded."""

    def __init__(self, options: ReadingOptions) -> None:
        """Load what is asked for; raises BadInput where a model can't be used."""
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
        """Whether hits are ordered anew."""
        return self._reranker is not None

    @property
    def reads(self) -> bool:
        """Whether answers are found."""
        return self._reader is not None

    def candidates(self, k: int) -> int:
        """How many documents to search for where ``k`` are wanted."""
        return k if self._options.rerank is None else self._options.rerank

    def ranked(self, question: str, hits: Sequence[Hit], k: int) -> list[Hit]:
        """The best ``k`` of the candidates."""
        if self._reranker is None:
            return list(hits[:k])
        from transforms.search.cross_encoders import rerank

        return rerank(hits, question, self._reranker)[:k]

    def answers(self, question: str, hits: Sequence[Hit]) -> "list[Answer | None]":
        """The best span of each hit; None for each where nothing reads them."""
        if self._reader is None:
            return [None] * len(hits)
        from transforms.search.cross_encoders import read_answers

        return read_answers(hits, question, self._reader, self._options.no_answer)
