"""Remove documents from a store: find their rows and put tombstones on them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap64

from transforms.catalog.commit import commit
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.parts import open_part
from transforms.catalog.snapshot import Content, SegmentRef, Snapshot, read_segment, read_snapshot
from transforms.catalog.tombstones import read_tombstones, write_tombstones
from transforms.errors import BadInput, Conflict
from transforms.storage import filesystem
from transforms.storage.parquet_files import reading


@dataclass(frozen=True)
class Removal:
    """The result of `remove_documents`.

    Attributes:
        snapshot: the number of the first snapshot without the documents.
        documents: how many live documents were removed.
        passages: how many live passages were removed.
        missing: ids that were not live.
    """

    snapshot: int
    documents: int
    passages: int
    missing: tuple[str, ...]


def remove_documents(store: str, ids: list[str], command: str = "delete") -> Removal:
    """Put tombstones on documents; ids that are not live are only counted.

    Raises:
        BadInput: there is no store, or no id.
        Conflict: other writers committed first in every attempt.
    """
    if not ids:
        raise BadInput("ids", None, "are missing", "Give some, or --ids FILE with one on each line")
    for name in ids:
        if not _is_unicode(name):
            raise BadInput(
                "id", repr(name), "is not Unicode text, so no store has it", "Leave it out"
            )
    wanted = pa.array(sorted(set(ids)), pa.string())
    removed = wanted[:0]
    before = after = read_snapshot(store)

    def build(parent: Snapshot | None) -> Content | None:
        nonlocal before, removed
        before = require_snapshot(store, parent)
        segments, removed = add_tombstones_to_all(store, before.segments, wanted)
        return replace(before.content, segments=segments) if len(removed) else None

    after = commit(store, command, build)
    missing = wanted.filter(pc.invert(pc.is_in(wanted, value_set=removed))).to_pylist()
    return Removal(
        after.number,
        before.documents - after.documents,
        before.passages - after.passages,
        tuple(missing),
    )


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def require_snapshot(store: str, parent: Snapshot | None) -> Snapshot:
    """Return the snapshot that a commit builds on; raise Conflict if there is none."""
    if parent is None:
        raise Conflict("store", store, "no longer has a snapshot", "Run again")
    return parent


def add_tombstones_to_all(
    store: str, refs: Iterable[SegmentRef], ids: pa.Array
) -> tuple[tuple[SegmentRef, ...], pa.ChunkedArray]:
    """Apply `add_tombstones` to each segment; leave out a segment that loses its last row."""
    segments, removed = [], []
    for ref in refs:
        after, documents = add_tombstones(store, ref, ids)
        segments += [after] if after is ref or after.live_passages else []
        removed.append(documents)
    return tuple(segments), pa.chunked_array(removed, pa.string())


def add_tombstones(store: str, ref: SegmentRef, ids: pa.Array) -> tuple[SegmentRef, pa.Array]:
    """Put tombstones on a segment's rows of some documents.

    Returns:
        The segment with its tombstones, which is ``ref`` itself if none of ``ids`` is live there,
        and the ids of the documents that died.
    """
    paths = SegmentPaths(store, ref.name)
    info = read_segment(store, ref)
    dead = read_tombstones(paths, ref.tombstones, info.rows)
    removed = []
    first, added = 0, BitMap64()
    for part in info.parts:
        url = filesystem.join(paths.vectors, part.name)
        with open_part(paths, part) as file, reading(url):
            names = file.read(columns=["document_id"]).column(0).combine_chunks()
        hit = np.flatnonzero(pc.is_in(names, value_set=ids).to_numpy(zero_copy_only=False))
        rows = [row for row in (hit + first).tolist() if row not in dead]
        added.update(rows)
        removed.append(names.take(pa.array(np.array(rows, np.int64) - first)))
        first += part.rows
    if not added:
        return ref, pa.array([], pa.string())
    documents = pc.unique(pa.chunked_array(removed, pa.string()))
    count = len(documents) + (ref.tombstones.documents if ref.tombstones else 0)
    return replace(ref, tombstones=write_tombstones(paths, dead | added, count)), documents
