"""What a store holds that no kept snapshot needs, and its removal in an order that a kill survives.

A segment that no snapshot names may be under way. Its youngest file is its heartbeat: a run writes
a part every half minute or so.
"""

from dataclasses import dataclass

from transforms import storage
from transforms.segment import SegmentPaths
from transforms.snapshot import Snapshot, read_segment, read_snapshot, snapshot_numbers
from transforms.storage import StoredFile


@dataclass(frozen=True)
class Orphans:
    """What may go.

    Attributes:
        snapshots: numbers of those that are not kept.
        files: other files that nothing kept needs, in the order in which they are to go.
    """

    snapshots: tuple[int, ...]
    files: tuple[StoredFile, ...]

    @property
    def bytes(self) -> int:
        """Of the files."""
        return sum(file.size for file in self.files)


def find_orphans(store: str, keep: int, before: float) -> Orphans:
    """Find what may go.

    Args:
        store: the store's URL.
        keep: how many of the newest snapshots stay, however old; at least 1.
        before: seconds since the epoch. What is younger stays: snapshots, and files that no
            snapshot names together with the rest of their segment.

    Raises:
        BadInput: there is no store.
        Damaged: a kept manifest can't be read, so that what it needs is not known.
    """
    newest = read_snapshot(store).number
    listed = {file.path: file for file in storage.list_files(store)}
    numbers = [number for number in snapshot_numbers(store) if number <= newest]
    dropped = tuple(
        number for number in numbers[: -max(keep, 1)] if listed[_manifest(number)].modified < before
    )
    kept = [read_snapshot(store, number) for number in numbers if number not in dropped]
    needed = {_manifest(number) for number in snapshot_numbers(store)}
    for snapshot in kept:
        needed |= _needed(store, snapshot)
    heartbeat: dict[str, float] = {}
    for file in listed.values():
        segment = _segment(file.path)
        heartbeat[segment] = max(heartbeat.get(segment, 0.0), file.modified)
    live = {ref.name for snapshot in kept for ref in snapshot.segments}
    gone = [
        file
        for path, file in listed.items()
        if path not in needed
        and (file.modified if _segment(path) in live else heartbeat[_segment(path)]) < before
    ]
    return Orphans(dropped, tuple(sorted(gone, key=_turn)))


def remove_snapshots(store: str, orphans: Orphans) -> None:
    """Remove the snapshots that are not kept, oldest first."""
    for number in orphans.snapshots:
        storage.remove(storage.join(store, _manifest(number)))


def remove_files(store: str, orphans: Orphans) -> None:
    """Remove the files that nothing kept needs, and the folders that they leave empty."""
    folders = set()
    for file in orphans.files:
        storage.remove(storage.join(store, file.path))
        pieces = file.path.split("/")
        folders |= {"/".join(pieces[:depth]) for depth in range(2, len(pieces))}
    for folder in sorted(folders, key=len, reverse=True):
        storage.remove_folder(storage.join(store, folder))


def _needed(store: str, snapshot: Snapshot) -> set[str]:
    """The paths of all files that a snapshot's segments are made of."""
    paths = set()
    for ref in snapshot.segments:
        root = SegmentPaths("", ref.name)
        info = read_segment(store, ref)
        found = [root.plan, root.manifest]
        for part in info.parts:
            found += [storage.join(root.vectors, part.name), root.marker(part.number)]
            if part.rejects_name:
                found.append(storage.join(root.rejects, part.rejects_name))
        if info.index is not None:
            found += [storage.join(root.index, shard.name) for shard in info.index.shards]
        if ref.tombstones is not None:
            found.append(storage.join(root.tombstones, ref.tombstones.name))
        paths |= {path.lstrip("/") for path in found}
    return paths


def _manifest(number: int) -> str:
    return f"snapshots/{number:08d}.json"


def _segment(path: str) -> str:
    """The segment's name, or the path of a file that is in none."""
    pieces = path.split("/")
    return pieces[1] if pieces[0] == "segments" and len(pieces) > 2 else path


def _turn(file: StoredFile) -> tuple[str, int, str]:
    """A marker goes before its part, so that what a kill leaves is not taken for done."""
    name = file.path.rsplit("/", 1)[-1]
    if name == "plan.json":
        return _segment(file.path), 2, file.path
    return _segment(file.path), 0 if name.endswith(".json") else 1, file.path
