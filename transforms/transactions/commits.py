"""What changes a store: each function makes one new snapshot."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap64

from transforms.catalog.commit import commit
from transforms.catalog.index_manifest import IndexFile
from transforms.catalog.integrity import check_files, claim_segment
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.parts import live_document_ids
from transforms.catalog.segment import SegmentInfo, check_metadata
from transforms.catalog.snapshot import Content, SegmentRef, Snapshot, read_segment, read_snapshot
from transforms.catalog.tombstones import read_tombstones, write_tombstones
from transforms.errors import BadInput, Conflict
from transforms.models.identity import ModelIdentity
from transforms.storage import filesystem
from transforms.storage.parquet_files import open_parquet, reading
from transforms.transactions.change_set import Changes
from transforms.transactions.rebase import NOTHING, Work, rebase


def check_identity(store: str, theirs: ModelIdentity, ours: ModelIdentity) -> None:
    """Raise BadInput where vectors of two models would meet; both sides are named."""
    difference = ours.difference(theirs)
    if difference:
        raise BadInput(
            f"model {ours.name!r} does not fit {store!r}, which was made with {theirs.name!r} "
            f"({difference}); use the store's model and options, or another store"
        )


def commit_segment(
    store: str,
    info: SegmentInfo,
    digest: str,
    mode: str,
    command: str,
    changes: Changes | None = None,
    index: IndexFile | None = None,
    lexical: IndexFile | None = None,
) -> Snapshot:
    """Make a segment live, in a new snapshot after whichever is the newest.

    Args:
        store: the store's URL.
        info: the segment, whose ``segment.json`` stands.
        digest: the SHA-256 of that file.
        mode: ``replace`` the live segments, or put the changes on them: see `rebase`.
        command: what to record as the reason.
        changes: what the run compared; without, its documents replace live ones of the same ids.
        index, lexical: files that say what its indexes are, where they are not those of its
            manifest.

    A segment that is live already is left as it is, and the snapshot that has it is returned.

    Raises:
        Conflict: other writers were faster twenty times over, or what they did can't be joined
            with this.
    """
    made = SegmentRef(info.name, digest, info.total("documents"), info.rows, info.rejects)
    ref = replace(made, index=index, lexical=lexical)
    work = Work(store, info.name, mode, changes or NOTHING, ref)

    def build(parent: Snapshot | None) -> Content | None:
        live = parent.segments if parent is not None else ()
        if mode == "replace" and live == (ref,):
            return None
        claim_segment(store, ref)
        if mode == "replace" or parent is None:
            return Content(info.identity, (ref,))
        _check_model(store, parent.identity, info.identity)
        if ref.name in {segment.name for segment in live}:
            return None
        known = {each.base.name for each in work.changes.segments}
        _check_metadata(store, info, [each for each in live if each.name not in known])
        if changes is None and mode == "append":
            # Nothing else needs more of the store than its ids.
            segments, _ = _bury_in_all(store, live, _ids_of(store, ref))
        else:
            segments = rebase(work, parent)
        return Content(info.identity, (*segments, ref), parent.weight)

    return commit(store, command, build)


def _check_model(store: str, theirs: ModelIdentity, ours: ModelIdentity) -> None:
    """Raise Conflict where another writer has brought another model meanwhile."""
    try:
        check_identity(store, theirs, ours)
    except BadInput as error:
        raise Conflict(f"another writer was faster, and now {error}") from error


def _check_metadata(store: str, info: SegmentInfo, others: Iterable[SegmentRef]) -> None:
    """Raise Conflict where another writer has brought columns of other types meanwhile."""
    schemas = ((ref.name, read_segment(store, ref).metadata) for ref in others)
    try:
        check_metadata(info.metadata, schemas)
    except BadInput as error:
        raise Conflict(f"another writer was faster, and now {error}") from error


def commit_removals(
    store: str, name: str, mode: str, command: str, identity: ModelIdentity, changes: Changes
) -> Snapshot:
    """Make a new snapshot with tombstones alone, where a run has nothing to write.

    Args:
        store: the store's URL.
        name: the segment in whose ``changes/`` the changes' files lie.
        mode: ``append`` or ``sync``.
        command: what to record as the reason.
        identity: of the run's model.
        changes: what the run compared.

    Raises:
        Conflict: as `commit_segment`.
    """
    work = Work(store, name, mode, changes)

    def build(parent: Snapshot | None) -> Content | None:
        parent = _there(store, parent)
        _check_model(store, parent.identity, identity)
        segments = rebase(work, parent)
        return None if segments == parent.segments else replace(parent.content, segments=segments)

    return commit(store, command, build)


def _there(store: str, parent: Snapshot | None) -> Snapshot:
    if parent is None:
        raise Conflict(f"{store!r} has no snapshot any more; run again")
    return parent


def commit_indexes(
    store: str,
    indexes: Mapping[str, IndexFile],
    command: str,
    lexical: Mapping[str, IndexFile] = MappingProxyType({}),
) -> Snapshot:
    """Give segments other indexes, in a new snapshot; those that live no more are passed over.

    Raises:
        Conflict: other writers were faster twenty times over.
    """

    def build(parent: Snapshot | None) -> Content | None:
        parent = _there(store, parent)
        refs = tuple(
            replace(
                ref,
                index=indexes.get(ref.name, ref.index),
                lexical=lexical.get(ref.name, ref.lexical),
            )
            for ref in parent.segments
        )
        if refs == parent.segments:
            return None
        for ref in refs:
            if ref.name in indexes or ref.name in lexical:
                claim_segment(store, ref)
        return replace(parent.content, segments=refs)

    return commit(store, command, build)


def commit_weight(store: str, weight: float, command: str) -> Snapshot:
    """Keep the weight of the cosine in hybrid scores, in a new snapshot.

    Raises:
        Conflict: other writers were faster twenty times over.
    """

    def build(parent: Snapshot | None) -> Content | None:
        parent = _there(store, parent)
        return None if parent.weight == weight else replace(parent.content, weight=weight)

    return commit(store, command, build)


@dataclass(frozen=True)
class Removal:
    """What `remove_documents` did.

    Attributes:
        snapshot: the number of the snapshot in which the documents are gone.
        documents: how many were live and are no more.
        passages: theirs.
        missing: ids that were not live.
    """

    snapshot: int
    documents: int
    passages: int
    missing: tuple[str, ...]


def remove_documents(store: str, ids: list[str], command: str = "delete") -> Removal:
    """Put tombstones on documents; ids that are not live are counted and do no harm.

    Raises:
        BadInput: there is no store, or no id.
        Conflict: other writers were faster twenty times over.
    """
    if not ids:
        raise BadInput("no ids to delete; give some, or --ids FILE with one a line")
    for name in ids:
        if not _is_text(name):
            raise BadInput(f"id {name!r} is not Unicode text and so in no store; leave it out")
    wanted = pa.array(sorted(set(ids)), pa.string())
    gone = wanted[:0]
    before = after = read_snapshot(store)

    def build(parent: Snapshot | None) -> Content | None:
        nonlocal before, gone
        before = _there(store, parent)
        segments, gone = _bury_in_all(store, before.segments, wanted)
        return replace(before.content, segments=segments) if len(gone) else None

    after = commit(store, command, build)
    missing = wanted.filter(pc.invert(pc.is_in(wanted, value_set=gone))).to_pylist()
    return Removal(
        after.number,
        before.documents - after.documents,
        before.passages - after.passages,
        tuple(missing),
    )


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bury_in_all(
    store: str, refs: Iterable[SegmentRef], ids: pa.Array
) -> tuple[tuple[SegmentRef, ...], pa.ChunkedArray]:
    """`bury` in each segment; one that loses its last row is left out."""
    left, died = [], []
    for ref in refs:
        buried, documents = bury(store, ref, ids)
        left += [buried] if buried is ref or buried.live_passages else []
        died.append(documents)
    return tuple(left), pa.chunked_array(died, pa.string())


def _ids_of(store: str, ref: SegmentRef) -> pa.Array:
    """The ids of a segment's documents, each once."""
    columns = live_document_ids(store, [ref])
    chunks = [chunk for column in columns for chunk in column.chunks]
    return pc.unique(pa.chunked_array(chunks, pa.string()))


def bury(store: str, ref: SegmentRef, ids: pa.Array) -> tuple[SegmentRef, pa.Array]:
    """Put tombstones on a segment's rows of some documents.

    Returns:
        The segment with more tombstones (the same where none of ``ids`` lives in it), and the ids
        of the documents that died.
    """
    paths = SegmentPaths(store, ref.name)
    info = read_segment(store, ref)
    dead = read_tombstones(paths, ref.tombstones, info.rows)
    fallen = []
    first, died = 0, BitMap64()
    for part in info.parts:
        url = filesystem.join(paths.vectors, part.name)
        with reading(url):
            names = open_parquet(url).read(columns=["document_id"]).column(0).combine_chunks()
        hit = np.flatnonzero(pc.is_in(names, value_set=ids).to_numpy(zero_copy_only=False))
        rows = [row for row in (hit + first).tolist() if row not in dead]
        died.update(rows)
        fallen.append(names.take(pa.array(np.array(rows, np.int64) - first)))
        first += part.rows
    if not died:
        return ref, pa.array([], pa.string())
    documents = pc.unique(pa.chunked_array(fallen, pa.string()))
    count = len(documents) + (ref.tombstones.documents if ref.tombstones else 0)
    return replace(ref, tombstones=write_tombstones(paths, dead | died, count)), documents


def roll_back(store: str, number: int) -> Snapshot:
    """Make a new snapshot with the content of an earlier one.

    Raises:
        BadInput: there is no such snapshot.
        Damaged: a file of it is gone.
        Conflict: a vacuum is removing what it needs.
    """
    wanted = read_snapshot(store, number)
    for ref in wanted.segments:
        SegmentPaths(store, ref.name).claim()
    # Once more: now no vacuum takes what it needs.
    wanted = read_snapshot(store, number)
    for ref in wanted.segments:
        read_tombstones(
            SegmentPaths(store, ref.name), ref.tombstones, read_segment(store, ref).rows
        )
    check_files(store, wanted, "restore it, or go back to another one; see albeam snapshots")
    content = wanted.content

    def build(parent: Snapshot | None) -> Content | None:
        same = parent is not None and parent.content == content
        return None if same else content

    return commit(store, f"rollback {number}", build, ignore_damage=True)
