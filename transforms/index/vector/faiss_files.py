"""Index files: written by FAISS, and read so that a hostile or broken one is an error."""

import os
import re
import threading
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from transforms.errors import AlbeamError, Damaged
from transforms.index.vector.faiss_factory import kind_of
from transforms.index.vector.faiss_search import EXACT, reason
from transforms.storage.file_cache import INDEX_REMEDY

_READING = threading.Lock()
#: What FAISS says of kinds of index and of lists that it does not know.
_UNKNOWN = re.compile("not recognized|could not load")


def write_index(index: Any, path: str) -> None:
    """Write an index to a local file.

    Raises:
        OSError: the disk is full, or can't be written to.
        AlbeamError: FAISS could not write it for another reason.
    """
    try:
        faiss.write_index(index, path)
    except RuntimeError as error:
        # FAISS does not say why; the system does when it is asked for as much once more.
        with open(path, "ab") as file:
            file.write(bytes(1 << 20))
        raise AlbeamError(f"index file {path} can't be written: {reason(error)}") from error


def read_index(path: Path, factory: str, dim: int, rows: int, mapped: bool = True) -> Any:
    """Open an index file, memory-mapped where its type can be and rows are not to be added.

    Raises:
        Damaged: it can't be read, or has another size than the manifest says.
    """
    size = path.stat().st_size
    # FAISS 1.15 crashes on a mapped file that ends inside its header.
    if factory == EXACT and size < 4 * rows * dim:
        raise Damaged(
            f"index file {path} has {size} bytes, too few for {rows} rows of {dim} dimensions; "
            f"{INDEX_REMEDY}"
        )
    limit = size + _table_bytes(factory, dim)
    # Lists and flat codes are mapped; all else is read whole.
    flags = 0
    if mapped:
        flags = faiss.IO_FLAG_MMAP_IFC if factory == EXACT else _map_flag(factory)
    try:
        # The limit is the process' own.
        with _READING:
            # No array of an honest file is longer than it, but for tables made when it is read.
            faiss.set_deserialization_vector_byte_limit(limit)
            index = faiss.read_index(str(path), flags)
        fit = flags != faiss.IO_FLAG_MMAP or _lists_fit(index, factory, dim, size)
    except (RuntimeError, MemoryError) as error:
        why = reason(error)
        newer = "install the newer FAISS that wrote it, or " if _UNKNOWN.search(why) else ""
        raise Damaged(
            f"index file {path} can't be read by FAISS {faiss.__version__} ({why}); "
            f"{newer}{INDEX_REMEDY}"
        ) from error
    if flags == faiss.IO_FLAG_MMAP and fit and size <= _memory():
        # FAISS' threads read what a search is about to read; they pay where that is on a disk.
        ivf: Any = faiss.extract_index_ivf(index)
        lists: Any = faiss.downcast_InvertedLists(ivf.invlists)
        lists.prefetch_nthread = 0
    if not fit:
        raise Damaged(f"index file {path} has lists that are not inside it; {INDEX_REMEDY}")
    if (index.d, index.ntotal) != (dim, rows):
        raise Damaged(
            f"index file {path} has {index.ntotal} rows of {index.d} dimensions, and the manifest "
            f"says {rows} of {dim}; {INDEX_REMEDY}"
        )
    return index


def _memory() -> int:
    """Bytes of this machine's memory that may hold one file."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _lists_fit(index: Any, factory: str, dim: int, size: int) -> bool:
    """Whether mapped lists lie inside their file; FAISS does not look, and would crash."""
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
    """What FAISS may compute beside the lists of a product quantizer when it reads one."""
    codes = re.search(r"(?<!O)PQ(\d+)(?:x(\d+))?", factory)
    lists = kind_of(factory, dim).lists
    return 8 * lists * int(codes[1]) << int(codes[2] or 8) if codes and lists else 0


def _map_flag(factory: str) -> int:
    return int(faiss.IO_FLAG_MMAP) if "IVF" in factory and "fs" not in factory else 0
