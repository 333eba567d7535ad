"""Top-k lists: merging those of shards, and reducing passages to documents."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

#: If a smaller share of the rows is live, their scores are copied before they are compared.
_FEW = 0.2


def no_hits(queries: int) -> tuple[Scores, Rows]:
    """Return empty lists for so many queries, with which a merge starts."""
    return np.empty((queries, 0), np.float32), np.empty((queries, 0), np.int64)


def moved(lists: tuple[Scores, Rows], first: int) -> tuple[Scores, Rows]:
    """Add ``first`` to the row numbers of lists; row -1 stays."""
    scores, rows = lists
    return scores, np.where(rows < 0, rows, rows + first)


def stack(lists: Sequence[tuple[Scores, Rows]]) -> tuple[Scores, Rows]:
    """Stack the lists of different questions; fill shorter ones with empty places."""
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
    """Merge several result lists of the same questions, and keep the best ``k``.

    Args:
        lists: scores and row ids, each ``[questions, n]``; row -1 marks an empty place.
        k: how many to keep.

    Returns:
        Scores and rows ``[questions, min(k, sum of n)]``, best first, and by row if scores are
        equal. Empty places come last, with row -1 and score minus infinity.
    """
    scores = np.concatenate([scores for scores, _ in lists], axis=1)
    rows = np.concatenate([rows for _, rows in lists], axis=1)
    scores = np.where(rows < 0, -np.inf, scores).astype(np.float32)
    tie = np.where(rows < 0, np.iinfo(np.int64).max, rows)
    order = np.lexsort((tie, -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def append_further(best: tuple[Scores, Rows], more: tuple[Scores, Rows]) -> tuple[Scores, Rows]:
    """Append to lists those rows of other lists of the same questions that they lack, in order."""
    further = [(row >= 0) & ~np.isin(row, ours) for row, ours in zip(more[1], best[1], strict=True)]
    width = max([int(new.sum()) for new in further], default=0)
    scores = np.full((len(further), width), -np.inf, np.float32)
    rows = np.full((len(further), width), -1, np.int64)
    for place, new in enumerate(further):
        count = int(new.sum())
        scores[place, :count], rows[place, :count] = more[0][place, new], more[1][place, new]
    joined = np.concatenate([best[0], scores], axis=1), np.concatenate([best[1], rows], axis=1)
    # Empty places come last.
    order = np.argsort(joined[1] < 0, axis=1, kind="stable")
    return np.take_along_axis(joined[0], order, 1), np.take_along_axis(joined[1], order, 1)


def raise_top_k(
    best: tuple[Scores, Rows],
    scores: Scores,
    first: int,
    k: int,
    live: npt.NDArray[np.bool_] | None = None,
) -> tuple[Scores, Rows]:
    """Merge the scores of further rows into the best ``k`` so far.

    Only scores above the lowest of the best are sorted. After the first rows these are few.

    Args:
        best: the best so far, as `merge_top_k` returns them; their rows precede the further rows.
        scores: those of the further rows, ``[questions, n]``.
        first: the number of the first further row.
        k: how many to keep.
        live: selects the further rows that count; by default all.
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
    # This is much faster than a two-dimensional `nonzero`.
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
    """Return the positions of the first occurrences in ``keys``, in order, at most ``most``."""
    seen: set[Any] = set()
    places: list[int] = []
    for place, key in enumerate(keys):
        if len(places) == most:
            break
        if key not in seen:
            seen.add(key)
            places.append(place)
    return places
