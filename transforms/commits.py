"""What changes a store: each function makes one new snapshot."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

from transforms.changes import Changes
from transforms.errors import BadInput, Conflict
from transforms.index_info import IndexFile
from transforms.model import ModelIdentity
from transforms.planning import check_metadata
from transforms.rebase import Work, bury, rebase
from transforms.segment import SegmentInfo, SegmentPaths
from transforms.snapshot import (
    Content,
    SegmentRef,
    Snapshot,
    commit,
    read_segment,
    read_snapshot,
)
from transforms.standing import check_standing, check_whole
from transforms.tombstones import read_tombstones


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
    work = Work(store, info.name, mode, changes, ref)

    def build(parent: Snapshot | None) -> Content | None:
        live = parent.segments if parent is not None else ()
        if mode == "replace" and live == (ref,):
            return None
        check_standing(store, ref)
        if mode == "replace" or parent is None:
            return Content(info.identity, (ref,))
        _check_model(store, parent.identity, info.identity)
        if ref.name in {segment.name for segment in live}:
            return None
        known = {each.base.name for each in changes.segments} if changes is not None else set()
        _check_metadata(store, info, [each for each in live if each.name not in known])
        return Content(info.identity, (*rebase(work, parent), ref), parent.weight)

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
                check_standing(store, ref)
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
    found: list[pa.Array] = []
    before = after = read_snapshot(store)

    def build(parent: Snapshot | None) -> Content | None:
        nonlocal before
        parent = _there(store, parent)
        before = parent
        found.clear()
        refs = []
        for ref in parent.segments:
            buried, documents = bury(store, ref, wanted)
            refs += [buried] if buried is ref or buried.live_passages else []
            found.append(documents)
        if not any(len(documents) for documents in found):
            return None
        return replace(parent.content, segments=tuple(refs))

    after = commit(store, command, build)
    gone = pa.chunked_array(found, pa.string())
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
    check_whole(store, wanted, "restore it, or go back to another one; see albeam snapshots")
    content = wanted.content

    def build(parent: Snapshot | None) -> Content | None:
        same = parent is not None and parent.content == content
        return None if same else content

    return commit(store, f"rollback {number}", build, over_damage=True)
