"""What exact search and each search-time setting find in a shard, for the recall of the whole."""

from typing import Any

import numpy as np
import numpy.typing as npt

from transforms import faiss_index, faiss_kinds
from transforms.index_plan import IndexPlan, ShardPlan
from transforms.ranking import Rows, Scores, moved, no_hits, raise_top_k, stack
from transforms.raw_vectors import Raw, rescore
from transforms.recall import (
    EXACT_AT,
    LIVE_SHARES,
    TIE,
    Bools,
    Lists,
    ShardReport,
    alike_rows,
    asked,
    random_rows,
)
from transforms.shards import candidates, filled_lists

Vectors = npt.NDArray[np.float32]
#: Which rows live while each half of the queries is asked; None for all.
Halves = tuple[Bools | None, Bools | None]

_BLOCK = 8_192


def report_shard(
    plan: IndexPlan, shard: ShardPlan, index: Any, raw: Raw, queries: Vectors, stored: int
) -> ShardReport:
    """What exact search and each setting worth trying find in a shard, with the segment's rows.

    A setting is not tried where it costs more than to scan the live rows, nor after one that found
    more in this shard than the target asks for. The first ``stored`` queries are rows, the rest are
    questions.
    """
    enough = (1 + plan.target) / 2
    is_row = np.arange(len(queries)) < stored
    kind = faiss_kinds.kind_of(plan.factory, plan.dim)
    masks = _masks(raw, queries, shard.number)
    row_lists = faiss_index.row_lists(index, shard.rows)
    first, best = shard.first_row, _exact(raw, queries, masks)
    found: dict[tuple[float, int], tuple[Lists, Lists]] = {}
    for share, halves in masks.items():
        if share < 1 and not kind.selects:
            continue
        groups = np.concatenate([is_row[some] + 2 * n for n, some in enumerate(asked(share))])
        wanted = stack(best[share])[0]
        filled = [None if live is None else filled_lists(row_lists, live) for live in halves]
        for value in faiss_kinds.ladder(plan.factory, plan.dim, plan.rows):
            if share < 1 and faiss_kinds.cost(kind, value, shard.rows) > share * shard.rows:
                break
            pairs = []
            for half in (0, 1):
                some = queries[asked(share)[half]]
                lists = faiss_index.assign_lists(index, some, value, filled[half])
                pairs.append(_find(index, raw, some, halves[half], value, lists, best[share][half]))
            tens, hundreds = (stack(pieces) for pieces in zip(*pairs, strict=True))
            found[share, value] = moved(tens, first), moved(hundreds, first)
            if min(_reached(each[0], wanted, groups) for each in (tens, hundreds)) >= enough:
                break
    return ShardReport({s: moved(stack(pair), first) for s, pair in best.items()}, found)


def _find(
    index: Any,
    raw: Raw,
    queries: Vectors,
    live: Bools | None,
    value: int,
    lists: Lists | None,
    exact: Lists,
) -> tuple[Lists, Lists]:
    """What searches for ten and for a hundred rows find, besides a query's own row.

    As in `transforms.shards.search_shard`, whoever finds too few scans.
    """

    def search(k: int) -> Rows:
        wanted = min(candidates(k), len(raw))
        return faiss_index.search_index(index, queries, wanted, live, value, lists)[1]

    def refine(rows: Rows, k: int) -> Lists:
        scores, rows = rescore(raw, queries, rows, min(k, exact[1].shape[1]))
        short, width = (rows < 0).any(axis=1), rows.shape[1]
        scores[short], rows[short] = exact[0][short, :width], exact[1][short, :width]
        return scores, rows

    many = search(EXACT_AT)
    # A graph is searched the more widely the more is asked for; lists are not.
    few = search(11) if lists is None else many[:, : candidates(11)]
    return refine(few, 11), refine(many, EXACT_AT)


def _masks(raw: Raw, queries: Vectors, shard: int) -> dict[float, Halves]:
    """Which rows live at each share: random ones, and those most like the middle query."""
    middle = queries[len(queries) // 2]
    alike = np.empty(len(raw), np.float32)
    for start in range(0, len(raw), _BLOCK):
        alike[start : start + _BLOCK] = np.asarray(raw[start : start + _BLOCK], np.float32) @ middle
    return {
        share: (random_rows(share, len(raw), shard), alike_rows(share, alike))
        if share < 1
        else (None, None)
        for share in LIVE_SHARES
    }


def _reached(scores: Scores, best: Scores, groups: npt.NDArray[np.int64]) -> float:
    """The share of places at which what was found scores as the best, in the worst group."""
    width = min(scores.shape[1], best.shape[1])
    if not width:
        return 1.0
    scores, best = scores[:, :width], best[:, :width]
    scale = np.abs(np.where(np.isfinite(best), best, 0)).max(axis=1, keepdims=True)
    shares = (scores >= best - TIE * scale).mean(axis=1)
    return min(float(shares[groups == group].mean()) for group in np.unique(groups))


def _exact(raw: Raw, queries: Vectors, masks: dict[float, Halves]) -> dict[float, list[Lists]]:
    """Exact search among several sets of live rows, in one pass over them."""
    found = {share: [no_hits(len(queries[some])) for some in asked(share)] for share in masks}
    for start in range(0, len(raw), _BLOCK):
        scores = queries @ np.asarray(raw[start : start + _BLOCK], np.float32).T
        for share, halves in masks.items():
            for half, (some, live) in enumerate(zip(asked(share), halves, strict=True)):
                mine = None if live is None else live[start : start + _BLOCK]
                best = found[share][half]
                found[share][half] = raise_top_k(best, scores[some], start, EXACT_AT, mine)
    return found
