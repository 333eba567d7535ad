"""The vectors of an index shard as a bare float16 file, to re-rank candidates and to scan exactly.

The file is the rows in order, ``[rows, dim]`` little-endian float16, and nothing else; it is read
memory-mapped, so that a search touches only the rows that it looks at.
"""

import itertools
import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.errors import BadInput, Damaged
from transforms.index.top_k import Rows, Scores, merge_top_k, no_hits
from transforms.runtime.search_pool import searchers

Vectors = npt.NDArray[np.float32]
Raw = npt.NDArray[np.float16]

_TYPE = np.dtype("<f2")
#: Numbers gathered at once to re-rank with: as many as stay in a core's cache.
_GATHERED = 1 << 20
#: Of a float32's bits those that a float16 has, and what its exponent lacks.
_SIGN_AND_NUMBER = np.int32(-0x70000001)
_BIAS = np.float32(2.0**112)
#: Rows read at once by a scan.
_BLOCK = 16_384


def rounded(vectors: Vectors) -> Vectors:
    """The vectors as the file gives them back."""
    return vectors.astype(_TYPE).astype(np.float32)


def widen(half: Raw) -> Vectors:
    """Finite float16 as float32, in a third of the time that numpy's own conversion takes.

    Exponent and mantissa are moved to where float32 has them, and the difference of the two
    exponents' biases (127 - 15) is multiplied in, which is exact, for subnormal numbers too.
    """
    bits = half.view("<i2").astype(np.int32)
    bits <<= 13
    bits &= _SIGN_AND_NUMBER
    found = bits.view(np.float32)
    found *= _BIAS
    return found


def write_raw(path: str, chunks: Iterable[Vectors]) -> None:
    """Write rows to a local file.

    Raises:
        BadInput: a number is too large for float16.
    """
    most = np.finfo(_TYPE).max
    with open(path, "wb") as file:
        for chunk in chunks:
            if len(chunk) and np.abs(chunk).max() > most:
                raise BadInput(
                    f"a vector has a number above {most:.0f}, which the float16 rows beside an "
                    "approximate index can't hold; normalize the vectors, or give --index flat"
                )
            file.write(np.ascontiguousarray(chunk.astype(_TYPE)).data)


def open_raw(path: Path, rows: int, dim: int) -> Raw:
    """Map a file.

    Raises:
        Damaged: it has another size than so many rows.
    """
    size, wanted = path.stat().st_size, rows * dim * _TYPE.itemsize
    if size != wanted:
        raise Damaged(
            f"{path} has {size} bytes, and {rows} rows of {dim} dimensions have {wanted}; "
            "restore it, or build the index again with albeam index"
        )
    if not rows:
        return np.empty((0, dim), np.float16)
    return np.memmap(path, _TYPE, "r", shape=(rows, dim))


def blocks(raw: Raw) -> Iterator[Vectors]:
    """The rows in order, float32, so many at once as fit a small memory.

    What of a mapped file has been read counts no longer as this process' memory.
    """
    for start in range(0, len(raw), _BLOCK):
        yield widen(raw[start : start + _BLOCK])
        _give_back(raw, start + _BLOCK)


def pick(raw: Raw, rows: Rows) -> Raw:
    """Some rows, which ascend, in memory of their own; `blocks` says what becomes of the others."""
    found = np.empty((len(rows), raw.shape[1]), raw.dtype)
    edges = np.searchsorted(rows, np.arange(0, len(raw) + _BLOCK, _BLOCK))
    for number, (start, stop) in enumerate(itertools.pairwise(edges.tolist()), 1):
        if start < stop:
            found[start:stop] = raw[rows[start:stop]]
            _give_back(raw, number * _BLOCK)
    return found


def _give_back(raw: Raw, rows: int) -> None:
    """Unmap the first rows of a mapped file: Linux maps whole folios, megabytes for a row."""
    owner: Any = raw.base
    if isinstance(owner, mmap.mmap):
        owner.madvise(mmap.MADV_DONTNEED, 0, min(rows, len(raw)) * raw.strides[0])


def rescore(raw: Raw, queries: Vectors, rows: Rows, k: int) -> tuple[Scores, Rows]:
    """The best ``k`` of each query's candidates ``[queries, n]`` by exact scores; -1 is none."""
    at_once = max(1, _GATHERED // max(1, rows.shape[1] * raw.shape[1]))
    starts = range(0, len(rows), at_once)

    def some(start: int) -> Scores:
        few = slice(start, start + at_once)
        return _products(raw, queries[few], rows[few])

    # A question alone may be at work in one of the threads, and must not wait for them.
    found = searchers().map(some, starts) if len(starts) > 1 else map(some, starts)
    return merge_top_k([(np.concatenate([np.empty((0, rows.shape[1])), *found]), rows)], k)


def _products(raw: Raw, queries: Vectors, rows: Rows) -> Scores:
    """The inner products of each query and its rows."""
    gathered = widen(raw[np.maximum(rows, 0)])
    return np.asarray(np.matmul(gathered, queries[:, :, None])[:, :, 0], np.float32)


def scan(
    raw: Raw, queries: Vectors, k: int, live: npt.NDArray[np.bool_] | None
) -> tuple[Scores, Rows]:
    """The best ``k`` live rows, all by default, by exact scores; only live rows are read."""
    places = np.arange(len(raw)) if live is None else np.flatnonzero(live)
    best = no_hits(len(queries))
    for start in range(0, len(places), _BLOCK):
        block = places[start : start + _BLOCK]
        scores = queries @ widen(raw[block]).T
        few = min(k, len(block))
        top = np.argpartition(-scores, few - 1, axis=1)[:, :few]
        best = merge_top_k([best, (np.take_along_axis(scores, top, 1), block[top])], k)
    return best
