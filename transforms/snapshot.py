"""Snapshots: immutable numbered manifests; the newest one is the store.

A commit is one exclusive create of ``snapshots/<number>.json``: everything becomes visible or
nothing does.
"""

import datetime
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from transforms import storage
from transforms.errors import BadInput, Conflict, Damaged
from transforms.model import ModelIdentity
from transforms.parquet import open_parquet, reading
from transforms.segment import SegmentInfo, SegmentPaths, check_name, parse
from transforms.tombstones import TombstoneRef

VERSION = 1
_ATTEMPTS = 20


@dataclass(frozen=True)
class SegmentRef:
    """A live segment.

    Attributes:
        name: its folder.
        sha256: the digest of its ``segment.json``.
        documents: that it was written with, dead ones counted.
        passages: that it was written with, dead ones counted.
        rejects: reason to number of rejected rows.
        tombstones: its dead rows; None where all live.
    """

    name: str
    sha256: str
    documents: int
    passages: int
    rejects: dict[str, int]
    tombstones: TombstoneRef | None = None

    @property
    def live_documents(self) -> int:
        """Documents that are not dead."""
        return self.documents - (self.tombstones.documents if self.tombstones else 0)

    @property
    def live_passages(self) -> int:
        """Passages that are not dead."""
        return self.passages - (self.tombstones.passages if self.tombstones else 0)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "SegmentRef":
        """The reference that ``dataclasses.asdict`` wrote."""
        dead = value.pop("tombstones", None)
        return cls(**value, tombstones=TombstoneRef(**dead) if dead is not None else None)


@dataclass(frozen=True)
class Snapshot:
    """One state of a store.

    Attributes:
        number: counts up from 1.
        created: UTC, ISO 8601.
        command: the command that made it.
        commit: the id of the commit, by which a writer knows its own.
        identity: the model of all its vectors.
        segments: the live ones, oldest first.
        version: of this format.
    """

    number: int
    created: str
    command: str
    commit: str
    identity: ModelIdentity
    segments: tuple[SegmentRef, ...]
    version: int = VERSION

    @property
    def documents(self) -> int:
        """Live documents, tombstones left out."""
        return sum(segment.live_documents for segment in self.segments)

    @property
    def passages(self) -> int:
        """Live passages, tombstones left out."""
        return sum(segment.live_passages for segment in self.segments)

    def to_json(self) -> bytes:
        """The snapshot as JSON."""
        return json.dumps(asdict(self), sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes, where: str) -> "Snapshot":
        """The snapshot that `to_json` wrote; ``where`` names the file in errors."""
        return parse(content, where, cls._from_value)

    @classmethod
    def _from_value(cls, value: dict[str, Any]) -> "Snapshot":
        if value["version"] != VERSION:
            raise Damaged(
                f"snapshot format {value['version']!r} is not {VERSION}, which this albeam reads; "
                "install the albeam that wrote the store"
            )
        segments = tuple(SegmentRef.from_dict(segment) for segment in value.pop("segments"))
        for segment in segments:
            check_name(segment.name)
        identity = ModelIdentity.from_dict(value.pop("identity"))
        return cls(segments=segments, identity=identity, **value)


def snapshot_numbers(store: str) -> list[int]:
    """The numbers of a store's snapshots, oldest first."""
    names = storage.list_names(storage.join(store, "snapshots"))
    return sorted(int(name[:-5]) for name in names if re.fullmatch(r"\d{8,}\.json", name))


def read_snapshot(store: str, number: int | None = None) -> Snapshot:
    """A store's snapshot, the newest by default.

    Raises:
        BadInput: there is no store, or no such snapshot.
        Damaged: its file can't be read.
    """
    numbers = snapshot_numbers(store)
    if not numbers:
        raise BadInput(f"{store!r} is not a store: it has no snapshot; make one with albeam embed")
    if number is None:
        number = numbers[-1]
    if number not in numbers:
        raise BadInput(
            f"snapshot {number} is not in {store!r}, which has "
            f"{numbers[0]} to {numbers[-1]}; see albeam snapshots"
        )
    url = _url(store, number)
    snapshot = Snapshot.from_json(storage.read_bytes(url), url)
    if snapshot.number != number:
        raise Damaged(f"{url} holds snapshot {snapshot.number}; restore it from a backup")
    return snapshot


def newest_snapshot(store: str) -> Snapshot | None:
    """The newest snapshot, or None where the store has none yet."""
    return read_snapshot(store) if snapshot_numbers(store) else None


def snapshot_of(store: str, segment: str) -> int:
    """The number of the newest snapshot in which a segment is live.

    Raises:
        BadInput: it is live in none.
    """
    for number in reversed(snapshot_numbers(store)):
        if segment in {ref.name for ref in read_snapshot(store, number).segments}:
            return number
    raise BadInput(f"segment {segment!r} is live in no snapshot of {store!r}; embed again")


def read_segment(store: str, ref: SegmentRef) -> SegmentInfo:
    """A live segment's description, checked against the snapshot's digest.

    Raises:
        Damaged: it is missing or differs.
    """
    url = SegmentPaths(store, ref.name).manifest
    try:
        content = storage.read_bytes(url)
    except FileNotFoundError as error:
        raise Damaged(f"{url} is missing; restore it, or embed again into a new store") from error
    found = hashlib.sha256(content).hexdigest()
    if found != ref.sha256:
        raise Damaged(
            f"{url} has SHA-256 {found}, and the snapshot says {ref.sha256}; "
            "restore it, or embed again into a new store"
        )
    return SegmentInfo.from_json(content, url)


def live_document_ids(store: str, segments: Iterable[SegmentRef]) -> Iterator[pa.ChunkedArray]:
    """The document ids of segments, an array a part; a document's id stands once a passage."""
    for ref in segments:
        paths = SegmentPaths(store, ref.name)
        for part in read_segment(store, ref).parts:
            url = storage.join(paths.vectors, part.name)
            with reading(url):
                yield open_parquet(url).read(columns=["document_id"]).column(0)


def commit_segment(
    store: str,
    info: SegmentInfo,
    digest: str,
    mode: str,
    command: str,
    checked: frozenset[str] = frozenset(),
) -> Snapshot:
    """Make a segment live, in a new snapshot after whichever is the newest.

    Args:
        store: the store's URL.
        info: the segment, whose ``segment.json`` stands.
        digest: the SHA-256 of that file.
        mode: ``append`` to the live segments, or ``replace`` them.
        command: what to record as the reason.
        checked: live segments whose documents are known to be others than this one's.

    A segment that is live already is left as it is, and the snapshot that has it is returned.

    Raises:
        Conflict: other writers were faster twenty times over, or committed the same documents.
    """
    ref = SegmentRef(info.name, digest, info.total("documents"), info.rows, info.rejects)

    def build(parent: Snapshot | None) -> tuple[SegmentRef, ...] | None:
        live = parent.segments if parent is not None else ()
        if mode == "replace":
            return None if [segment.name for segment in live] == [ref.name] else (ref,)
        if parent is not None:
            check_identity(store, parent.identity, info.identity)
        if ref.name in {segment.name for segment in live}:
            return None
        _check_documents(store, ref, [s for s in live if s.name not in checked])
        return (*live, ref)

    return _commit(store, info.identity, command, digest, build)


def _check_documents(store: str, ref: SegmentRef, others: list[SegmentRef]) -> None:
    if not others:
        return
    ours = pa.chunked_array(
        [chunk for ids in live_document_ids(store, [ref]) for chunk in ids.chunks], pa.string()
    )
    for theirs in live_document_ids(store, others):
        known = ours.filter(pc.is_in(ours, value_set=theirs))
        if len(known):
            raise Conflict(
                f"{store!r}: another writer committed {known[0].as_py()!r} and perhaps more of "
                "these documents first; leave them out, or give --mode replace"
            )


def check_identity(store: str, theirs: ModelIdentity, ours: ModelIdentity) -> None:
    """Raise BadInput where vectors of two models would meet; both sides are named."""
    difference = ours.difference(theirs)
    if difference:
        raise BadInput(
            f"model {ours.name!r} does not fit {store!r}, which was made with {theirs.name!r} "
            f"({difference}); use the store's model and options, or another store"
        )


def _commit(
    store: str,
    identity: ModelIdentity,
    command: str,
    commit: str,
    build: Callable[[Snapshot | None], tuple[SegmentRef, ...] | None],
) -> Snapshot:
    for _ in range(_ATTEMPTS):
        parent = newest_snapshot(store)
        segments = build(parent)
        if segments is None:
            assert parent is not None
            return parent
        number = parent.number + 1 if parent is not None else 1
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        snapshot = Snapshot(number, now, command, commit, identity, segments)
        if storage.create_exclusively(_url(store, number), snapshot.to_json()):
            return snapshot
        standing = read_snapshot(store, number)
        if standing.commit == commit:
            # A retried request: the first one had arrived.
            return standing
    raise Conflict(f"{store!r}: other writers committed first {_ATTEMPTS} times; run again")


def _url(store: str, number: int) -> str:
    return storage.join(store, "snapshots", f"{number:08d}.json")
