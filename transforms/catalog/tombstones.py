"""Tombstones: the rows of a segment that newer documents replaced or that were removed.

A segment's tombstones are one roaring bitmap of row ids, in a file named by its content; the
snapshot names it. The files are immutable: a later snapshot names another one.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap64

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.manifest_json import check_name
from transforms.errors import Damaged
from transforms.storage import filesystem

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TombstoneRef:
    """Where a segment's tombstones lie, and how many there are.

    Attributes:
        name: the file in the segment's ``tombstones/``.
        sha256: the file's digest.
        passages: rows that are dead.
        documents: documents that are dead.
    """

    name: str
    sha256: str
    passages: int
    documents: int

    def __post_init__(self) -> None:
        """Raise Damaged for a name that leaves the folder."""
        check_name(self.name)


def write_tombstones(paths: SegmentPaths, rows: BitMap64, documents: int) -> TombstoneRef:
    """Write a segment's tombstones; the same rows give the same file.

    That file may stand already, and be old: it is kept from a vacuum before it is relied on.
    """
    paths.claim()
    return write_rows(paths.tombstones, rows, documents)


def write_rows(folder: str, rows: BitMap64, documents: int) -> TombstoneRef:
    """Write a set of rows, those of so many documents, into any folder."""
    with (
        filesystem.put_by_content(folder, "rows", ".roaring") as written,
        open(written.path, "wb") as file,
    ):
        file.write(rows.serialize())
    return TombstoneRef(written.name, written.sha256, len(rows), documents)


def read_tombstones(paths: SegmentPaths, ref: TombstoneRef | None, rows: int) -> BitMap64:
    """A segment's dead rows.

    Args:
        paths: the segment's.
        ref: what the snapshot says; None where all rows live.
        rows: how many rows the segment has.

    Raises:
        Damaged: the file is missing, differs from its digest, or names rows that are not there.
    """
    return read_rows(paths.tombstones, ref, rows)


def read_rows(folder: str, ref: TombstoneRef | None, rows: int) -> BitMap64:
    """The set of rows that `write_rows` wrote into a folder; none for None."""
    if ref is None:
        return BitMap64()
    url = filesystem.join(folder, ref.name)
    remedy = "restore it, or roll back to an earlier snapshot"
    try:
        content = filesystem.read_bytes(url)
    except FileNotFoundError as error:
        raise Damaged(f"{url} is missing; {remedy}") from error
    digest = filesystem.digest(content)
    if digest != ref.sha256:
        raise Damaged(f"{url} has SHA-256 {digest}, and the snapshot says {ref.sha256}; {remedy}")
    try:
        dead = BitMap64.deserialize(content)
    except (ValueError, IndexError) as error:
        raise Damaged(f"{url} can't be read as a bitmap: {error}; {remedy}") from error
    if len(dead) != ref.passages or (dead and dead.max() >= rows):
        raise Damaged(
            f"{url} has {len(dead)} rows, and the snapshot says {ref.passages} of {rows}; {remedy}"
        )
    return dead


def live_mask(dead: BitMap64, first: int, stop: int) -> npt.NDArray[np.bool_]:
    """Which of the rows ``first`` to ``stop`` live."""
    mask = np.ones(stop - first, np.bool_)
    inside = dead & BitMap64(range(first, stop)) if dead else BitMap64()
    mask[np.fromiter(inside, np.int64, len(inside)) - first] = False
    return mask
