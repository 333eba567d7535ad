"""Options of the models that read hits; nothing heavy is imported here."""

from dataclasses import dataclass

from transforms.errors import BadInput, check_at_least
from transforms.models.options import DEFAULT_READER, DEFAULT_RERANKER, Placement
from transforms.models.shipped import is_there

#: How many documents a question is read in, and how many a reranker orders before.
READ, RERANKED = 5, 30
#: An answer with a lower probability is more probably wrong than right.
EVEN = 0.5


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

    @classmethod
    def shipped(cls) -> "ReadingOptions":
        """Return the options of the reader and the reranker that this installation has."""
        reader = DEFAULT_READER if is_there(DEFAULT_READER) else None
        if not is_there(DEFAULT_RERANKER):
            return cls(reader=reader)
        return cls(RERANKED, DEFAULT_RERANKER, reader)

    @property
    def wanted(self) -> bool:
        """Whether any model reads the hits."""
        return self.reranker is not None or self.reader is not None

    def shown(self, k: int) -> int:
        """Return how many of ``k`` documents to show: no more than were reranked."""
        return k if self.rerank is None else min(k, self.rerank)
