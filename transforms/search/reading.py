"""Models that read the hits of a search: one reranks them, one finds answers in them."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from transforms.search.answer_scales import ANY
from transforms.search.options import RankOptions
from transforms.search.reading_options import ReadingOptions
from transforms.search.results import Hit

if TYPE_CHECKING:
    from transforms.search.reader import Answer, Reader
    from transforms.search.reranker import Reranker
    from transforms.search.store import Store


class Reading:
    """The loaded models that read the hits."""

    def __init__(self, options: ReadingOptions) -> None:
        """Load the models of the options; raises BadInput if a model can't be used."""
        self._options = options
        self._reranker: Reranker | None = None
        self._reader: Reader | None = None
        if options.wanted:
            from transforms.search import reader, reranker

            if options.reranker is not None:
                self._reranker = reranker.Reranker(options.reranker, options.placement)
            if options.reader is not None:
                self._reader = reader.Reader(options.reader, options.placement)

    @property
    def ranks(self) -> bool:
        """Whether hits are reranked."""
        return self._reranker is not None

    @property
    def reads(self) -> bool:
        """Whether answers are read from the hits."""
        return self._reader is not None

    @property
    def reader(self) -> "Reader":
        """The reader; there must be one."""
        assert self._reader is not None
        return self._reader

    def calibrated(self, mode: str) -> bool:
        """Return whether answers from the hits of a mode have probabilities."""
        return self._reader is not None and self._reader.scales.of(self.ranking(mode)) is not None

    def search(
        self, store: "Store", questions: Sequence[str], options: RankOptions
    ) -> "Iterator[tuple[list[Hit], list[Answer | None]]]":
        """Search for questions; yield the hits of each, and the best span of each hit.

        A reranker ranks all its candidates anew, and a page is a slice of that order.
        """
        k, first = self._options.shown(options.k), options.offset if self.ranks else 0
        wanted = replace(options, k=self.candidates(options.k), offset=options.offset - first)
        found = store.search(questions, **asdict(wanted))
        for question, candidates in zip(questions, found, strict=True):
            hits = self.ranked(question, candidates, first + k)[first:]
            yield hits, self.answers(question, hits, options.mode)

    def candidates(self, k: int) -> int:
        """Return how many documents to search for if ``k`` are wanted."""
        return k if self._options.rerank is None else self._options.rerank

    def ranked(self, question: str, hits: Sequence[Hit], k: int) -> list[Hit]:
        """Return the best ``k`` of the candidates."""
        if self._reranker is None:
            return list(hits[:k])
        from transforms.search.reranker import rerank

        return rerank(hits, question, self._reranker)[:k]

    def answers(self, question: str, hits: Sequence[Hit], mode: str = ANY) -> "list[Answer | None]":
        """Return the best span of each hit; None for each hit if there is no reader.

        Args:
            question: the question.
            hits: the hits that `ranked` gave.
            mode: the mode of the search that found them.
        """
        if self._reader is None:
            return [None] * len(hits)
        from transforms.search.reader import read_answers

        ranking = self.ranking(mode)
        return read_answers(hits, question, self._reader, self._options.no_answer, ranking)

    def ranking(self, mode: str) -> str:
        """Return the name of what gives the hits of a search their scores; see `Scales`."""
        return mode if self._reranker is None else self._reranker.digest
