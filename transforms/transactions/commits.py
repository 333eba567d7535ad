"""Commits of segments, indexes and rollbacks: each function makes one new snapshot."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

from transforms.catalog.commit import commit
from transforms.catalog.index_manifest import IndexFile
from transforms.catalog.integrity import check_files, claim_segment
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.open_snapshot import OpenSnapshot
from transforms.catalog.parts import live_document_ids
from transforms.catalog.segment import SegmentInfo, check_metadata
from transforms.catalog.snapshot import Content, SegmentRef, Snapshot, read_segment, read_snapshot
from transforms.catalog.tombstones import read_tombstones
from transforms.errors import BadInput, Conflict
from transforms.models.identity import FLOAT, INT8, ONNX_INT8, ModelIdentity
from transforms.transactions.change_set import EMPTY, ChangeSet
from transforms.transactions.rebase import Work, rebase
from transforms.transactions.removal import add_tombstones_to_all, require_snapshot

#: What to give for a store of each precision.
_PRECISIONS = {
    FLOAT: "another --dtype, such as auto",
    INT8: "--dtype int8",
    ONNX_INT8: "--model FOLDER, as albeam export --int8 wrote it",
}


def check_identity(store: str, theirs: ModelIdentity, ours: ModelIdentity) -> None:
    """Raise BadInput if vectors of two models would be mixed; the error names both."""
    if ours.precision != theirs.precision:
        remedy = _PRECISIONS[theirs.precision]
        raise BadInput(
            "dtype",
            ours.precision,
            f"does not fit {store}, whose vectors have the precision {theirs.precision!r}",
            f"Give {remedy}, or use another store",
        )
    difference = ours.difference(theirs)
    if difference:
        raise BadInput(
            "model",
            ours.name,
            f"does not fit {store}, which was made with {theirs.name} ({difference})",
            "Use the model and the options of the store, or another store",
        )


def commit_segment(
    store: str,
    info: SegmentInfo,
    digest: str,
    mode: str,
    command: str,
    changes: ChangeSet | None = None,
    index: IndexFile | None = None,
    lexical: IndexFile | None = None,
) -> Snapshot:
    """Make a segment live in a new snapshot; return an existing one if it is live already.

    Args:
        store: the store's URL.
        info: the segment, which already has a ``segment.json``.
        digest: the SHA-256 of that file.
        mode: ``replace`` the live segments, or apply the change set to them: see `rebase`.
        command: the command to record in the snapshot.
        changes: the change set of the run; without one, the segment's documents replace live ones
            of the same ids.
        index, lexical: files that describe the indexes, if they are not those of the manifest.

    Raises:
        Conflict: other writers committed first in every attempt, or committed something that this
            segment can't be combined with.
    """
    made = SegmentRef(info.name, digest, info.total("documents"), info.rows, info.rejects)
    ref = replace(made, index=index, lexical=lexical)
    work = Work(store, info.name, mode, changes or EMPTY, ref)

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
        newest = OpenSnapshot(store, parent)
        _check_metadata(info, newest, {each.base.name for each in work.changes.segments})
        if changes is None and mode == "append":
            # This needs nothing but the ids of the store.
            segments, _ = add_tombstones_to_all(store, live, _ids_of(store, ref))
        else:
            segments = rebase(work, newest)
        return Content(info.identity, (*segments, ref), parent.weight)

    return commit(store, command, build)


def _check_model(store: str, theirs: ModelIdentity, ours: ModelIdentity) -> None:
    """Raise Conflict if another writer has changed the model of the store meanwhile."""
    try:
        check_identity(store, theirs, ours)
    except BadInput as error:
        raise _conflict(error) from error


def _check_metadata(info: SegmentInfo, newest: OpenSnapshot, known: set[str]) -> None:
    """Raise Conflict if a segment that is not known has metadata columns of other types."""
    schemas = (
        (ref.name, newest.info(place).metadata)
        for place, ref in enumerate(newest.segments)
        if ref.name not in known
    )
    try:
        check_metadata(info.metadata, schemas)
    except BadInput as error:
        raise _conflict(error) from error


def _conflict(error: BadInput) -> Conflict:
    problem = f"{error.problem}; another writer committed first"
    return Conflict(error.option, error.value, problem, error.remedy)


def commit_removals(
    store: str, name: str, mode: str, command: str, identity: ModelIdentity, changes: ChangeSet
) -> Snapshot:
    """Make a new snapshot that adds only tombstones, for a run that writes no documents.

    Args:
        store: the store's URL.
        name: the segment with the files of the change set.
        mode: ``append`` or ``sync``.
        command: the command to record in the snapshot.
        identity: the model of the run.
        changes: the change set of the run.

    Raises:
        Conflict: as for `commit_segment`.
    """
    work = Work(store, name, mode, changes)

    def build(parent: Snapshot | None) -> Content | None:
        parent = require_snapshot(store, parent)
        _check_model(store, parent.identity, identity)
        segments = rebase(work, OpenSnapshot(store, parent))
        return None if segments == parent.segments else replace(parent.content, segments=segments)

    return commit(store, command, build)


def commit_indexes(
    store: str,
    indexes: Mapping[str, IndexFile],
    command: str,
    lexical: Mapping[str, IndexFile] = MappingProxyType({}),
) -> Snapshot:
    """Make a new snapshot in which segments have other indexes; skip segments no longer live.

    Raises:
        Conflict: other writers committed first in every attempt.
    """

    def build(parent: Snapshot | None) -> Content | None:
        parent = require_snapshot(store, parent)
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
    """Make a new snapshot with a weight of the cosine in hybrid scores.

    Raises:
        Conflict: other writers committed first in every attempt.
    """

    def build(parent: Snapshot | None) -> Content | None:
        parent = require_snapshot(store, parent)
        return None if parent.weight == weight else replace(parent.content, weight=weight)

    return commit(store, command, build)


def _ids_of(store: str, ref: SegmentRef) -> pa.Array:
    """Return the ids of a segment's documents, each once."""
    columns = live_document_ids(store, [ref])
    chunks = [chunk for column in columns for chunk in column.chunks]
    return pc.unique(pa.chunked_array(chunks, pa.string()))


def roll_back(store: str, number: int) -> Snapshot:
    """Make a new snapshot with the content of an earlier one.

    Raises:
        BadInput: there is no such snapshot.
        Damaged: a file of the snapshot is missing.
        Conflict: a vacuum is removing what the snapshot needs.
    """
    wanted = read_snapshot(store, number)
    for ref in wanted.segments:
        SegmentPaths(store, ref.name).claim()
    # Read it again: from here on no vacuum removes what it needs.
    wanted = read_snapshot(store, number)
    for ref in wanted.segments:
        read_tombstones(
            SegmentPaths(store, ref.name), ref.tombstones, read_segment(store, ref).rows
        )
    check_files(store, wanted, "Restore it, or go back to another one; see albeam snapshots")
    content = wanted.content

    def build(parent: Snapshot | None) -> Content | None:
        same = parent is not None and parent.content == content
        return None if same else content

    return commit(store, f"rollback {number}", build, ignore_damage=True)
