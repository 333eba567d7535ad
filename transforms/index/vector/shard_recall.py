"""The results of exact search and of each search-time setting in a shard, to measure recall."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.index.shard_layout import ShardPlan
from transforms.index.top_k import Rows, Scores, merge_top_k, moved, no_hits, raise_top_k, stack
from transforms.index.vector import faiss_factory, faiss_search
from transforms.index.vector.float16_vectors import Raw, blocks, pick, rescore
from transforms.index.vector.plan import IndexPlan
from transforms.index.vector.recall import (
    EXACT_AT,
    LIVE_SHARES,
    TIE,
    Bools,
    Lists,
    ShardReport,
    alike_rows,
    asked,
    measure,
    random_rows,
)
from transforms.index.vector.segment_index import filled_lists

Vectors = npt.NDArray[np.float32]
#: The live rows for each half of the queries; None for all.
Halves = tuple[Bools | None, Bools | None]

#: Rows that a search for ten requests, because one may be the query's own.
_TEN = 11
#: Number of queries whose candidates are compared at once.
_COMPARED = 128
#: A setting that misses the target in one shard by so much is not used for the segment. Its results
#: are dropped, because the reports of all shards are collected in one process.
_HOPELESS = 0.1


def report_shard(
    plan: IndexPlan, shard: ShardPlan, index: Any, raw: Raw, queries: Vectors, own: Rows
) -> ShardReport:
    """Search a shard exactly and with each useful setting; return the results.

    A setting is skipped if it costs more than a scan of the live rows. No further setting is tried
    after one that reaches the target, or exceeds it if there are other shards, which may find less.
    Of the settings that clearly miss the target, only the last is kept.

    Args:
        plan: the plan of the segment's index.
        shard: the plan of this shard.
        index: the shard's index.
        raw: the shard's vectors.
        queries: float32 ``[queries, dim]``.
        own: the segment's row of each query; -1 for a question.
    """
    enough = plan.target if len(plan.shards) == 1 else (1 + plan.target) / 2
    is_row = own >= 0
    kind = faiss_factory.kind_of(plan.factory, plan.dim)
    masks = _masks(raw, queries[is_row], shard.number)
    row_lists = faiss_search.row_lists(index, shard.rows)
    first, best = shard.first_row, _exact(raw, queries, masks)
    report = ShardReport({s: moved(stack(pair), first) for s, pair in best.items()}, {})
    for share, halves in masks.items():
        if share < 1 and not kind.selects:
            continue
        filled = [None if live is None else filled_lists(row_lists, live) for live in halves]
        searched: list[_Searched | None] = [None, None]
        hopeless: int | None = None
        for value in faiss_factory.ladder(plan.factory, plan.dim, plan.rows):
            if share < 1 and faiss_factory.cost(kind, value, shard.rows) > share * shard.rows:
                break
            pairs = []
            for half in (0, 1):
                live, exact = halves[half], best[share][half]
                search = _Search(index, queries[asked(share)[half]], live, filled[half])
                wanted = min(kind.candidates(EXACT_AT), len(raw))
                many = search.widen(wanted, value, searched[half])
                fewest = min(kind.candidates(_TEN), len(raw))
                pairs.append(_find(search, raw, value, fewest, many, exact))
                searched[half] = many
            tens, hundreds = (stack(pieces) for pieces in zip(*pairs, strict=True))
            report.found[share, value] = moved(tens, first), moved(hundreds, first)
            if hopeless is not None:
                del report.found[share, hopeless]
            figures = measure([report], own, share, value)
            hopeless = value if figures.least < plan.target - _HOPELESS else None
            if min(figures.least, figures.least_at_100) >= enough:
                break
    return report


@dataclass(frozen=True)
class _Searched:
    """Candidates, and the lists that they come from if the index has lists."""

    lists: Lists | None
    found: Lists


@dataclass(frozen=True)
class _Search:
    """Queries to an index; ``live`` selects its rows, and ``filled`` the lists that have any."""

    index: Any
    queries: Vectors
    live: Bools | None
    filled: Bools | None

    def widen(self, wanted: int, value: int, before: _Searched | None) -> _Searched:
        """Search with a setting, except for the lists that an earlier setting searched."""
        lists = faiss_search.assign_lists(self.index, self.queries, value, self.filled)
        if lists is None:
            return _Searched(None, self._find(wanted, value))
        done = before.lists if before is not None else None
        width = done[1].shape[1] if done is not None else 0
        if before is None or done is None or not np.array_equal(done[1], lists[1][:, :width]):
            return _Searched(lists, self._find(wanted, value, lists))
        if width == lists[1].shape[1]:
            return before
        more = self._find(wanted, value, (lists[0][:, width:], lists[1][:, width:]))
        return _Searched(lists, merge_top_k([before.found, more], wanted))

    def narrow(self, wanted: int, value: int) -> Rows:
        """Return the rows that a setting finds when only so many are requested."""
        return self._find(wanted, value)[1]

    def _find(self, wanted: int, value: int, lists: Lists | None = None) -> Lists:
        return faiss_search.search_index(self.index, self.queries, wanted, self.live, value, lists)


def _find(
    search: _Search, raw: Raw, value: int, fewest: int, searched: _Searched, exact: Lists
) -> tuple[Lists, Lists]:
    """Return the results of searches for ten rows, from ``fewest`` candidates, and for a hundred.

    Each has one more row, because the query's own row may be among them.
    """
    many = searched.found[1]
    # The number of requested rows widens the search of a graph, but not that of lists.
    few = many[:, :fewest] if searched.lists is not None else search.narrow(fewest, value)
    ten, hundred = (
        rank_candidates(raw, search.queries, rows, exact, k)
        for rows, k in ((few, _TEN), (many, EXACT_AT))
    )
    return ten, hundred


def rank_candidates(raw: Raw, queries: Vectors, rows: Rows, exact: Lists, k: int) -> Lists:
    """Return the best ``k`` of each query's candidates, as far as they matter for its recall.

    The exact scores of the nearest rows are known. Other candidates matter only if they score the
    same as the last of these. A query with too few candidates scans all rows, as in
    `transforms.index.vector.segment_index.search_shard`.
    """
    scores, names = exact
    width = min(k, names.shape[1])
    short = (rows >= 0).sum(axis=1) < width
    there = short[:, None] | _members(names, rows)
    kept = merge_top_k([(scores, np.where(there, names, -1))], width)
    tied = ~short & _ties(scores)
    if tied.any():
        ranked = _rescore_picked(raw, queries[tied], rows[tied], width)
        kept[0][tied, : ranked[0].shape[1]], kept[1][tied, : ranked[1].shape[1]] = ranked
    return kept


def _rescore_picked(raw: Raw, queries: Vectors, rows: Rows, k: int) -> Lists:
    """Do what `rescore` does, but load only these rows of a mapped file."""
    needed, places = np.unique(rows, return_inverse=True)
    none = np.searchsorted(needed, 0)
    scores, found = rescore(pick(raw, needed[none:]), queries, places.reshape(rows.shape) - none, k)
    return scores, np.where(found < 0, -1, needed[none:][found])


def _members(names: Rows, rows: Rows) -> Bools:
    """Return which of each query's ``names`` are among its ``rows``."""
    found = np.empty(names.shape, np.bool_)
    for start in range(0, len(names), _COMPARED):
        some = slice(start, start + _COMPARED)
        found[some] = (names[some, :, None] == rows[some, None, :]).any(axis=2)
    return found & (names >= 0)


def _ties(scores: Scores) -> Bools:
    """Return for which queries the nearest rows end with equal scores, so that more may follow."""
    if scores.shape[1] < EXACT_AT:
        return np.zeros(len(scores), np.bool_)
    full = np.isfinite(scores[:, -1])
    last, scale = scores[full, -2:], np.abs(scores[full]).max(axis=1)
    full[full] = last[:, 0] - last[:, 1] <= TIE * scale
    return full


def _masks(raw: Raw, queries: Vectors, shard: int) -> dict[float, Halves]:
    """Choose the live rows for each share: at random, and those most similar to one query."""
    middle = queries[len(queries) // 2]
    alike = np.concatenate([np.empty(0, np.float32), *(block @ middle for block in blocks(raw))])
    return {
        share: (random_rows(share, len(raw), shard), alike_rows(share, alike))
        if share < 1
        else (None, None)
        for share in LIVE_SHARES
    }


def _exact(raw: Raw, queries: Vectors, masks: dict[float, Halves]) -> dict[float, list[Lists]]:
    """Search several sets of live rows exactly, in one pass over the vectors."""
    found = {share: [no_hits(len(queries[some])) for some in asked(share)] for share in masks}
    start = 0
    for block in blocks(raw):
        scores = queries @ block.T
        for share, halves in masks.items():
            for half, (some, live) in enumerate(zip(asked(share), halves, strict=True)):
                mine = None if live is None else live[start : start + len(block)]
                best = found[share][half]
                found[share][half] = raise_top_k(best, scores[some], start, EXACT_AT, mine)
        start += len(block)
    return found
