"""FAISS: choose, train, add, measure, write, read, search. The only file that imports it.

Row ids are places in the index: a shard's index holds its rows in order. Cosine is the inner
product of normalized vectors.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.errors import BadInput, Damaged
from transforms.ranking import Rows, Scores, merge_top_k

try:
    import faiss
except ImportError as error:
    raise ImportError(
        "albeam needs FAISS, and neither build of it is installed: "
        "pip install 'albeam[cpu]', or 'albeam[gpu]' for NVIDIA GPUs"
    ) from error

Vectors = npt.NDArray[np.float32]

METRIC = "inner_product"
EXACT = "Flat"
_TRAINING_ROWS_PER_LIST = 64
_TRAINING_ROWS = 65_536
_RECALL_QUERIES = 64
_RECALL_AT = 10
#: The share of live rows below which an approximate index is not asked.
_LEAST_LIVE = 0.5
#: Rows scored at once by `exact_search`.
_BLOCK = 16_384


@dataclass(frozen=True)
class Measured:
    """An index and its recall@10 against exact search; 1.0 where it is exact itself."""

    index: Any
    recall: float


def choose_factory(option: str, dim: int, rows: int) -> str | None:
    """The FAISS factory string for an ``--index`` option; None for ``none``.

    Args:
        option: ``auto``, ``flat``, ``none`` or a factory string.
        dim: width of the vectors.
        rows: how many there will be, about.

    Raises:
        BadInput: FAISS does not know the string, or it wants more rows than there are.
    """
    if option == "none":
        return None
    if option in ("auto", "flat", EXACT):
        return EXACT
    try:
        index = faiss.index_factory(dim, option, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise BadInput(
            f"index {option!r} is no FAISS factory for {dim} dimensions "
            f"({_reason(error)}); give auto, flat, none or a string such as 'IVF256,Flat'"
        ) from error
    lists = _lists(index)
    if lists > rows:
        raise BadInput(
            f"index {option!r} has {lists} lists for {rows} rows; give at most {rows}, or flat"
        )
    return option


def build_index(
    factory: str, dim: int, rows: int, chunks: Callable[[], Iterator[Vectors]]
) -> Measured:
    """Train an index on an even sample, add all rows, and measure its recall.

    Args:
        factory: a FAISS factory string.
        dim: width of the vectors.
        rows: how many ``chunks`` gives.
        chunks: gives the vectors in order, ``[n, dim]`` float32; it is called more than once.

    Raises:
        BadInput: FAISS can't train on these vectors.
    """
    index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    if not index.is_trained:
        wanted = max(_TRAINING_ROWS, _TRAINING_ROWS_PER_LIST * _lists(index))
        try:
            index.train(even_sample(chunks(), rows, wanted)[1])
        except RuntimeError as error:
            raise BadInput(
                f"index {factory!r} can't be trained on {rows} rows ({_reason(error)}); "
                "give --index flat"
            ) from error
    for chunk in chunks():
        index.add(chunk)
    if index.ntotal != rows:
        raise Damaged(f"the index got {index.ntotal} rows where the parts have {rows}")
    exact = factory == EXACT
    return Measured(index, 1.0 if exact else measure_recall(index, rows, chunks))


def measure_recall(index: Any, rows: int, chunks: Callable[[], Iterator[Vectors]]) -> float:
    """Recall@10 of an index against exact search, a query's own row left out of both."""
    own, queries = even_sample(chunks(), rows, _RECALL_QUERIES)
    k = min(_RECALL_AT + 1, rows)
    _, exact = exact_search(chunks(), queries, k)
    _, found = search_index(index, queries, k)
    hits = wanted = 0
    for row, best, ours in zip(own, exact, found, strict=True):
        neighbours = [r for r in best if r != row][:_RECALL_AT]
        hits += len(set(neighbours) & set([r for r in ours if r != row][:_RECALL_AT]))
        wanted += len(neighbours)
    return hits / wanted if wanted else 1.0


def even_sample(chunks: Iterable[Vectors], rows: int, most: int) -> tuple[Rows, Vectors]:
    """At most ``most`` of ``rows`` vectors, evenly spaced: their row numbers and themselves."""
    wanted = np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))
    taken = []
    first = 0
    for chunk in chunks:
        inside = wanted[(wanted >= first) & (wanted < first + len(chunk))]
        taken.append(chunk[inside - first])
        first += len(chunk)
    return wanted, np.concatenate(taken)


def exact_search(
    chunks: Iterable[Vectors],
    queries: Vectors,
    k: int,
    live: npt.NDArray[np.bool_] | None = None,
) -> tuple[Scores, Rows]:
    """The best ``k`` rows of all chunks for each query; see `merge_top_k` for what is returned.

    ``live`` says which rows may be found, all by default.
    """
    best: tuple[Scores, Rows] = (
        np.empty((len(queries), 0), np.float32),
        np.empty((len(queries), 0), np.int64),
    )
    first = 0
    for chunk in chunks:
        for start in range(0, len(chunk), _BLOCK):
            block = np.ascontiguousarray(chunk[start : start + _BLOCK])
            places = np.arange(first + start, first + start + len(block))
            if live is not None:
                block, places = block[live[places]], places[live[places]]
            if not len(block):
                continue
            scores, rows = faiss.knn(
                queries, block, min(k, len(block)), metric=faiss.METRIC_INNER_PRODUCT
            )
            best = merge_top_k([best, (scores, places[rows])], k)
        first += len(chunk)
    return best


def search_index(
    index: Any, queries: Vectors, k: int, live: npt.NDArray[np.bool_] | None = None
) -> tuple[Scores, Rows]:
    """The best ``k`` rows of an index, ``[queries, k]``; row -1 where it found fewer.

    Args:
        index: what to search.
        queries: float32 ``[queries, dim]``.
        k: how many rows.
        live: which of the index's rows may be found; all by default.
    """
    queries = np.ascontiguousarray(queries)
    if live is None or live.all():
        scores, rows = index.search(queries, k)
        return scores, rows
    scores, rows = index.search(queries, k, params=_only(index, live))
    return scores, rows


@contextmanager
def searching(url: str) -> Iterator[None]:
    """What FAISS can't do with the index file at ``url`` becomes Damaged."""
    try:
        yield
    except (RuntimeError, IndexError) as error:
        raise Damaged(
            f"{url} can't be searched: {_reason(error)}; its digest is right, so it was written "
            "wrong: embed again into a new store"
        ) from error


def check_rows(rows: Rows, count: int) -> None:
    """Raise IndexError where an index of ``count`` rows found one that it can't have."""
    wrong = rows[(rows < -1) | (rows >= count)]
    if len(wrong):
        raise IndexError(f"it has {count} rows and found row {wrong[0]}")


def search_live(
    index: Any,
    factory: str,
    queries: Vectors,
    k: int,
    live: npt.NDArray[np.bool_],
    exactly: Callable[[Vectors, int], tuple[Scores, Rows]],
) -> tuple[Scores, Rows]:
    """The best ``k`` live rows, and as many as there are, however few of the rows live.

    Args:
        index: what to search.
        factory: what it was made by.
        queries: float32 ``[queries, dim]``.
        k: how many rows.
        live: which of the index's rows may be found.
        exactly: finds them without the index, from queries and k.

    An approximate index walks mostly over dead rows where few live, and finds hardly any.
    """
    count = int(live.sum())
    if not count:
        empty = (len(queries), 0)
        return np.empty(empty, np.float32), np.empty(empty, np.int64)
    k = min(k, count)
    if factory == EXACT or count == len(live):
        return search_index(index, queries, k, live)
    if count < _LEAST_LIVE * len(live):
        return exactly(queries, k)
    scores, rows = search_index(index, queries, k, live)
    short = np.flatnonzero((rows < 0).any(axis=1))
    if len(short):
        scores[short], rows[short] = exactly(queries[short], k)
    return scores, rows


def _only(index: Any, live: npt.NDArray[np.bool_]) -> Any:
    """Search parameters that find live rows only, of the kind that the index wants."""
    make: Any = faiss
    selector = make.IDSelectorBitmap(np.packbits(live, bitorder="little"))
    if _lists(index):
        return make.SearchParametersIVF(sel=selector, nprobe=make.extract_index_ivf(index).nprobe)
    if isinstance(index, make.IndexHNSW):
        return make.SearchParametersHNSW(sel=selector, efSearch=index.hnsw.efSearch)
    return make.SearchParameters(sel=selector)


def write_index(index: Any, path: str) -> None:
    """Write an index to a local file."""
    faiss.write_index(index, path)


def read_index(path: Path, factory: str, dim: int, rows: int) -> Any:
    """Open an index file, memory-mapped where its type can be.

    Raises:
        Damaged: it can't be read, or has another size than the manifest says.
    """
    size = path.stat().st_size
    # FAISS 1.15 crashes on a mapped file that ends inside its header.
    if factory == EXACT and size < 4 * rows * dim:
        raise Damaged(
            f"index file {path} has {size} bytes, too few for {rows} rows of {dim} dimensions; "
            "restore it, or embed again into a new store"
        )
    # No single array of an honest file is longer than the file.
    faiss.set_deserialization_vector_byte_limit(size)
    flags = faiss.IO_FLAG_MMAP_IFC if factory == EXACT else 0
    try:
        index = faiss.read_index(str(path), flags)
    except (RuntimeError, MemoryError) as error:
        raise Damaged(
            f"index file {path} can't be read by FAISS {faiss.__version__} ({_reason(error)}); "
            "restore it, or embed again into a new store"
        ) from error
    if (index.d, index.ntotal) != (dim, rows):
        raise Damaged(
            f"index file {path} has {index.ntotal} rows of {index.d} dimensions, and the manifest "
            f"says {rows} of {dim}; restore it, or embed again into a new store"
        )
    return index


def _lists(index: Any) -> int:
    try:
        return int(faiss.extract_index_ivf(index).nlist)
    except RuntimeError:
        return 0


def _reason(error: Exception) -> str:
    """FAISS' message without the C++ place that it starts with."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].split("Error: ")[-1][:200] if lines else type(error).__name__
