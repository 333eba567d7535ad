"""FAISS index files: writing them, and reading them safely even if they are broken or hostile."""

import mmap
import os
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import faiss

from transforms.errors import AlbeamError, Damaged
from transforms.index.vector.faiss_factory import kind_of
from transforms.index.vector.faiss_search import EXACT, empty_index, reason
from transforms.index.vector.file_layout import Facts, LayoutError, UnknownType
from transforms.index.vector.index_types import check_layout, read_facts
from transforms.runtime.forks import Lock
from transforms.storage.remedies import BUILD_INDEX

_READING = Lock()
#: Names `check_index` in records; a new number makes a stricter check run again.
_CHECK = "layout 1"

#: Runs a check that a text describes, unless it did before.
Once = Callable[[str, Callable[[], None]], None]


def _always(_: str, check: Callable[[], None]) -> None:
    check()


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


def check_index(path: Path, factory: str, dim: int, rows: int) -> None:
    """Check an index file without FAISS, which would follow, map or overwrite what it names.

    Raises:
        Damaged: it is not an index of this factory string, width and number of rows.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        check_layout(content, _facts(factory, dim), rows)
    except UnknownType as error:
        remedy = f"Install the newer FAISS that wrote it. {BUILD_INDEX}"
        raise Damaged("index file", str(path), str(error), remedy) from error
    except LayoutError as error:
        raise Damaged("index file", str(path), str(error), BUILD_INDEX) from error


@lru_cache(8)
def _facts(factory: str, dim: int) -> Facts:
    return read_facts(faiss.serialize_index(empty_index(factory, dim)).tobytes())


def read_index(
    path: Path, factory: str, dim: int, rows: int, mapped: bool = True, once: Once = _always
) -> Any:
    """Open an index file after `check_index`, memory-mapped if its type allows that.

    Args:
        path: a local file.
        factory: FAISS factory string of the index.
        dim: expected width of the vectors.
        rows: expected number of rows.
        mapped: whether to memory-map it; rows can't be added to a mapped index.
        once: runs the check that the text describes; it may leave out what it ran before.

    Raises:
        Damaged: it can't be read, or differs from what is expected.
    """
    once(
        f"{_CHECK} of {rows} rows of {dim} numbers as {factory}",
        lambda: check_index(path, factory, dim, rows),
    )
    # Lists and flat codes are mapped; everything else is read into memory.
    flags = 0
    if mapped:
        flags = faiss.IO_FLAG_MMAP_IFC if factory == EXACT else _map_flag(factory)
    size = path.stat().st_size
    try:
        # The limit is global to the process.
        with _READING:
            # No array is longer than its file, except for tables that FAISS computes while reading.
            faiss.set_deserialization_vector_byte_limit(size + _table_bytes(factory, dim))
            index = faiss.read_index(str(path), flags)
    except (RuntimeError, MemoryError) as error:
        problem = f"can't be read by FAISS {faiss.__version__} ({reason(error)})"
        raise Damaged("index file", str(path), problem, BUILD_INDEX) from error
    if flags == faiss.IO_FLAG_MMAP:
        # FAISS's threads that read lists ahead read each list twice, and a process that is forked
        # afterwards crashes when it waits for them.
        ivf: Any = faiss.extract_index_ivf(index)
        lists: Any = faiss.downcast_InvertedLists(ivf.invlists)
        lists.prefetch_nthread = 0
    return index


def _table_bytes(factory: str, dim: int) -> int:
    """Return the bytes of tables that FAISS may compute while it reads codes or transforms."""
    codes = re.search(r"(?<!O)PQ(\d+)(?:x(\d+))?", factory)
    lists = kind_of(factory, dim).lists
    tables = 8 * lists * int(codes[1]) << int(codes[2] or 8) if codes and lists else 0
    widths = [value for name, value in _facts(factory, dim) if name.endswith("width")]
    # FAISS compares a matrix of these widths with the limit, even if a transform has none.
    return tables + 4 * int(max(widths)) ** 2


def _map_flag(factory: str) -> int:
    mapped = "IVF" in factory and not re.search("fs|Panorama", factory)
    return int(faiss.IO_FLAG_MMAP) if mapped else 0
