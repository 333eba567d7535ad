"""What exact search and each search-time setting find in a shard, for the recall of the whole."""

from typing import Any

import numpy as np
import numpy.typing as npt

from transforms import faiss_index
from transforms.index_plan import IndexPlan, ShardPlan
from transforms.ranking import Scores, merge_top_k, moved
from transforms.raw_vectors import Raw, rescore
from transforms.recall import EXACT_AT, LIVE_SHARES, TIE, Lists, ShardReport, asked, live_rows
from transforms.shards import candidates

Vectors = npt.NDArray[np.float32]

#: A setting that finds so much in a shard is not raised there.
_ENOUGH = 0.9999
_BLOCK = 8_192


def report_shard(
    plan: IndexPlan, shard: ShardPlan, index: Any, raw: Raw, queries: Vectors
) -> ShardReport:
    """What exact search and each setting worth trying find in a shard, with the segment's rows.

    A setting is not tried where it costs more than to scan the live rows, nor after one that found
    all that there is in this shard.
    """
    kind = faiss_index.kind_of(plan.factory, plan.dim)
    masks = {share: live_rows(share, shard.rows, shard.number) for share in LIVE_SHARES}
    first, best = shard.first_row, _exact(raw, queries, masks)
    found: dict[tuple[float, int], tuple[Lists, Lists]] = {}
    for share, live in masks.items():
        if live is not None and not kind.selects:
            continue
        some = queries[asked(share)]
        wanted = min(candidates(EXACT_AT), shard.rows)
        for value in faiss_index.ladder(plan.factory, plan.dim, plan.rows):
            if share < 1 and faiss_index.cost(kind, value, shard.rows) > share * shard.rows:
                break
            _, rows = faiss_index.search_index(index, some, wanted, live, value)
            few = rows[:, : candidates(11)]
            pair = rescore(raw, some, few, 11), rescore(raw, some, rows, EXACT_AT)
            found[share, value] = moved(pair[0], first), moved(pair[1], first)
            scores = pair[1][0]
            if _reached(scores, best[share][0]) >= _ENOUGH:
                break
    exact = {share: moved(lists, first) for share, lists in best.items()}
    return ShardReport(exact, found)


def _reached(scores: Scores, best: Scores) -> float:
    """The share of places at which what was found scores as well as the best there are."""
    width = min(scores.shape[1], best.shape[1])
    if not width:
        return 1.0
    scale = np.abs(np.where(np.isfinite(best), best, 0)).max(axis=1, keepdims=True)
    return float((scores[:, :width] >= best[:, :width] - TIE * scale).mean())


def _exact(
    raw: Raw, queries: Vectors, masks: dict[float, npt.NDArray[np.bool_] | None]
) -> dict[float, Lists]:
    """Exact search among each of several sets of live rows, in one pass over them."""
    found: dict[float, list[Lists]] = {share: [] for share in masks}
    for start in range(0, len(raw), _BLOCK):
        block = np.asarray(raw[start : start + _BLOCK], np.float32)
        for share, live in masks.items():
            some = queries[asked(share)]
            mine = None if live is None else live[start : start + _BLOCK]
            scores, rows = faiss_index.exact_search([block], some, EXACT_AT, mine)
            found[share].append((scores, rows + start))
            found[share] = [merge_top_k(found[share], EXACT_AT)]
    return {share: merge_top_k(lists, EXACT_AT) for share, lists in found.items()}
