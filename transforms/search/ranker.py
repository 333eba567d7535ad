"""Rank documents for questions: by vectors, by words, or by both."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from transforms.catalog.snapshot import Snapshot
from transforms.index.products import cosines, products
from transforms.index.shard_layout import even_rows
from transforms.index.top_k import Rows
from transforms.runtime.once import Once
from transforms.runtime.search_pool import search_pool
from transforms.search.dense import Dense
from transforms.search.fusion import (
    Units,
    combine,
    default_weight,
    reciprocal_ranks,
    unit_of_words,
)
from transforms.search.live_rows import LiveRows
from transforms.search.options import RankOptions
from transforms.search.ranking import Ranked, Ranking
from transforms.search.row_reader import RowReader
from transforms.search.spread import SAMPLE, measure_spread
from transforms.search.timing import Stages, timed

if TYPE_CHECKING:
    from transforms.index.lexical.tantivy_index import LexicalIndex

#: Passages that each half of a hybrid search gives at first, and how many of them it takes to rank
#: a document. A deeper search gives twice as many.
_FIRST_DEPTH, _DEPTH_PER_DOCUMENT = 100, 2
#: Passages fetched at once for all questions together, unless one question wants more.
_MOST_AT_ONCE = 4_000_000


class Ranker:
    """The ranking of a snapshot's documents.

    Attributes:
        units: ``units()`` returns the units of both halves. The spread of the cosines is measured
            on evenly spaced live passages, when it is first needed.
    """

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
        self.units = Once(self._measure_units)

    def rank(
        self,
        questions: Sequence[str],
        vectors: npt.NDArray[np.float32] | None,
        options: RankOptions,
        stages: Stages | None = None,
    ) -> list[Ranked]:
        """Find the best passage of each of the best ``k`` documents, for each question.

        A hybrid search scores some passages of each half. A deeper one may find a passage that is
        better than some that are ranked already. It comes after these, so that the best documents
        are the same, however many are asked for.

        Args:
            questions: the texts; mode dense uses only their number.
            vectors: the questions' vectors, float32 ``[questions, dim]``; None in mode lexical.
            options: how to rank.
            stages: receives the durations of ``dense``, ``lexical`` and ``fuse``.
        """
        options = replace(options, where=self._live.condition(options.where))
        live, documents = self._live.count(options.where), self._snapshot.documents
        wanted = min(options.offset + options.k, documents)
        rankings = [Ranking(wanted) for _ in questions]
        hybrid = options.mode == "hybrid"
        if hybrid:
            depth = _FIRST_DEPTH
        elif self._snapshot.passages > documents:
            # Several passages may belong to one document.
            depth = wanted + max(wanted // 2, 10)
        else:
            depth = wanted
        pending = list(range(len(questions))) if live and options.offset < documents else []
        while pending:
            depth = min(live, depth)
            unsettled = []
            at_once = max(_MOST_AT_ONCE // depth, 1)
            for first in range(0, len(pending), at_once):
                some = pending[first : first + at_once]
                texts = [questions[place] for place in some]
                theirs = None if vectors is None else vectors[some]
                every = self.candidates(texts, theirs, options, depth, stages)
                most = depth // _DEPTH_PER_DOCUMENT if hybrid else None
                self._extend([rankings[place] for place in some], every, most, options)
                for place, found in zip(some, every, strict=True):
                    if not found.whole and not rankings[place].full():
                        unsettled.append(place)
            pending, depth = unsettled, 2 * depth
        return [ranking.page(options.offset) for ranking in rankings]

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
            search_dense = self._dense.ranked if by_words is None else self._dense.candidates
            scores, rows = search_dense(vectors, wanted, where)
        by_vectors = [(s[r >= 0], r[r >= 0]) for s, r in zip(scores, rows, strict=True)]
        if by_words is None:
            return [Ranked(r, s, s, None, whole) for s, r in by_vectors]
        return [
            self._fused(question, vector, near, by_words, options, whole, stages)
            for question, vector, (_, near) in zip(questions, vectors, by_vectors, strict=True)
        ]

    def shortened(self, question: str) -> str:
        """Return the beginning of a question for words; see `LexicalIndex.shortened`."""
        return self._lexical().shortened(question)

    def weight(self, weight: float | None = None) -> float:
        """Return the weight of the cosine: the given one, else the learnt one, else the default."""
        return default_weight(weight, self._snapshot.weight)

    def _measure_units(self) -> Units:
        live = self._live.mask(None)
        rows = np.arange(len(self._rows)) if live is None else np.flatnonzero(live)
        sample = self._dense.vectors(rows[even_rows(len(rows), SAMPLE)])
        return Units(measure_spread(sample), unit_of_words(self._lexical().rows))

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
            near = self._dense.vectors(rows)
            if self._snapshot.identity.normalize:
                similar = products(near[None], vector[None])[0]
            else:
                similar = cosines(near, vector)
            if options.fusion == "rrf":
                scores = reciprocal_ranks(similar, bm25)
            else:
                scores = combine(similar, bm25, self.units(), self.weight(options.weight))
            order = np.lexsort((rows, -scores))
        return Ranked(rows, scores, similar, bm25, whole).take(order.tolist())

    def _extend(
        self,
        rankings: Sequence[Ranking],
        every: Sequence[Ranked],
        most: int | None,
        options: RankOptions,
    ) -> None:
        """Append what was found for questions to their rankings."""
        several = self._snapshot.passages > self._snapshot.documents
        # To know a row's document, its row group must be read. The best rows are mostly enough.
        wanted = options.offset + options.k
        start, stop = 0, wanted + wanted // 2
        pending = list(zip(rankings, every, strict=True))
        while pending:
            some = [found.take(range(len(found.rows))[start:stop]) for _, found in pending]
            lists = [each.rows for each in some]
            names = self._document_ids(lists) if several else [rows.tolist() for rows in lists]
            unsettled = []
            for (ranking, found), few, documents in zip(pending, some, names, strict=True):
                limit = None if found.whole else most
                vectors = self._dense.vectors(few.rows) if options.diverse else None
                ranking.extend(few, documents, limit, vectors)
                if not ranking.full(limit) and stop < len(found.rows):
                    unsettled.append((ranking, found))
            pending, start, stop = unsettled, stop, 2 * stop

    def _document_ids(self, lists: Sequence[Rows]) -> list[list[str]]:
        """Return the document ids of lists of global rows, read together."""
        rows = np.full((len(lists), max(map(len, lists), default=0)), -1, np.int64)
        for line, each in zip(rows, lists, strict=True):
            line[: len(each)] = each
        names = self._rows.document_ids(rows)
        return [line[: len(each)] for line, each in zip(names, lists, strict=True)]
