"""Snapshots: immutable numbered manifests; the newest one is the store.

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

from transforms.catalog.index_manifest import IndexFile, IndexInfo
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.manifest_json import check_name, parse
from transforms.catalog.segment import SegmentInfo, checked_lexical
from transforms.catalog.tombstones import TombstoneRef
from transforms.errors import BadInput, Damaged
from transforms.models.identity import ModelIdentity
from transforms.storage import filesystem

VERSION = 1
#: Holds the number of the newest snapshot, as the last writer knew it.
NEWEST = "snapshots/newest"


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
        index: a file that says what its index is, where it is not the one it was written with.
        lexical: likewise of its lexical index.
    """

    name: str
    sha256: str
    documents: int
    passages: int
    rejects: dict[str, int]
    tombstones: TombstoneRef | None = None
    index: IndexFile | None = None
    lexical: IndexFile | None = None

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
        index, lexical = value.pop("index", None), value.pop("lexical", None)
        return cls(
            **value,
            tombstones=TombstoneRef(**dead) if dead is not None else None,
            index=IndexFile(**index) if index is not None else None,
            lexical=IndexFile(**lexical) if lexical is not None else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """The reference for JSON; as an earlier albeam wrote it, where there is nothing new."""
        return _without_none(asdict(self), "lexical")


@dataclass(frozen=True)
class Content:
    """What a new snapshot is to hold; see `Snapshot`."""

    identity: ModelIdentity
    segments: tuple[SegmentRef, ...]
    weight: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The content for JSON; as an earlier albeam wrote it, where there is nothing new."""
        segments = [segment.to_dict() for segment in self.segments]
        return _without_none(asdict(self) | {"segments": segments}, "weight")

    def digest(self, number: int) -> str:
        """SHA-256 of this content as snapshot ``number``."""
        value = {"number": number, **self.to_dict()}
        return filesystem.digest(json.dumps(value, sort_keys=True).encode())


@dataclass(frozen=True)
class Snapshot:
    """One state of a store.

    Attributes:
        number: counts up from 1.
        created: UTC, ISO 8601.
        command: the command that made it.
        commit: a digest of number, model and segments, by which a writer knows its own.
        identity: the model of all its vectors.
        segments: the live ones, oldest first.
        version: of this format.
        weight: of the cosine in a hybrid score, where it was learnt.
    """

    number: int
    created: str
    command: str
    commit: str
    identity: ModelIdentity
    segments: tuple[SegmentRef, ...]
    version: int = VERSION
    weight: float | None = None

    @property
    def content(self) -> Content:
        """What it holds."""
        return Content(self.identity, self.segments, self.weight)

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
        value = _without_none(asdict(self), "weight") | self.content.to_dict()
        return json.dumps(value, sort_keys=True, indent=1).encode()

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
            for file in (segment.index, segment.lexical):
                if file is not None:
                    check_name(file.name)
        identity = ModelIdentity.from_dict(value.pop("identity"))
        return cls(segments=segments, identity=identity, **value)


def snapshot_numbers(store: str) -> list[int]:
    """The numbers of a store's snapshots, oldest first; the newest may have lost its file."""
    names = filesystem.list_names(filesystem.join(store, "snapshots"))
    numbers = sorted(int(name[:-5]) for name in names if re.fullmatch(r"\d{8,}\.json", name))
    # By name: a listing may be too old to show the newest, or any.
    while filesystem.exists(snapshot_url(store, (following := numbers[-1] + 1 if numbers else 1))):
        numbers.append(following)
    newest = _newest(store)
    return [*numbers, newest] if numbers and newest > numbers[-1] else numbers


def _newest(store: str) -> int:
    """The number that a writer noted after its commit; 0 for none. There may be newer ones."""
    try:
        return int(filesystem.read_bytes(filesystem.join(store, NEWEST)))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return 0


def note_newest(store: str, number: int) -> None:
    """Note a commit, so that the loss of its file is noticed; what is not noted does no harm."""
    folder, name = NEWEST.split("/")
    with (
        # What fsspec's filesystems raise has no common base.
        contextlib.suppress(Exception),
        filesystem.put_atomically(filesystem.join(store, folder), lambda _: name) as path,
    ):
        Path(path).write_text(str(number))


def read_snapshot(store: str, number: int | None = None) -> Snapshot:
    """A store's snapshot, the newest by default.

    Raises:
        BadInput: there is no store, or no such snapshot.
        Damaged: its file can't be read.
    """
    if number is not None:
        # By name: a listing for each of many snapshots would take long.
        with contextlib.suppress(FileNotFoundError):
            return read_numbered(store, number)
    numbers = snapshot_numbers(store)
    if not numbers:
        raise BadInput(f"{store!r} is not a store: it has no snapshot; make one with albeam embed")
    if number in (None, numbers[-1]):
        try:
            return read_numbered(store, numbers[-1])
        except FileNotFoundError as error:
            raise Damaged(
                f"{snapshot_url(store, numbers[-1])}, the newest snapshot, is missing; "
                "restore it, or go "
                "back to an earlier one with albeam rollback"
            ) from error
    raise BadInput(
        f"snapshot {numbers[-1] if number is None else number} is not in {store!r}, which has "
        f"{numbers[0]} to {numbers[-1]}; see albeam snapshots"
    )


def read_numbered(store: str, number: int) -> Snapshot:
    """Read the snapshot of a number."""
    url = snapshot_url(store, number)
    snapshot = Snapshot.from_json(filesystem.read_bytes(url), url)
    if snapshot.number != number:
        raise Damaged(f"{url} holds snapshot {snapshot.number}; restore it from a backup")
    found = snapshot.content.digest(number)
    if found != snapshot.commit:
        raise Damaged(
            f"{url} has content with digest {found}, and it says {snapshot.commit}; restore it, "
            "or go back to an earlier snapshot with albeam rollback"
        )
    return snapshot


def newest_snapshot(store: str) -> Snapshot | None:
    """The newest snapshot, or None where the store has none yet."""
    numbers = snapshot_numbers(store)
    return read_snapshot(store, numbers[-1]) if numbers else None


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
    """A live segment's description with the index that it has now, checked by their digests.

    Raises:
        Damaged: it is missing or differs.
    """
    paths = SegmentPaths(store, ref.name)
    info = SegmentInfo.from_json(_read_checked(paths.manifest, ref.sha256), paths.manifest)
    if ref.index is not None:
        url = filesystem.join(paths.index, ref.index.name)
        index = parse(_read_checked(url, ref.index.sha256), url, IndexInfo.from_dict)
        for file in index.files:
            check_name(file.name)
        info = replace(info, index=index)
    if ref.lexical is not None:
        url = filesystem.join(paths.lexical, ref.lexical.name)
        lexical = parse(_read_checked(url, ref.lexical.sha256), url, checked_lexical)
        info = replace(info, lexical=lexical)
    return info


def _without_none(value: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: each for key, each in value.items() if key != name or each is not None}


def _read_checked(url: str, sha256: str) -> bytes:
    try:
        content = filesystem.read_bytes(url)
    except FileNotFoundError as error:
        raise Damaged(f"{url} is missing; restore it, or embed again into a new store") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise Damaged(
            f"{url} has SHA-256 {found}, and the snapshot says {sha256}; "
            "restore it, or embed again into a new store"
        )
    return content


def snapshot_url(store: str, number: int) -> str:
    """Return the URL of a snapshot's file."""
    return filesystem.join(store, "snapshots", f"{number:08d}.json")


def was_committed(store: str, name: str, after: int = 0) -> bool:
    """Whether a snapshot that is still there, and has a number above ``after``, has the segment."""
    for number in reversed(snapshot_numbers(store)):
        if number <= after:
            break
        with contextlib.suppress(Damaged):
            if name in {ref.name for ref in read_snapshot(store, number).segments}:
                return True
    return False
