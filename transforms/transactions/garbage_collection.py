"""What a store holds that no kept snapshot needs, and its removal in an order that a kill survives.

A segment that no snapshot names may be under way. Its youngest file is its heartbeat: a run writes
a part every half minute or so, its driver says once a minute that it is there, and one that takes
up old files first claims their segment. What it was compared with stays as long as it does. Vacuum
marks a segment before it looks at its heartbeat for the last time, and who claims it looks for the
mark afterwards: one of both sees the other.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise

from transforms.catalog.integrity import check_files, needed_files
from transforms.catalog.layout import HEARTBEAT, VACUUMED, SegmentPaths
from transforms.catalog.leases import leased_snapshot
from transforms.catalog.snapshot import NEWEST, SegmentRef, read_snapshot, snapshot_numbers
from transforms.storage import filesystem
from transforms.storage.filesystem import StoredFile

_OURS = ("segments/", "snapshots/")


@dataclass(frozen=True)
class Orphans:
    """What may go.

    Attributes:
        snapshots: numbers of those that are not kept.
        files: other files that nothing kept needs, in the order in which they are to go.
        before: what is younger stays.
        live: segments of kept snapshots.
    """

    snapshots: tuple[int, ...]
    files: tuple[StoredFile, ...]
    before: float
    live: frozenset[str]

    @property
    def bytes(self) -> int:
        """Of the files."""
        return sum(file.size for file in self.files)


def find_orphans(
    store: str, keep: int, before: float, settled: tuple[int, ...] | None = None
) -> Orphans:
    """Find what may go.

    Args:
        store: the store's URL.
        keep: how many of the newest snapshots stay, however old; at least 1.
        before: seconds since the epoch. What is younger stays: snapshots that were the newest
            since, and files that no snapshot names together with the rest of their segment and
            the snapshot that they were compared with.
        settled: numbers of the snapshots that are not kept, where that was found before.

    Raises:
        BadInput: there is no store.
        Damaged: a kept manifest can't be read, so that what it needs is not known; or older
            snapshots would go while the newest lacks files.
    """
    newest = read_snapshot(store).number
    # What else lies in the folder is not the store's.
    listed = {f.path: f for f in filesystem.list_files(store) if f.path.startswith(_OURS)}
    numbers = [number for number in snapshot_numbers(store) if number <= newest]
    heartbeat: dict[str, float] = {}
    claimed: dict[str, float] = {}
    for file in listed.values():
        segment = _segment(file.path)
        if file.path.endswith("/" + VACUUMED):
            # An earlier vacuum's mark; it was not the run.
            continue
        heartbeat[segment] = max(heartbeat.get(segment, 0.0), file.modified)
        if file.path.endswith("/" + HEARTBEAT):
            claimed[segment] = file.modified
    compared = {
        leased_snapshot(path) for path in listed if heartbeat.get(_segment(path), 0.0) >= before
    }
    # A snapshot is as old as its successor: until that came, it was the store.
    dropped = settled
    if dropped is None:
        dropped = tuple(
            number
            for number, successor in list(pairwise(numbers))[: max(len(numbers) - max(keep, 1), 0)]
            if _modified(listed, _manifest(successor)) < before and number not in compared
        )
    kept = [read_snapshot(store, number) for number in numbers if number not in dropped]
    if dropped:
        # They may be all that is left to go back to.
        check_files(
            store,
            kept[-1],
            "nothing was removed: restore it, or go back to a whole snapshot with albeam rollback",
        )
    needed = {NEWEST, *(_manifest(number) for number in snapshot_numbers(store))}
    needed |= _needed(store, (ref for snapshot in kept for ref in snapshot.segments))
    live = {ref.name for snapshot in kept for ref in snapshot.segments}
    gone = [
        file
        for path, file in listed.items()
        if path not in needed
        and (
            max(file.modified, claimed.get(_segment(path), 0.0))
            if _segment(path) in live
            else heartbeat.get(_segment(path), 0.0)
        )
        < before
    ]
    return Orphans(dropped, tuple(sorted(gone, key=_turn)), before, frozenset(live))


def remove_snapshots(store: str, orphans: Orphans) -> None:
    """Remove the snapshots that are not kept, oldest first."""
    for number in orphans.snapshots:
        filesystem.remove(filesystem.join(store, _manifest(number)))


def remove_files(store: str, orphans: Orphans) -> None:
    """Remove the files that nothing kept needs, and the folders that they leave empty."""
    folders = set()
    for segment, files in groupby(orphans.files, lambda file: _segment(file.path)):
        if "/" not in segment:
            folders.add(f"segments/{segment}")
        for path in _unclaimed(store, segment, [file.path for file in files], orphans):
            if not _removed(filesystem.join(store, path), orphans.before):
                continue
            pieces = path.split("/")
            folders |= {"/".join(pieces[:depth]) for depth in range(2, len(pieces))}
    for folder in sorted(folders, key=len, reverse=True):
        filesystem.remove_folder(filesystem.join(store, folder))


def _unclaimed(store: str, segment: str, paths: list[str], orphans: Orphans) -> Iterator[str]:
    """The paths, marked before the first of them; none where somebody has claimed the segment."""
    if "/" in segment:
        # In no segment.
        yield from paths
        return
    folder = SegmentPaths(store, segment)
    mark = f"segments/{segment}/{VACUUMED}"
    if segment not in orphans.live:
        filesystem.create_exclusively(filesystem.join(store, mark), b"{}")
    for path in paths:
        if _is_young(filesystem.join(folder.root, HEARTBEAT), orphans.before):
            filesystem.remove(filesystem.join(store, mark))
            return
        # On what lives, a mark is what a killed vacuum left.
        if path != mark or segment in orphans.live:
            yield path
    if segment not in orphans.live:
        filesystem.remove(filesystem.join(store, mark))


def _removed(url: str, before: float) -> bool:
    """Remove a file, if it was not written again since it was listed."""
    if _is_young(url, before):
        return False
    filesystem.remove(url)
    return True


def _is_young(url: str, before: float) -> bool:
    try:
        return filesystem.modified(url) >= before
    except FileNotFoundError:
        return False


def _modified(listed: dict[str, StoredFile], path: str) -> float:
    """When a file was changed; now, where the listing is too old to have it."""
    return listed[path].modified if path in listed else time.time()


def _needed(store: str, refs: Iterable[SegmentRef]) -> set[str]:
    """The paths of all files that segments are made of, and of how they came about."""
    paths, read = set(), set()
    for ref in refs:
        root = SegmentPaths("", ref.name)
        if ref.tombstones is not None:
            paths.add(filesystem.join(root.tombstones, ref.tombstones.name).lstrip("/"))
        # Many snapshots have the same segment: its manifest is read once.
        written = (ref.name, ref.sha256, ref.index, ref.lexical)
        if written not in read:
            read.add(written)
            history = (root.plan, filesystem.join(root.root, "changes.json"))
            paths |= {path.lstrip("/") for path in history}
            paths |= needed_files(store, ref).keys()
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
