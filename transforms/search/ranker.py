"""Rank documents for questions: by vectors, by words, or by both."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from transforms.catalog.snapshot import Snapshot
from transforms.index.top_k import Rows, Scores, best_of_each
from transforms.runtime.search_pool import search_pool
from transforms.search.dense import Dense
from transforms.search.fusion import combine, default_weight, reciprocal_ranks, unlike
from transforms.search.live_rows import LiveRows
from transforms.search.options import RankOptions
from transforms.search.row_reader import RowReader
from transforms.search.timing import Stages, timed

if TYPE_CHECKING:
    from transforms.index.lexical.tantivy_index import LexicalIndex

#: Passages that each half of a hybrid search gives at least.
_LEAST_CANDIDATES = 100
#: Passages fetched at once for all questions together, unless one question wants more.
_MOST_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Ranked:
    """The best passages of a question, one or more per document, best first.

    Attributes:
        rows: global rows.
        scores: the scores that rank them.
        dense: inner products, or cosines in a hybrid search; None in mode lexical.
        lexical: BM25 scores; None in mode dense.
        whole: whether no other passage can be found.
    """

    rows: Rows
    scores: Scores
    dense: Scores | None = None
    lexical: Scores | None = None
    whole: bool = True

    def take(self, places: Sequence[int]) -> "Ranked":
        """Return the passages at some places."""
        at = np.array(places, np.int64)
        dense = None if self.dense is None else self.dense[at]
        lexical = None if self.lexical is None else self.lexical[at]
        return Ranked(self.rows[at], self.scores[at], dense, lexical, self.whole)


class Ranker:
    """The ranking of a snapshot's documents."""

    def __init__(
        self,
        dense: Dense,
        lexical: "Callable[[], LexicalIndex]",
        rows: RowReader,
        live: LiveRows,
        snapshot: Snapshot,
    ) -> None:
        """Hold both halves of the search.

        Args:
            dense: finds passages by vectors.
            lexical: opens the lexical index, when a question first needs it.
            rows: reads document ids.
            live: tells which rows may be found.
            snapshot: gives the counts, the weight, and whether its vectors are normalized.
        """
        self._dense, self._lexical, self._rows, self._live = dense, lexical, rows, live
        self._snapshot = snapshot

    def rank(
        self,
        questions: Sequence[str],
        vectors: npt.NDArray[np.float32] | None,
        options: RankOptions,
        stages: Stages | None = None,
    ) -> list[Ranked]:
        """Find the best passage of each of the best ``k`` documents, for each question.

        Args:
            questions: the texts; mode dense uses only their number.
            vectors: the questions' vectors, float32 ``[questions, dim]``; None in mode lexical.
            options: how to rank.
            stages: receives the durations of ``dense``, ``lexical`` and ``fuse``.
        """
        options = replace(options, where=self._live.condition(options.where))
        nothing = Ranked(np.empty(0, np.int64), np.empty(0, np.float32))
        results = [nothing] * len(questions)
        live = self._live.count(options.where)
        if not live:
            return results
        documents, passages = self._snapshot.documents, self._snapshot.passages
        k = min(options.k, documents)
        options = replace(options, k=k)
        # Several passages may belong to one document.
        several = passages > documents
        wanted = k + max(k // 2, 10) if several else k
        if options.mode == "hybrid":
            wanted = max(wanted, _LEAST_CANDIDATES)
        pending = list(range(len(questions)))
        while pending:
            wanted = min(live, wanted)
            unsettled = []
            at_once = max(_MOST_AT_ONCE // wanted, 1)
            for first in range(0, len(pending), at_once):
                some = pending[first : first + at_once]
                texts = [questions[place] for place in some]
                theirs = None if vectors is None else vectors[some]
                every = self.candidates(texts, theirs, options, wanted, stages)
                if several or options.diverse:
                    chosen = self._choose(every, options)
                else:
                    chosen = [list(range(min(k, len(found.rows)))) for found in every]
                for place, found, places in zip(some, every, chosen, strict=True):
                    results[place] = found.take(places)
                    if len(results[place].rows) < k and not found.whole:
                        unsettled.append(place)
            pending, wanted = unsettled, 2 * wanted
        return results

    def candidates(
        self,
        questions: Sequence[str],
        vectors: npt.NDArray[np.float32] | None,
        options: RankOptions,
        wanted: int,
        stages: Stages | None = None,
    ) -> list[Ranked]:
        """Find the best passages, best first; several may belong to one document.

        Each half of the search gives ``wanted`` passages. The other arguments are those of `rank`.
        """
        where = self._live.condition(options.where)
        live, whole = self._live.mask(where), wanted >= self._live.count(where)
        if options.mode == "lexical":
            with timed(stages, "lexical"):
                index = self._lexical()
                every = [index.search(question, wanted, live) for question in questions]
            return [Ranked(rows, s, None, s, whole or len(rows) < wanted) for s, rows in every]
        assert vectors is not None
        by_words = None
        if options.mode == "hybrid":
            # Both halves run at the same time: "lexical" counts only the time that words take
            # longer than vectors.
            search = functools.partial(self._lexical().candidates, wanted=wanted, live=live)
            by_words = search_pool().map(search, questions)
        with timed(stages, "dense"):
            scores, rows = self._dense.nearest(vectors, wanted, where)
        by_vectors = [(s[r >= 0], r[r >= 0]) for s, r in zip(scores, rows, strict=True)]
        if by_words is None:
            return [Ranked(r, s, s, None, whole) for s, r in by_vectors]
        return [
            self._fused(question, vector, near, by_words, options, whole, stages)
            for question, vector, (_, near) in zip(questions, vectors, by_vectors, strict=True)
        ]

    def weight(self, weight: float | None = None) -> float:
        """Return the weight of the cosine: the given one, else the learnt one, else the default."""
        return default_weight(weight, self._snapshot.weight)

    def _fused(
        self,
        question: str,
        vector: npt.NDArray[np.float32],
        by_vectors: Rows,
        by_words: Iterator[Rows],
        options: RankOptions,
        whole: bool,
        stages: Stages | None,
    ) -> Ranked:
        """Score ``by_vectors`` and the next rows of ``by_words`` by both scores."""
        with timed(stages, "lexical"):
            rows = np.union1d(by_vectors, next(by_words))
            bm25 = self._lexical().scores(question, rows)
        with timed(stages, "fuse"):
            best = float(bm25.max(initial=0.0))
            normalized = self._snapshot.identity.normalize
            cosines = _cosines(self._dense.vectors(rows), vector, normalized)
            if options.fusion == "rrf":
                scores = reciprocal_ranks(cosines, bm25)
            else:
                scores = combine(cosines, bm25, best, self.weight(options.weight))
            order = np.lexsort((rows, -scores))
        return Ranked(rows, scores, cosines, bm25, whole).take(order.tolist())

    def _choose(self, every: Sequence[Ranked], options: RankOptions) -> list[list[int]]:
        """Return the places of the best passage of each document, for each question."""
        # To know a row's document, its row group must be read. The best rows are mostly enough.
        few = None if options.diverse else options.k + options.k // 2
        chosen: list[list[int]] = [[] for _ in every]
        pending = list(range(len(every)))
        while pending:
            rows = [every[number].rows[:few] for number in pending]
            unsettled = []
            for number, names in zip(pending, self._document_ids(rows), strict=True):
                found = every[number]
                if options.diverse:
                    places = best_of_each(names, len(names))
                    chosen[number] = unlike(self._dense.vectors(found.rows), places, options.k)
                    continue
                chosen[number] = best_of_each(names, options.k)
                if len(chosen[number]) < options.k and len(names) < len(found.rows):
                    unsettled.append(number)
            pending, few = unsettled, None if few is None else 2 * few
        return chosen

    def _document_ids(self, lists: Sequence[Rows]) -> list[list[str]]:
        """Return the document ids of lists of global rows, read together."""
        rows = np.full((len(lists), max(map(len, lists), default=0)), -1, np.int64)
        for line, each in zip(rows, lists, strict=True):
            line[: len(each)] = each
        names = self._rows.document_ids(rows)
        return [line[: len(each)] for line, each in zip(names, lists, strict=True)]


def _cosines(
    vectors: npt.NDArray[np.float32], vector: npt.NDArray[np.float32], normalized: bool
) -> Scores:
    products = vectors @ vector
    if normalized:
        return products
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(vector)
    return np.asarray(products / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)
