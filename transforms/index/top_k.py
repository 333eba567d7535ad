"""Top-k lists: merge those of shards, and fold passages into documents."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


#: Of so few of the rows the scores are taken out before they are compared.
_FEW = 0.2


def no_hits(queries: int) -> tuple[Scores, Rows]:
    """Lists without a place for so many queries: what a merge begins with."""
    return np.empty((queries, 0), np.float32), np.empty((queries, 0), np.int64)


def moved(lists: tuple[Scores, Rows], first: int) -> tuple[Scores, Rows]:
    """Lists whose row 0 is row ``first`` of something larger; row -1 stays."""
    scores, rows = lists
    return scores, np.where(rows < 0, rows, rows + first)


def stack(lists: Sequence[tuple[Scores, Rows]]) -> tuple[Scores, Rows]:
    """Lists of different questions, one below the other; short ones get empty places at the end."""
    width = max(scores.shape[1] for scores, _ in lists)
    count = sum(len(scores) for scores, _ in lists)
    all_scores = np.full((count, width), -np.inf, np.float32)
    all_rows = np.full((count, width), -1, np.int64)
    first = 0
    for scores, rows in lists:
        place = slice(first, first + len(scores)), slice(0, scores.shape[1])
        all_scores[place], all_rows[place] = scores, rows
        first += len(scores)
    return all_scores, all_rows


def merge_top_k(lists: list[tuple[Scores, Rows]], k: int) -> tuple[Scores, Rows]:
    """The best ``k`` of several result lists of the same questions.

    Args:
        lists: scores and row ids, each ``[questions, n]``; row -1 marks an empty place.
        k: how many to keep.

    Returns:
        Scores and rows ``[questions, min(k, sum of n)]``, best first, equal scores by row; empty
        places come last, with row -1 and score minus infinity.
    """
    scores = np.concatenate([scores for scores, _ in lists], axis=1)
    rows = np.concatenate([rows for _, rows in lists], axis=1)
    scores = np.where(rows < 0, -np.inf, scores).astype(np.float32)
    tie = np.where(rows < 0, np.iinfo(np.int64).max, rows)
    order = np.lexsort((tie, -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def raise_top_k(
    best: tuple[Scores, Rows],
    scores: Scores,
    first: int,
    k: int,
    live: npt.NDArray[np.bool_] | None = None,
) -> tuple[Scores, Rows]:
    """The best ``k`` of what was the best until now and of further rows, which come after those.

    Only scores above the least of the best are sorted, which are few after the first rows.

    Args:
        best: as `merge_top_k` returns them.
        scores: of the further rows, ``[questions, n]``.
        first: the number of the first of them.
        k: how many to keep.
        live: which of them count; all by default.
    """
    numbers = np.arange(first, first + scores.shape[1])
    if live is not None and np.count_nonzero(live) < _FEW * len(live):
        scores, numbers, live = np.take(scores, np.flatnonzero(live), 1), numbers[live], None
    if best[0].shape[1] == k:
        better = scores > best[0][:, -1:]
    else:
        alive = scores if live is None else np.where(live, scores, -np.inf)
        few = min(k, scores.shape[1])
        better = alive >= np.partition(alive, -few, 1)[:, [-few]] if few else alive > 0
    # Much faster than `nonzero` of two dimensions.
    questions, columns = np.divmod(np.flatnonzero(better), max(1, scores.shape[1]))
    if live is not None:
        counted = live[columns]
        questions, columns = questions[counted], columns[counted]
    counts = np.bincount(questions, minlength=len(scores))
    starts = np.cumsum(counts) - counts
    places = questions, np.arange(len(questions)) - starts[questions]
    more = np.zeros((len(scores), counts.max(initial=0)), np.float32)
    rows = np.full(more.shape, -1, np.int64)
    more[places], rows[places] = scores[questions, columns], numbers[columns]
    return merge_top_k([best, (more, rows)], k)


def best_of_each(keys: list[Any], most: int) -> list[int]:
    """The places of the first occurrences in ``keys``, in order, at most ``most``."""
    seen: set[Any] = set()
    places: list[int] = []
    for place, key in enumerate(keys):
        if len(places) == most:
            break
        if key not in seen:
            seen.add(key)
            places.append(place)
    return places
