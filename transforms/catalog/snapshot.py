"""Snapshots: immutable numbered files; the newest one is the store.

A commit is one exclusive create of ``snapshots/<number>.json``: everything becomes visible or
nothing does.
"""

import contextlib
import hashlib
import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from transforms.catalog import agreement
from transforms.catalog.index_manifest import IndexFile, IndexInfo
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.lexical_manifest import LexicalInfo
from transforms.catalog.manifest_json import Count, check_name, convert, decode, load
from transforms.catalog.segment import SegmentInfo
from transforms.catalog.tombstones import TombstoneRef
from transforms.errors import BadInput, Damaged
from transforms.models.identity import ModelIdentity
from transforms.storage import filesystem, remedies

VERSION = 1
#: The file that holds the number of the newest snapshot, as its writer recorded it.
NEWEST = "snapshots/newest"


@dataclass(frozen=True)
class SegmentRef:
    """A live segment.

    Attributes:
        name: the segment's folder.
        sha256: the digest of its ``segment.json``.
        documents: the documents written, dead ones included.
        passages: the passages written, dead ones included.
        rejects: the number of rejected rows by reason.
        tombstones: the dead rows; None if all rows are live.
        index: the file in ``index/`` that describes a vector index that was built later; it
            replaces the index in ``segment.json``.
        lexical: the file in ``lexical/`` that does so for the lexical index.
    """

    name: str
    sha256: str
    documents: Count
    passages: Count
    rejects: dict[str, Count]
    tombstones: TombstoneRef | None = None
    index: IndexFile | None = None
    lexical: IndexFile | None = None

    def __post_init__(self) -> None:
        """Raise Damaged if the name leads out of the store."""
        check_name(self.name)

    @property
    def live_documents(self) -> int:
        """Return the number of live documents."""
        return self.documents - (self.tombstones.documents if self.tombstones else 0)

    @property
    def live_passages(self) -> int:
        """Return the number of live passages."""
        return self.passages - (self.tombstones.passages if self.tombstones else 0)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON value; without newer keys that are None, as earlier versions wrote it."""
        return _without_none(asdict(self), "lexical")


@dataclass(frozen=True)
class Content:
    """The content of a new snapshot; see `Snapshot`."""

    identity: ModelIdentity
    segments: tuple[SegmentRef, ...]
    weight: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON value; without newer keys that are None, as earlier versions wrote it."""
        segments = [segment.to_dict() for segment in self.segments]
        value = asdict(self) | {"identity": self.identity.to_dict(), "segments": segments}
        return _without_none(value, "weight")

    def digest(self, number: int) -> str:
        """Return the SHA-256 of this content as snapshot ``number``."""
        value = {"number": number, **self.to_dict()}
        return filesystem.digest(json.dumps(value, sort_keys=True).encode())


@dataclass(frozen=True)
class Snapshot:
    """One state of a store.

    Attributes:
        number: the snapshot's number, counted from 1.
        created: the time of the commit, UTC, ISO 8601.
        command: the command that made the snapshot.
        commit: a digest of number and content, which lets a writer recognize its own commit.
        identity: the model of all vectors.
        segments: the live segments, oldest first.
        version: the version of this format.
        weight: the learnt weight of the cosine in hybrid scores; None if it was not learnt.
    """

    number: Count
    created: str
    command: str
    commit: str
    identity: ModelIdentity
    segments: tuple[SegmentRef, ...]
    version: int = VERSION
    weight: float | None = None

    @property
    def content(self) -> Content:
        """Return the content."""
        return Content(self.identity, self.segments, self.weight)

    @property
    def documents(self) -> int:
        """Return the number of live documents."""
        return sum(segment.live_documents for segment in self.segments)

    @property
    def passages(self) -> int:
        """Return the number of live passages."""
        return sum(segment.live_passages for segment in self.segments)

    def to_json(self) -> bytes:
        """Return the snapshot as JSON."""
        value = _without_none(asdict(self), "weight") | self.content.to_dict()
        return json.dumps(value, sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes, where: str) -> "Snapshot":
        """Return the snapshot that `to_json` wrote.

        Raises:
            Damaged: the content is not such a snapshot; ``where`` names the file.
        """
        value = load(content, where)
        # Another version may have other keys: it must be named before they are.
        if isinstance(value, dict) and value.get("version") != VERSION:
            raise Damaged(
                "file",
                where,
                f"has snapshot format {value.get('version')!r}; this albeam reads format {VERSION}",
                "Install the albeam that wrote the store",
            )
        return convert(value, cls, where)


def snapshot_numbers(store: str) -> list[int]:
    """Return the numbers of a store's snapshots, oldest first; the newest may lack its file."""
    names = filesystem.list_names(filesystem.join(store, "snapshots"))
    numbers = sorted(int(name[:-5]) for name in names if re.fullmatch(r"[0-9]{8,15}\.json", name))
    # The newest is found by its name, because a listing may be too old to show it.
    while filesystem.exists(snapshot_url(store, (following := numbers[-1] + 1 if numbers else 1))):
        numbers.append(following)
    newest = _recorded_newest(store)
    return [*numbers, newest] if numbers and newest > numbers[-1] else numbers


def _recorded_newest(store: str) -> int:
    """Return the number that a writer recorded after its commit, or 0; there may be newer ones."""
    try:
        content = filesystem.read_bytes(filesystem.join(store, NEWEST))
    except (FileNotFoundError, NotADirectoryError):
        return 0
    return int(content) if re.fullmatch(rb"[0-9]{1,15}\s*", content) else 0


def record_newest(store: str, number: int) -> None:
    """Record a commit, so that the loss of its file is detected; a failure to do so is ignored."""
    folder, name = NEWEST.split("/")
    with (
        # The exceptions of fsspec's filesystems have no common base.
        contextlib.suppress(Exception),
        filesystem.put_atomically(filesystem.join(store, folder), lambda _: name) as path,
    ):
        Path(path).write_text(str(number))


def read_snapshot(store: str, number: int | None = None) -> Snapshot:
    """Return a snapshot of a store, the newest by default.

    Raises:
        BadInput: there is no store, or no such snapshot.
        Damaged: the snapshot's file can't be read.
    """
    if number is not None and abs(number) < 10**18:  # A name of 300 digits is too long for a file.
        # The file is found by its name: a listing for each of many snapshots would be slow.
        with contextlib.suppress(FileNotFoundError):
            return read_numbered(store, number)
    numbers = snapshot_numbers(store)
    if not numbers:
        problem = "is not a store: it has no snapshot"
        raise BadInput("store", store, problem, "Create one with albeam embed")
    if number in (None, numbers[-1]):
        try:
            return read_numbered(store, numbers[-1])
        except FileNotFoundError as error:
            problem = "is missing, and it is the newest snapshot"
            url = snapshot_url(store, numbers[-1])
            raise Damaged("file", url, problem, remedies.ROLL_BACK) from error
    raise BadInput(
        "snapshot",
        number,
        f"is not in {store!r}, which has {numbers[0]} to {numbers[-1]}",
        "See albeam snapshots",
    )


def read_numbered(store: str, number: int) -> Snapshot:
    """Return the snapshot ``number``; raises FileNotFoundError if its file is missing."""
    snapshot = Snapshot.from_json(filesystem.read_bytes(url := snapshot_url(store, number)), url)
    if snapshot.number != number:
        raise Damaged("file", url, f"holds snapshot {snapshot.number}", remedies.ROLL_BACK)
    found = snapshot.content.digest(number)
    if found != snapshot.commit:
        problem = f"has content with digest {found}, but records {snapshot.commit[:80]}"
        raise Damaged("file", url, problem, remedies.ROLL_BACK)
    agreement.check_snapshot(snapshot, url)
    return snapshot


def newest_snapshot(store: str) -> Snapshot | None:
    """Return the newest snapshot; None if the store has none yet."""
    return read_snapshot(store, numbers[-1]) if (numbers := snapshot_numbers(store)) else None


def snapshot_of(store: str, segment: str) -> int:
    """Return the number of the newest snapshot in which a segment is live.

    Raises:
        BadInput: the segment is live in no snapshot.
    """
    for number in reversed(snapshot_numbers(store)):
        if segment in {ref.name for ref in read_snapshot(store, number).segments}:
            return number
    raise BadInput("segment", segment, f"is live in no snapshot of {store!r}", "Embed again")


def read_segment(store: str, ref: SegmentRef) -> SegmentInfo:
    """Return the manifest of a live segment, with the indexes that the snapshot references.

    Raises:
        Damaged: a file is missing or differs from its digest.
    """
    paths = SegmentPaths(store, ref.name)
    index_url = lexical_url = url = paths.manifest
    info = SegmentInfo.from_json(_read_checked(url, ref.sha256), url)
    agreement.check_segment(info, ref, url)
    if ref.index is not None:
        index_url = filesystem.join(paths.index, ref.index.name)
        content = _read_checked(index_url, ref.index.sha256)
        info = replace(info, index=decode(content, IndexInfo, index_url))
    if ref.lexical is not None:
        lexical_url = filesystem.join(paths.lexical, ref.lexical.name)
        content = _read_checked(lexical_url, ref.lexical.sha256)
        info = replace(info, lexical=decode(content, LexicalInfo, lexical_url))
    agreement.check_indexes(info, index_url, lexical_url)
    return info


def _without_none(value: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: each for key, each in value.items() if key != name or each is not None}


def _read_checked(url: str, sha256: str) -> bytes:
    try:
        content = filesystem.read_bytes(url)
    except FileNotFoundError as error:
        raise Damaged("file", url, "is missing", remedies.EMBED_AGAIN) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        problem = f"has SHA-256 {found}, but the snapshot records {sha256}"
        raise Damaged("file", url, problem, remedies.EMBED_AGAIN)
    return content


def snapshot_url(store: str, number: int) -> str:
    """Return the URL of a snapshot's file."""
    return filesystem.join(store, "snapshots", f"{number:08d}.json")


def was_committed(store: str, name: str, after: int = 0) -> bool:
    """Return whether an existing snapshot with a number above ``after`` has the segment."""
    for number in reversed(snapshot_numbers(store)):
        if number <= after:
            break
        with contextlib.suppress(Damaged):
            if name in {ref.name for ref in read_snapshot(store, number).segments}:
                return True
    return False
