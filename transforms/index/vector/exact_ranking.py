"""The best rows by exact scores, all rows with equal scores in the order of their numbers.

A fast search gives scores with noise in the last bits, and of many rows with equal scores any few.
The functions here take its best rows as candidates, and ask for more while further rows may have
the same score as the last one.
"""

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from transforms.index.products import NOISE, Vectors, lengths, products
from transforms.index.top_k import Rows, Scores, merge_top_k, no_hits
from transforms.index.vector.float16_vectors import Raw, rounded, widen

#: Candidates beyond those that are wanted, so that mostly one search is enough.
_MORE = 16
#: How many times as many candidates the next search asks for.
_GROWTH = 4
#: The noise of fast scores if exact ones are of vectors that are rounded to float16: half of its
#: last bit.
_HALF_NOISE = 2.0**-11 + NOISE
#: Numbers that are gathered at once.
_GATHERED = 1 << 22
#: Rows that are scored at once.
BLOCK = 16_384
#: Rows of a block that tell how long its vectors are.
_SAMPLE = 64


def rank_exactly(
    search: Callable[[Vectors, int], tuple[Scores, Rows]],
    take: Callable[[Rows], Vectors],
    queries: Vectors,
    k: int,
    count: int,
    half: bool = False,
) -> tuple[Scores, Rows]:
    """Return the best ``k`` rows for each query by exact scores, as `merge_top_k` does.

    Args:
        search: returns the best rows by fast scores, of queries and a number.
        take: returns the vectors of rows ``[n]``.
        queries: float32 ``[queries, dim]``.
        k: how many rows.
        count: how many rows can be found.
        half: whether scores are those of vectors that are rounded to float16.
    """
    k = min(k, count)
    best = np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64)
    pending, wanted = np.arange(len(queries)), k + _MORE
    while len(pending) and k:
        wanted = min(wanted, count)
        fast, rows = search(queries[pending], wanted)
        exact, longest = _scores(take, queries[pending], rows, half)
        scores, found = merge_top_k([(exact, rows)], k)
        best[0][pending], best[1][pending] = scores, found
        noise = _noise(half) * longest
        settled = (rows[:, -1] < 0) | (fast[:, -1] < scores[:, -1] - noise)
        pending = pending[~settled & (wanted < count)]
        wanted *= _GROWTH
    return best


def raise_exactly(
    best: tuple[Scores, Rows],
    block: Vectors,
    places: Rows,
    queries: Vectors,
    k: int,
    half: bool = False,
) -> tuple[Scores, Rows]:
    """Merge the rows of a block into the best ``k`` so far, by exact scores.

    Args:
        best: the best so far, as `merge_top_k` returns them.
        block: the vectors of further rows, float32 ``[n, dim]``.
        places: their numbers, which are above those of the best.
        queries: float32 ``[queries, dim]``.
        k: how many to keep.
        half: whether scores are those of vectors that are rounded to float16.
    """
    if not len(block) or not len(queries):
        return best
    fast = queries @ block.T
    if best[0].shape[1] == k:
        least = best[0][:, -1]
    else:
        few = min(k, len(block))
        least = np.partition(fast, -few, axis=1)[:, -few]
    longest = lengths(np.ascontiguousarray(block[:: -(-len(block) // _SAMPLE)])).max()
    noise = _noise(half) * longest * lengths(queries)
    # This is much faster than a two-dimensional `nonzero`.
    better = np.flatnonzero(fast >= (least - noise)[:, None])
    asked, columns = np.divmod(better, len(block))
    counts = np.bincount(asked, minlength=len(queries))
    starts = np.cumsum(counts) - counts
    inside = asked, np.arange(len(asked)) - starts[asked]
    scores = np.zeros((len(queries), counts.max()), np.float32)
    rows = np.full(scores.shape, -1, np.int64)
    rows[inside] = places[columns]
    at_once = max(1, _GATHERED // block.shape[1])
    exact = [np.empty(0, np.float32)]
    for start in range(0, len(asked), at_once):
        some = slice(start, start + at_once)
        vectors = block[columns[some]]
        given = rounded(vectors) if half else vectors
        exact.append(products(given[:, None], queries[asked[some]])[:, 0])
    scores[inside] = np.concatenate(exact)
    return merge_top_k([best, (scores, rows)], k)


def scan(
    raw: Raw, queries: Vectors, k: int, live: npt.NDArray[np.bool_] | None
) -> tuple[Scores, Rows]:
    """Return the best ``k`` live rows of a float16 file by exact scores; only these are read."""
    places = np.arange(len(raw)) if live is None else np.flatnonzero(live)
    best = no_hits(len(queries))
    for start in range(0, len(places), BLOCK):
        some = places[start : start + BLOCK]
        best = raise_exactly(best, widen(raw[some]), some, queries, k)
    return best


def exact_search(
    chunks: Iterable[Vectors],
    queries: Vectors,
    k: int,
    live: npt.NDArray[np.bool_] | None = None,
    half: bool = False,
) -> tuple[Scores, Rows]:
    """Return the best ``k`` rows of all chunks for each query, as `merge_top_k` does.

    ``live`` selects the rows that may be found; by default all.
    """
    best = no_hits(len(queries))
    first = 0
    for chunk in chunks:
        for start in range(0, len(chunk), BLOCK):
            block = np.ascontiguousarray(chunk[start : start + BLOCK])
            places = np.arange(first + start, first + start + len(block))
            if live is not None:
                block, places = block[live[places]], places[live[places]]
            best = raise_exactly(best, block, places, queries, k, half)
        first += len(chunk)
    return best


def _scores(
    take: Callable[[Rows], Vectors], queries: Vectors, rows: Rows, half: bool
) -> tuple[Scores, Scores]:
    """Return exact scores of rows ``[queries, n]``, and the longest vector's length by query."""
    found, longest = np.zeros(rows.shape, np.float32), np.zeros(len(rows), np.float32)
    at_once = max(1, _GATHERED // max(1, rows.shape[1] * queries.shape[1]))
    for start in range(0, len(rows), at_once):
        some = slice(start, start + at_once)
        vectors = take(np.maximum(rows[some], 0).ravel())
        given = rounded(vectors) if half else vectors
        found[some] = products(given.reshape(*rows[some].shape, -1), queries[some])
        each = lengths(np.ascontiguousarray(vectors)).reshape(rows[some].shape)
        longest[some] = each.max(axis=1, initial=0) * lengths(queries[some])
    return found, longest


def _noise(half: bool) -> float:
    return _HALF_NOISE if half else NOISE
