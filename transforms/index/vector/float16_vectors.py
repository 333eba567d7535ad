"""The vectors of an index shard as a bare float16 file, for re-ranking and exact scans.

The file holds the rows in order, ``[rows, dim]`` little-endian float16, and nothing else. It is
memory-mapped, so that a search reads only the rows that it needs.
"""

import itertools
import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.errors import BadInput, Damaged
from transforms.index.products import products
from transforms.index.top_k import Rows, Scores, merge_top_k
from transforms.runtime.search_pool import search_pool
from transforms.storage.remedies import BUILD_INDEX

Vectors = npt.NDArray[np.float32]
Raw = npt.NDArray[np.float16]

_TYPE = np.dtype("<f2")
#: Numbers that are gathered at once for re-ranking; so many stay in a core's cache.
_GATHERED = 1 << 20
#: The bits of a float32 that come from a float16, and the factor that corrects the exponent.
_SIGN_AND_NUMBER = np.int32(-0x70000001)
_BIAS = np.float32(2.0**112)
#: Rows that a scan reads at once.
_BLOCK = 16_384


def rounded(vectors: Vectors) -> Vectors:
    """Return vectors with the precision of float16, as those of an approximate index have it."""
    most = np.finfo(_TYPE).max
    return widen(np.clip(vectors, -most, most).astype(_TYPE))


def widen(half: Raw) -> Vectors:
    """Convert finite float16 to float32, in a third of the time of numpy's conversion.

    Exponent and mantissa are shifted to their places in float32. A multiplication by
    ``2 ** (127 - 15)`` then corrects the exponent's bias. It is exact, also for subnormal numbers.
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
                    "vector",
                    None,
                    f"a number is above {most:.0f}, the largest that the float16 rows of an "
                    "approximate index can hold",
                    "Normalize the vectors, or give --index flat",
                )
            file.write(np.ascontiguousarray(chunk.astype(_TYPE)).data)


def open_raw(path: Path, rows: int, dim: int) -> Raw:
    """Memory-map a file of so many rows.

    Raises:
        Damaged: the file's size does not fit the number of rows.
    """
    size, wanted = path.stat().st_size, rows * dim * _TYPE.itemsize
    if size != wanted:
        raise Damaged(
            "index file",
            str(path),
            f"has {size} bytes, but {rows} rows of {dim} dimensions have {wanted}",
            BUILD_INDEX,
        )
    if not rows:
        return np.empty((0, dim), np.float16)
    return np.memmap(path, _TYPE, "r", shape=(rows, dim))


def blocks(raw: Raw) -> Iterator[Vectors]:
    """Yield the rows in order, as float32 blocks of bounded size.

    Pages of a mapped file are released after they are read.
    """
    for start in range(0, len(raw), _BLOCK):
        yield widen(raw[start : start + _BLOCK])
        _release_pages(raw, start + _BLOCK)


def pick(raw: Raw, rows: Rows) -> Raw:
    """Copy some rows, given in ascending order; pages are released as in `blocks`."""
    found = np.empty((len(rows), raw.shape[1]), raw.dtype)
    edges = np.searchsorted(rows, np.arange(0, len(raw) + _BLOCK, _BLOCK))
    for number, (start, stop) in enumerate(itertools.pairwise(edges.tolist()), 1):
        if start < stop:
            found[start:stop] = raw[rows[start:stop]]
            _release_pages(raw, number * _BLOCK)
    return found


def _release_pages(raw: Raw, rows: int) -> None:
    """Release the pages of a mapped file's first rows; Linux maps megabytes for a single row."""
    owner: Any = raw.base
    if isinstance(owner, mmap.mmap):
        owner.madvise(mmap.MADV_DONTNEED, 0, min(rows, len(raw)) * raw.strides[0])


def rescore(raw: Raw, queries: Vectors, rows: Rows, k: int) -> tuple[Scores, Rows]:
    """Return the best ``k`` of each query's candidates ``[queries, n]`` by exact scores.

    Candidate -1 marks an empty place.
    """
    return merge_top_k([(score(raw, queries, rows), rows)], k)


def score(raw: Raw, queries: Vectors, rows: Rows) -> Scores:
    """Return the exact scores of each query's candidates ``[queries, n]``; -1 is an empty place."""
    at_once = max(1, _GATHERED // max(1, rows.shape[1] * raw.shape[1]))
    starts = range(0, len(rows), at_once)

    def some(start: int) -> Scores:
        few = slice(start, start + at_once)
        return products(widen(raw[np.maximum(rows[few], 0)]), queries[few])

    # A single question may itself run in one of these threads, and must not wait for them.
    found = search_pool().map(some, starts) if len(starts) > 1 else map(some, starts)
    return np.concatenate([np.empty((0, rows.shape[1]), np.float32), *found])
