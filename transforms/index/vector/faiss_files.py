"""FAISS index files: writing them, and reading them safely even if they are broken or hostile."""

import os
import re
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from transforms.errors import AlbeamError, Damaged
from transforms.index.vector.faiss_factory import kind_of
from transforms.index.vector.faiss_search import EXACT, reason
from transforms.runtime.forks import Lock
from transforms.storage.remedies import BUILD_INDEX

_READING = Lock()
#: FAISS's messages about types of index and of lists that it does not know.
_UNKNOWN = re.compile("not recognized|could not load")


def write_index(index: Any, path: str) -> None:
    """Write an index to a local file.

    Raises:
        OSError: the disk is full or can't be written to.
        AlbeamError: FAISS can't write it for another reason.
    """
    try:
        faiss.write_index(index, path)
    except RuntimeError as error:
        # FAISS gives no reason. Writing once more makes the system give it.
        with open(path, "ab") as file:
            file.write(bytes(1 << 20))
        problem = f"can't be written: {reason(error)}"
        raise AlbeamError("index file", path, problem, "Check the temporary folder") from error


def read_index(path: Path, factory: str, dim: int, rows: int, mapped: bool = True) -> Any:
    """Open an index file, memory-mapped if its type allows that.

    Args:
        path: a local file.
        factory: FAISS factory string of the index.
        dim: expected width of the vectors.
        rows: expected number of rows.
        mapped: whether to memory-map it; rows can't be added to a mapped index.

    Raises:
        Damaged: it can't be read, or its size differs from the manifest.
    """
    size = path.stat().st_size

    def damaged(problem: str, remedy: str = BUILD_INDEX) -> Damaged:
        return Damaged("index file", str(path), problem, remedy)

    # FAISS 1.15 crashes on a mapped file that ends inside its header.
    if factory == EXACT and size < 4 * rows * dim:
        raise damaged(f"has {size} bytes, too few for {rows} rows of {dim} dimensions")
    limit = size + _table_bytes(factory, dim)
    # Lists and flat codes are mapped; everything else is read into memory.
    flags = 0
    if mapped:
        flags = faiss.IO_FLAG_MMAP_IFC if factory == EXACT else _map_flag(factory)
    try:
        # The limit is global to the process.
        with _READING:
            # No array is longer than its file, except for tables that FAISS computes while reading.
            faiss.set_deserialization_vector_byte_limit(limit)
            index = faiss.read_index(str(path), flags)
        fit = flags != faiss.IO_FLAG_MMAP or _lists_fit(index, factory, dim, size)
    except (RuntimeError, MemoryError) as error:
        why = reason(error)
        newer = "Install the newer FAISS that wrote it. " if _UNKNOWN.search(why) else ""
        problem = f"can't be read by FAISS {faiss.__version__} ({why})"
        raise damaged(problem, newer + BUILD_INDEX) from error
    if flags == faiss.IO_FLAG_MMAP and fit and size <= _memory():
        # FAISS's read-ahead threads only pay off for data that memory can't hold.
        ivf: Any = faiss.extract_index_ivf(index)
        lists: Any = faiss.downcast_InvertedLists(ivf.invlists)
        lists.prefetch_nthread = 0
    if not fit:
        raise damaged("has lists that are not inside it")
    if (index.d, index.ntotal) != (dim, rows):
        found = f"{index.ntotal} rows of {index.d} dimensions"
        raise damaged(f"has {found}, but the manifest says {rows} of {dim}")
    return index


def _memory() -> int:
    """Return how many bytes of this machine's memory one file may occupy."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _lists_fit(index: Any, factory: str, dim: int, size: int) -> bool:
    """Return whether mapped lists lie inside their file; FAISS does not check, and would crash."""
    ivf: Any = faiss.extract_index_ivf(index)
    lists = ivf.invlists
    if ivf.nlist != kind_of(factory, dim).lists or lists.nlist != ivf.nlist:
        return False
    found = sum(lists.list_size(number) for number in range(lists.nlist))
    row = lists.code_size + np.dtype(np.int64).itemsize
    return bool(
        found == ivf.ntotal == index.ntotal
        and lists.code_size == ivf.code_size > 0
        and found * row <= size
    )


def _table_bytes(factory: str, dim: int) -> int:
    """Return the bytes of tables that FAISS may compute while it reads codes in lists."""
    codes = re.search(r"(?<!O)PQ(\d+)(?:x(\d+))?", factory)
    lists = kind_of(factory, dim).lists
    return 8 * lists * int(codes[1]) << int(codes[2] or 8) if codes and lists else 0


def _map_flag(factory: str) -> int:
    return int(faiss.IO_FLAG_MMAP) if "IVF" in factory and "fs" not in factory else 0
