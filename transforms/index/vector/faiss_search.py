"""Search FAISS indexes, and inspect their structure.

`faiss_training` trains and fills indexes, `faiss_files` writes and reads them, and `faiss_factory`
determines the properties of a factory string.

Row ids are positions in the index, because a shard's index holds its rows in order. Cosine is the
inner product of normalized vectors.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.errors import Damaged
from transforms.index.top_k import Rows, Scores
from transforms.runtime.turns import Turns

try:
    import faiss
except ImportError as error:
    raise ImportError(
        "albeam needs FAISS, and neither build of it is installed: "
        "pip install 'albeam[search]' for searches, 'albeam[cpu]' for everything, or "
        "'albeam[gpu]' for NVIDIA GPUs"
    ) from error

Vectors = npt.NDArray[np.float32]

EXACT = "Flat"
#: The source location at the start of FAISS's messages.
_PLACE = re.compile(r"^.*?\.(?:cpp|h):\d+: ")
_LEVEL_BYTES = 16


def empty_index(factory: str, dim: int) -> Any:
    """Return an untrained, empty inner-product index of a factory string.

    Raises:
        RuntimeError: FAISS does not know the string, or not for so many dimensions.
        ValueError: the index does not support the inner product.
    """
    index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise ValueError(f"{factory} does not support the inner product")
    return index


def transforms_of(index: Any) -> list[Any]:
    """Return the transforms that an index applies to its vectors, in order."""
    make: Any = faiss
    if not isinstance(index, make.IndexPreTransform):
        return []
    chain = index.chain
    return [make.downcast_VectorTransform(chain.at(number)) for number in range(chain.size())]


def transformed(index: Any, vectors: Vectors) -> Vectors:
    """Apply an index's transforms to vectors."""
    for transform in transforms_of(index):
        vectors = transform.apply(np.ascontiguousarray(vectors))
    return np.ascontiguousarray(vectors)


def inner_of(index: Any) -> Any:
    """Return the index behind an index's transforms; the index itself if it has none."""
    make: Any = faiss
    behind = isinstance(index, make.IndexPreTransform)
    return make.downcast_index(index.index) if behind else index


def gpus() -> int:
    """Return how many GPUs FAISS sees."""
    count: Callable[[], int] | None = getattr(faiss, "get_num_gpus", None)
    return count() if count is not None else 0


def vectors_of(index: Any, rows: Rows) -> Vectors:
    """Return the vectors of some rows of an exact index, float32 ``[n, dim]``."""
    return np.asarray(index.reconstruct_batch(np.ascontiguousarray(rows, np.int64)), np.float32)


def row_lists(index: Any, rows: int) -> npt.NDArray[np.int32] | None:
    """Return the list of each row of a plain inverted file; None for any other index."""
    index = inner_of(index)
    if not has_plain_lists(index):
        return None
    make: Any = faiss
    found = np.zeros(rows, np.int32)
    for number in range(index.nlist):
        count = index.invlists.list_size(number)
        if count:
            ids = make.rev_swig_ptr(index.invlists.get_ids(number), count)
            check_rows(ids, rows)
            found[ids] = number
    return found


def assign_lists(
    index: Any, queries: Vectors, nprobe: int, filled: npt.NDArray[np.bool_] | None = None
) -> tuple[Scores, Rows] | None:
    """Choose the lists to search in a plain inverted file, for all shards with the same centres.

    Args:
        index: the inverted file.
        queries: float32 ``[queries, dim]``.
        nprobe: how many lists to search.
        filled: the lists that may be chosen; by default all.

    Returns:
        Scores and list numbers, ``[queries, n]``. None if the index is of another type, or if its
        centres can't be filtered.
    """
    queries, index = transformed(index, queries), inner_of(index)
    if not has_plain_lists(index):
        return None
    make: Any = faiss
    centres = make.downcast_index(index.quantizer)
    if filled is not None and not isinstance(centres, (make.IndexFlat, make.IndexHNSW)):
        return None
    # If more lists are requested than exist, FAISS reads those of the next query.
    most = index.nlist if filled is None else max(1, int(filled.sum()))
    count = min(nprobe, most)
    return search_index(centres, queries, count, filled)


def has_plain_lists(index: Any) -> bool:
    """Return whether an index is an inverted file whose lists can be chosen before the search."""
    return type(index).__name__.startswith("IndexIVF") and hasattr(index, "search_preassigned")


def search_index(
    index: Any,
    queries: Vectors,
    k: int,
    live: npt.NDArray[np.bool_] | None = None,
    setting: int = 0,
    lists: tuple[Scores, Rows] | None = None,
    alone: bool = False,
    turns: Turns | None = None,
) -> tuple[Scores, Rows]:
    """Return the best ``k`` rows of an index, ``[queries, k]``; row -1 marks an empty place.

    Args:
        index: the index to search.
        queries: float32 ``[queries, dim]``.
        k: how many rows.
        live: selects the index's rows that may be found; by default all.
        setting: nprobe or efSearch; 0 keeps the index's own value.
        lists: the only lists to search, from `assign_lists`.
        alone: whether a single query may use all cores for these lists.
        turns: those of the index, if threads share it.
    """
    queries = np.ascontiguousarray(queries)
    if lists is not None:
        queries, index = transformed(index, queries), inner_of(index)
    chosen = None if live is None or live.all() else live
    params = _parameters(index, chosen, setting if lists is None else lists[0].shape[1])
    if lists is not None:
        single = len(queries) == 1
        modes = single, single and alone
        # FAISS reads these settings from the index, and not from the parameters.
        with (turns or Turns()).under(modes, lambda: _set_modes(index, *modes)):
            scores, rows = _search_assigned(index, queries, k, lists, params)
    else:
        scores, rows = index.search(queries, k, params=params)
    return scores, rows


@contextmanager
def searching(url: str) -> Iterator[None]:
    """Convert FAISS's errors during a search of the index file at ``url`` to Damaged."""
    try:
        yield
    except (RuntimeError, IndexError) as error:
        raise Damaged(
            "index file",
            url,
            f"can't be searched: {reason(error)}; its digest is correct, so it was written wrongly",
            "Build another with albeam index",
        ) from error


def check_rows(rows: Rows, count: int) -> None:
    """Raise IndexError if an index of ``count`` rows returned a row that it can't have."""
    wrong = rows[(rows < -1) | (rows >= count)]
    if len(wrong):
        raise IndexError(f"it has {count} rows and found row {wrong[0]}")


def _set_modes(index: Any, single: bool, alone: bool) -> None:
    make: Any = faiss
    # 1 searches the lists of a query in parallel; 3 leaves parallelism to the caller.
    index.parallel_mode = 1 if alone else 3
    if isinstance(index, make.IndexIVFFastScan):
        # For one query, 10 (list by list) is faster than groups of lists. 0 lets FAISS choose.
        index.implem = 10 if single else 0


def _search_assigned(
    index: Any, queries: Vectors, k: int, lists: tuple[Scores, Rows], params: Any
) -> tuple[Scores, Rows]:
    """Call FAISS's C++ function, because the one for arrays takes no parameters."""
    make: Any = faiss
    scores = np.empty((len(queries), k), np.float32)
    rows = np.empty((len(queries), k), np.int64)
    near, numbers = (np.ascontiguousarray(each) for each in lists)
    pointers = (make.swig_ptr(each) for each in (numbers, near, scores, rows))
    index.search_preassigned_c(len(queries), make.swig_ptr(queries), k, *pointers, False, params)
    return scores, rows


def _parameters(index: Any, live: npt.NDArray[np.bool_] | None, setting: int) -> Any:
    """Return search parameters of the type that the index needs; None if none are needed."""
    make: Any = faiss
    if live is None and not setting:
        return None
    bits = None if live is None else np.packbits(live, bitorder="little")
    only = {} if bits is None else {"sel": make.IDSelectorBitmap(bits)}
    if isinstance(index, make.IndexPreTransform):
        inner = _parameters(make.downcast_index(index.index), live, setting)
        return make.SearchParametersPreTransform(index_params=inner)
    if count_lists(index):
        probes = setting or make.extract_index_ivf(index).nprobe
        return make.SearchParametersIVF(nprobe=probes, **only)
    hnsw = graph_of(index)
    if hnsw is not None:
        return make.SearchParametersHNSW(efSearch=setting or hnsw.efSearch, **only)
    return make.SearchParameters(**only) if only else None


def row_bytes(index: Any) -> int:
    """Return the bytes of a row in such an index: its code, its id in a list, its links."""
    make: Any = faiss
    inner, graph = inner_of(index), graph_of(index)
    if count_lists(inner):
        return int(make.extract_index_ivf(inner).code_size) + np.dtype(np.int64).itemsize
    if graph is not None:
        # Few rows have links above the lowest level. `_LEVEL_BYTES` are a row's offset and level.
        links = np.dtype(np.int32).itemsize * int(graph.nb_neighbors(0))
        return links + _LEVEL_BYTES + row_bytes(make.downcast_index(inner.storage))
    return int(inner.sa_code_size())


def graph_of(index: Any) -> Any:
    """Return the graph of an HNSW index; None for any other index."""
    make: Any = faiss
    index = inner_of(index)
    return index.hnsw if isinstance(index, make.IndexHNSW) else None


def count_lists(index: Any) -> int:
    """Return the number of lists of an inverted file; 0 for any other index."""
    try:
        return int(faiss.extract_index_ivf(index).nlist)
    except RuntimeError:
        return 0


def reason(error: Exception) -> str:
    """Return FAISS's message without the C++ source location at its start."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return _PLACE.sub("", lines[-1]).removeprefix("Error: ")[:200]
