"""Find the files that no kept snapshot needs, and remove them so that a kill does no harm.

A segment that no snapshot names may belong to a running job. The youngest file of a segment is its
heartbeat: a job writes a part about every half minute, and its driver renews its claim once a
minute. A job that resumes old files claims their segment first. The snapshot that a job compared
its input with stays as long as the job's segment does.

A vacuum marks a segment before it checks the heartbeat for the last time. A job that claims the
segment checks for the mark afterwards. So one of the two always notices the other.
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
    """The snapshots and files that a vacuum may remove.

    Attributes:
        snapshots: the numbers of the snapshots that are not kept.
        files: other files that no kept snapshot needs, in the order of their removal.
        before: younger files stay; in seconds since the epoch.
        live: the segments of kept snapshots.
    """

    snapshots: tuple[int, ...]
    files: tuple[StoredFile, ...]
    before: float
    live: frozenset[str]

    @property
    def bytes(self) -> int:
        """The size of the files."""
        return sum(file.size for file in self.files)


def find_orphans(
    store: str, keep: int, before: float, dropped: tuple[int, ...] | None = None
) -> Orphans:
    """Find what a vacuum may remove.

    Args:
        store: the store's URL.
        keep: how many of the newest snapshots stay, however old they are; at least 1.
        before: seconds since the epoch. Snapshots that were the newest one since then stay. A
            younger file that no snapshot names stays, with the rest of its segment and the
            snapshot that it was compared with.
        dropped: the numbers of the snapshots that are not kept, if an earlier call found them.

    Raises:
        BadInput: there is no store.
        Damaged: a kept manifest can't be read, so what it needs is unknown; or older snapshots
            would be removed while the newest one lacks files.
    """
    newest = read_snapshot(store).number
    # Other files in the folder do not belong to the store.
    listed = {f.path: f for f in filesystem.list_files(store) if f.path.startswith(_OURS)}
    numbers = [number for number in snapshot_numbers(store) if number <= newest]
    heartbeat: dict[str, float] = {}
    claimed: dict[str, float] = {}
    for file in listed.values():
        segment = _segment(file.path)
        if file.path.endswith("/" + VACUUMED):
            # It is the mark of an earlier vacuum, not the work of a run.
            continue
        heartbeat[segment] = max(heartbeat.get(segment, 0.0), file.modified)
        if file.path.endswith("/" + HEARTBEAT):
            claimed[segment] = file.modified
    compared = {
        leased_snapshot(path) for path in listed if heartbeat.get(_segment(path), 0.0) >= before
    }
    # A snapshot's age counts from its successor: until then it was the newest one.
    if dropped is None:
        dropped = tuple(
            number
            for number, successor in list(pairwise(numbers))[: max(len(numbers) - max(keep, 1), 0)]
            if _modified(listed, _manifest(successor)) < before and number not in compared
        )
    kept = [read_snapshot(store, number) for number in numbers if number not in dropped]
    if dropped:
        # If the newest one is damaged, they may be all that is left to go back to.
        check_files(
            store,
            kept[-1],
            "Nothing was removed. Restore it, or go back to a snapshot with albeam rollback",
        )
    needed = {NEWEST, *(_manifest(number) for number in snapshot_numbers(store))}
    needed |= _needed(store, (ref for snapshot in kept for ref in snapshot.segments))
    live = {ref.name for snapshot in kept for ref in snapshot.segments}
    unneeded = [
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
    return Orphans(dropped, tuple(sorted(unneeded, key=_removal_order)), before, frozenset(live))


def remove_snapshots(store: str, orphans: Orphans) -> None:
    """Remove the snapshots that are not kept, oldest first."""
    for number in orphans.snapshots:
        filesystem.remove(filesystem.join(store, _manifest(number)))


def remove_files(store: str, orphans: Orphans) -> None:
    """Remove the files that no kept snapshot needs, and the folders that are then empty."""
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
    """Mark a segment and yield the paths of its files; stop if a run has claimed the segment."""
    if "/" in segment:
        # These files are in no segment.
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
        # On a live segment, the mark is left over from a killed vacuum.
        if path != mark or segment in orphans.live:
            yield path
    if segment not in orphans.live:
        filesystem.remove(filesystem.join(store, mark))


def _removed(url: str, before: float) -> bool:
    """Remove a file unless it was written again since it was listed; return whether it was."""
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
    """Return when a file was changed; now, if the listing is too old to have it."""
    return listed[path].modified if path in listed else time.time()


def _needed(store: str, refs: Iterable[SegmentRef]) -> set[str]:
    """Return the paths of all files of segments, including their plans and change sets."""
    paths, read = set(), set()
    for ref in refs:
        root = SegmentPaths("", ref.name)
        if ref.tombstones is not None:
            paths.add(filesystem.join(root.tombstones, ref.tombstones.name).lstrip("/"))
        # Many snapshots share a segment: its manifest is read once.
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
    """Return the name of a file's segment; its path if it is in none."""
    pieces = path.split("/")
    return pieces[1] if pieces[0] == "segments" and len(pieces) > 2 else path


def _removal_order(file: StoredFile) -> tuple[str, int, str]:
    """Return the sort key: a marker goes before its part, so that no marker lacks its part."""
    name = file.path.rsplit("/", 1)[-1]
    if name == "plan.json":
        return _segment(file.path), 2, file.path
    return _segment(file.path), 0 if name.endswith(".json") else 1, file.path
