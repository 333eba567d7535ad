"""Files in a segment's ``index/`` folder other than FAISS's: arrays, and index descriptions."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.catalog.index_manifest import IndexFile, IndexInfo
from transforms.catalog.layout import SegmentPaths, segment_name
from transforms.index.options import IndexOptions
from transforms.storage import filesystem
from transforms.storage.file_cache import FileCache


def index_file(written: filesystem.Written) -> IndexFile:
    """Return the manifest entry of a file that was just written."""
    return IndexFile(written.name, written.bytes, written.sha256)


def fetch(paths: SegmentPaths, file: IndexFile, cache: str) -> Path:
    """Return a local copy of an index file, checked against its digest."""
    url = filesystem.join(paths.index, file.name)
    return FileCache(Path(cache)).fetch(url, file.bytes, file.sha256)


def write_array(paths: SegmentPaths, stem: str, rows: npt.NDArray[Any]) -> IndexFile:
    """Write rows as an ``.npy`` file that is named by its content.

    Raises:
        OSError: the disk is full, for example; `numpy.save` would not give the reason.
    """
    form = np.lib.format
    rows = np.ascontiguousarray(rows)
    with (
        filesystem.put_by_content(paths.index, stem, ".npy") as written,
        open(written.path, "wb") as file,
    ):
        form.write_array_header_1_0(file, form.header_data_from_array_1_0(rows))
        file.write(rows.data)
    return index_file(written)


def write_questions(paths: SegmentPaths, vectors: npt.NDArray[np.float32]) -> IndexFile:
    """Write the vectors of questions, ``[n, dim]``, with which recall is measured."""
    return write_array(paths, "questions", vectors.astype(np.float16))


def write_index_info(paths: SegmentPaths, info: IndexInfo) -> IndexFile:
    """Write the description of an index to a file that is named by its content."""
    with (
        filesystem.put_by_content(paths.index, "index", ".json") as written,
        open(written.path, "wb") as file,
    ):
        file.write(info.to_json())
    return index_file(written)


def create_index_info(
    paths: SegmentPaths, options: IndexOptions, questions: IndexFile | None, info: IndexInfo
) -> IndexFile:
    """Create the file that describes the index of these options, or return the existing one."""
    url = filesystem.join(paths.index, _info_name(options, questions))
    filesystem.create_exclusively(url, info.to_json())
    existing = find_index_info(paths, options, questions)
    assert existing is not None
    return existing


def find_index_info(
    paths: SegmentPaths, options: IndexOptions, questions: IndexFile | None
) -> IndexFile | None:
    """Return the file that describes the index of these options, if an earlier run created it."""
    name = _info_name(options, questions)
    try:
        content = filesystem.read_bytes(filesystem.join(paths.index, name))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return IndexFile(name, len(content), filesystem.digest(content))


def _info_name(options: IndexOptions, questions: IndexFile | None) -> str:
    asked = questions.sha256 if questions is not None else ""
    return f"index-{segment_name(asdict(options) | {'questions': asked})}.json"
