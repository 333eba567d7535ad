"""Tombstones: the rows of a segment that newer documents replaced or a command removed.

A segment's tombstones are one roaring bitmap of row ids, in a file named by its content and
referenced by the snapshot. The files are immutable: a later snapshot references another file.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap64

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.manifest_json import Count, check_name
from transforms.errors import Damaged
from transforms.storage import filesystem

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TombstoneRef:
    """A reference to a file of row ids, such as a segment's tombstones.

    Attributes:
        name: the file's name in its folder.
        sha256: the file's digest.
        passages: the number of rows.
        documents: the number of documents that the rows belong to.
    """

    name: str
    sha256: str
    passages: Count
    documents: Count

    def __post_init__(self) -> None:
        """Raise Damaged if the name leads out of the folder."""
        check_name(self.name)


def write_tombstones(paths: SegmentPaths, rows: BitMap64, documents: int) -> TombstoneRef:
    """Write a segment's tombstones; equal rows give the same file.

    That file may exist and be old. The segment is claimed first, so that no vacuum removes it.
    """
    paths.claim()
    return write_rows(paths.tombstones, rows, documents)


def write_rows(folder: str, rows: BitMap64, documents: int) -> TombstoneRef:
    """Write row ids into a folder; ``documents`` is the number of their documents."""
    with (
        filesystem.put_by_content(folder, "rows", ".roaring") as written,
        open(written.path, "wb") as file,
    ):
        file.write(rows.serialize())
    return TombstoneRef(written.name, written.sha256, len(rows), documents)


def read_tombstones(paths: SegmentPaths, ref: TombstoneRef | None, rows: int) -> BitMap64:
    """Return the dead rows of a segment.

    Args:
        paths: the paths of the segment.
        ref: the snapshot's reference; None if all rows are live.
        rows: the number of rows of the segment.

    Raises:
        Damaged: the file is missing, differs from its digest, or holds rows that do not exist.
    """
    return read_rows(paths.tombstones, ref, rows)


def read_rows(folder: str, ref: TombstoneRef | None, rows: int) -> BitMap64:
    """Return the rows that `write_rows` wrote into a folder; none if ``ref`` is None."""
    if ref is None:
        return BitMap64()
    url = filesystem.join(folder, ref.name)
    remedy = "Restore it, or go back to an earlier snapshot with albeam rollback"
    try:
        content = filesystem.read_bytes(url)
    except FileNotFoundError as error:
        raise Damaged("file", url, "is missing", remedy) from error
    digest = filesystem.digest(content)
    if digest != ref.sha256:
        problem = f"has SHA-256 {digest}, but the snapshot records {ref.sha256}"
        raise Damaged("file", url, problem, remedy)
    try:
        dead = BitMap64.deserialize(content)
    except (ValueError, IndexError) as error:
        raise Damaged("file", url, f"can't be read as a bitmap: {error}", remedy) from error
    if len(dead) != ref.passages or (dead and dead.max() >= rows):
        problem = f"has {len(dead)} rows, but the snapshot records {ref.passages} of {rows}"
        raise Damaged("file", url, problem, remedy)
    return dead


def live_mask(dead: BitMap64, first: int, stop: int) -> npt.NDArray[np.bool_]:
    """Return, for each of the rows ``first`` to ``stop``, whether it is live."""
    mask = np.ones(stop - first, np.bool_)
    inside = dead & BitMap64(range(first, stop)) if dead else BitMap64()
    mask[np.fromiter(inside, np.int64, len(inside)) - first] = False
    return mask
