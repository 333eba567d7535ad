"""Which folder a run works in: the fingerprint of its command, and a number where that is taken.

A command that finds its own unfinished work goes on with it. One whose work was committed once, and
who finds that the store has changed since, works in the next free folder.
"""

from dataclasses import dataclass

from transforms import storage
from transforms.changes import Changes, read_changes
from transforms.segment import VACUUMED, SegmentPaths
from transforms.snapshot import Snapshot, read_snapshot, snapshot_numbers


@dataclass(frozen=True)
class Generation:
    """A folder to work in.

    Attributes:
        paths: the folder's.
        changes: those that an earlier run froze there, which are to be followed; None in a new one.
        live: the newest snapshot is what the command would make; there is nothing to do.
    """

    paths: SegmentPaths
    changes: Changes | None = None
    live: bool = False


def choose_generation(
    store: str, name: str, mode: str, newest: Snapshot | None, resume: bool = True
) -> Generation:
    """The folder of a command.

    Args:
        store: the store's URL.
        name: the command's fingerprint.
        mode: ``append``, ``sync`` or ``replace``.
        newest: the store's snapshot, if it has one.
        resume: go on with what stands; otherwise the first free folder is taken.
    """
    number = 1
    standing_last: Generation | None = None
    while True:
        paths = SegmentPaths(store, name if number == 1 else f"{name}-{number}")
        standing = storage.list_names(paths.root)
        changes = read_changes(paths) if "changes.json" in standing else None
        if changes is None and not {"plan.json", "segment.json"} & set(standing):
            return standing_last or Generation(paths)
        standing_last = None
        if VACUUMED in standing:
            number += 1
            continue
        if changes is not None and resume and "abandoned.json" not in standing:
            if newest is not None and _is_live(paths.name, changes, mode, newest):
                return Generation(paths, changes, live=True)
            # What a later folder has taken over is not gone on with.
            if _fits(store, paths.name, changes, mode, "segment.json" in standing):
                standing_last = Generation(paths, changes)
            if mode == "replace" and standing_last is not None:
                return standing_last
        number += 1


def abandon(paths: SegmentPaths) -> None:
    """Leave a folder's work for good: what it was compared with is gone."""
    storage.create_exclusively(storage.join(paths.root, "abandoned.json"), b"{}")


def _is_live(name: str, changes: Changes, mode: str, newest: Snapshot) -> bool:
    """Whether the newest snapshot is the one that this folder's work has made."""
    if name not in {ref.name for ref in newest.segments}:
        return False
    if mode == "replace":
        [*others, last] = newest.segments
        return changes.base == 0 and not others and last.tombstones is None
    same = mode in ("append", changes.mode) or changes.base == 0
    return same and newest.number == changes.base + 1


def _fits(store: str, name: str, changes: Changes, mode: str, finished: bool) -> bool:
    """Whether the work that stands in a folder is this command's, and can be gone on with."""
    if mode == "replace":
        return changes.base == 0
    if changes.base and (changes.mode != mode or changes.base not in snapshot_numbers(store)):
        return False
    return not (finished and _was_committed(store, name))


def _was_committed(store: str, name: str) -> bool:
    return any(
        name in {ref.name for ref in read_snapshot(store, number).segments}
        for number in reversed(snapshot_numbers(store))
    )
