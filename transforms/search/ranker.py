"""The best documents for questions: by vectors, by words, or by both."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from transforms.index.top_k import Rows, Scores, best_of_each
from transforms.runtime.search_pool import searchers
from transforms.search.fusion import combine, reciprocal_ranks, unlike
from transforms.search.options import RankOptions
from transforms.search.timing import Stages, timed

if TYPE_CHECKING:
    from transforms.search.store import Store
#: Passages that each half of a hybrid search gives at least.
_LEAST_CANDIDATES = 100
#: Passages that are fetched at once, of all questions together, unless one wants more.
_MOST_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Ranked:
    """The best passages of a question, one a document or more, best first.

    Attributes:
        rows: global rows.
        scores: by which they are ranked.
        dense: inner products, cosines in a hybrid search; None in mode lexical.
        lexical: BM25 scores; None in mode dense.
        whole: there are no others.
    """

    rows: Rows
    scores: Scores
    dense: Scores | None = None
    lexical: Scores | None = None
    whole: bool = True

    def take(self, places: Sequence[int]) -> "Ranked":
        """Some of them."""
        at = np.array(places, np.int64)
        dense = None if self.dense is None else self.dense[at]
        lexical = None if self.lexical is None else self.lexical[at]
        return Ranked(self.rows[at], self.scores[at], dense, lexical, self.whole)


def rank(
    store: "Store",
    questions: Sequence[str],
    vectors: npt.NDArray[np.float32] | None,
    options: RankOptions,
    stages: Stages | None = None,
) -> list[Ranked]:
    """The best passage of each of the best ``k`` documents, for each question.

    Args:
        store: which is searched.
        questions: their texts, for words; only their number counts in mode dense.
        vectors: theirs, float32 ``[questions, dim]``; not needed in mode lexical.
        options: how.
        stages: counts how long ``dense``, ``lexical`` and ``fuse`` take.
    """
    live = store.live_rows(options.where)
    live_rows = store.rows if live is None else int(live.sum())
    nothing = Ranked(np.empty(0, np.int64), np.empty(0, np.float32))
    if not live_rows:
        return [nothing] * len(questions)
    results = [nothing] * len(questions)
    pending = list(range(len(questions)))
    # There are no more documents than that.
    k = min(options.k, store.snapshot.documents)
    options = replace(options, k=k)
    # Several passages may be of one document.
    several = store.snapshot.passages > store.snapshot.documents
    wanted = k + max(k // 2, 10) if several else k
    if options.mode == "hybrid":
        wanted = max(wanted, _LEAST_CANDIDATES)
    while pending:
        wanted = min(live_rows, wanted)
        unsettled = []
        at_once = max(_MOST_AT_ONCE // wanted, 1)
        for first in range(0, len(pending), at_once):
            some = pending[first : first + at_once]
            asked = [questions[place] for place in some]
            theirs = None if vectors is None else vectors[some]
            every = candidates(store, asked, theirs, options, wanted, stages)
            if several or options.diverse:
                chosen = _choose(store, every, options)
            else:
                chosen = [list(range(min(k, len(found.rows)))) for found in every]
            for place, found, places in zip(some, every, chosen, strict=True):
                results[place] = found.take(places)
                if len(results[place].rows) < k and not found.whole:
                    unsettled.append(place)
        pending, wanted = unsettled, 2 * wanted
    return results


def candidates(
    store: "Store",
    questions: Sequence[str],
    vectors: npt.NDArray[np.float32] | None,
    options: RankOptions,
    wanted: int,
    stages: Stages | None = None,
) -> list[Ranked]:
    """The best passages, several of a document maybe: ``wanted`` of each half, best first."""
    live = store.live_rows(options.where)
    live_rows = store.rows if live is None else int(live.sum())
    whole = wanted >= live_rows
    if options.mode == "lexical":
        with timed(stages, "lexical"):
            every = [store.lexical.search(question, wanted, live) for question in questions]
        return [Ranked(rows, s, None, s, whole or len(rows) < wanted) for s, rows in every]
    assert vectors is not None
    said = None
    if options.mode == "hybrid":
        # The halves run side by side: what the words take longer is counted for them.
        words = functools.partial(store.lexical.candidates, wanted=wanted, live=live)
        said = searchers().map(words, questions)
    with timed(stages, "dense"):
        scores, rows = store.nearest(vectors, wanted, options.where)
    lists = [(s[r >= 0], r[r >= 0]) for s, r in zip(scores, rows, strict=True)]
    if said is None:
        return [Ranked(r, s, s, None, whole) for s, r in lists]
    return [
        _fused(store, question, vector, near, said, options, whole, stages)
        for question, vector, (_, near) in zip(questions, vectors, lists, strict=True)
    ]


def _fused(
    store: "Store",
    question: str,
    vector: npt.NDArray[np.float32],
    near: Rows,
    said: Iterator[Rows],
    options: RankOptions,
    whole: bool,
    stages: Stages | None,
) -> Ranked:
    """Both halves' passages, each by both scores; the next of ``said`` are those of the words."""
    with timed(stages, "lexical"):
        rows = np.union1d(near, next(said))
        bm25 = store.lexical.scores(question, rows)
    with timed(stages, "fuse"):
        best = float(bm25.max(initial=0.0))
        cosines = _cosines(store.dense.vectors(rows), vector, store.snapshot.identity.normalize)
        if options.fusion == "rrf":
            scores = reciprocal_ranks(cosines, bm25)
        else:
            scores = combine(cosines, bm25, best, store.weight(options.weight))
        order = np.lexsort((rows, -scores))
    return Ranked(rows, scores, cosines, bm25, whole).take(order.tolist())


def _cosines(
    vectors: npt.NDArray[np.float32], vector: npt.NDArray[np.float32], normalized: bool
) -> Scores:
    products = vectors @ vector
    if normalized:
        return products
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(vector)
    return np.asarray(products / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)


def _choose(store: "Store", every: Sequence[Ranked], options: RankOptions) -> list[list[int]]:
    """The places of the best passage of each document, for each question."""
    # A row's document is read from its row group: those of the best rows are enough mostly.
    few = None if options.diverse else options.k + options.k // 2
    chosen: list[list[int]] = [[] for _ in every]
    pending = list(range(len(every)))
    while pending:
        looked = [every[number].rows[:few] for number in pending]
        more = []
        for number, keys in zip(pending, _documents(store, looked), strict=True):
            found = every[number]
            if options.diverse:
                places = best_of_each(keys, len(keys))
                chosen[number] = unlike(store.dense.vectors(found.rows), places, options.k)
                continue
            chosen[number] = best_of_each(keys, options.k)
            if len(chosen[number]) < options.k and len(keys) < len(found.rows):
                more.append(number)
        pending, few = more, None if few is None else 2 * few
    return chosen


def _documents(store: "Store", lists: Sequence[Rows]) -> list[list[str]]:
    """The document ids of lists of global rows, all of them read at once."""
    rows = np.full((len(lists), max(map(len, lists), default=0)), -1, np.int64)
    for line, each in zip(rows, lists, strict=True):
        line[: len(each)] = each
    names = store.document_ids(rows)
    return [line[: len(each)] for line, each in zip(names, lists, strict=True)]
