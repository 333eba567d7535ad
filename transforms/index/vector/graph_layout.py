"""The links of an HNSW graph in a file, which FAISS follows from row to row."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def check_graph(
    places: Array, levels: Array, offsets: Array, links: Array, entry: int, top: int
) -> str:
    """Return what is wrong with a graph, as the rest of a sentence; "" if nothing is.

    FAISS checks that links lead to rows, but not that these rows are on the same level. A row has
    no links on higher levels than its own, so FAISS would read those of other rows, or beyond.

    Args:
        places: where the links of each level start among those of a row, ``[levels + 1]``.
        levels: the number of levels that each row is on, ``[rows]``.
        offsets: where the links of each row start, ``[rows + 1]``.
        links: the rows that are linked; -1 for an empty place.
        entry: the row at which a search starts; -1 if there are no rows.
        top: the highest level of that row.
    """
    rows = len(levels)
    if not rows:
        empty = (entry, len(links), offsets.tolist()) == (-1, 0, [0])
        return "" if empty else "has links, but no rows"
    if levels.min() < 1 or levels.max() >= len(places):
        return "has a row on a level that its graph lacks"
    wanted = np.concatenate([[0], np.cumsum(places[levels], dtype=np.uint64)])
    if not np.array_equal(offsets, wanted) or len(links) != int(wanted[-1]):
        return "has links at other places than its levels say"
    if not 0 <= entry < rows or int(levels[entry]) != top + 1 or top + 1 != int(levels.max()):
        return "starts at a row that is not on its highest level"
    if links.min(initial=-1) < -1 or links.max(initial=-1) >= rows:
        return f"has a link to a row that is not one of its {rows}"
    for level in range(1, top + 1):
        above = np.flatnonzero(levels > level)
        width = np.arange(places[level], places[level + 1])
        linked = links[offsets[above].astype(np.int64)[:, None] + width]
        if (levels[linked[linked >= 0]] <= level).any():
            return f"has a link on level {level} to a row that is not on it"
    return ""
