"""Which folder a run works in: the fingerprint of its command, and a number where that is taken.

A command that finds its own unfinished work goes on with it. One whose work was committed once, and
who finds that the store has changed since, works in the next free folder; unless a rollback has
brought back what its work was compared with.
"""

import contextlib
import re
from dataclasses import dataclass

from transforms.catalog.layout import VACUUMED, SegmentPaths
from transforms.catalog.snapshot import Snapshot, read_snapshot, snapshot_numbers, was_committed
from transforms.errors import Damaged
from transforms.storage import filesystem
from transforms.transactions.change_set import Changes, read_changes

ABANDONED = "abandoned.json"
#: Files of which one stands once it is settled what a run does.
_SETTLED = frozenset({"changes.json", "plan.json", "segment.json"})


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
        name: the fingerprint of its input, options and model.
        mode: ``append``, ``sync`` or ``replace``.
        newest: the store's snapshot, if it has one.
        resume: go on with what stands; otherwise the first free folder is taken.
    """
    last = 0
    standing_last: Generation | None = None
    for number in _numbers(store, name):
        paths = _paths(store, name, number)
        standing = set(filesystem.list_names(paths.root))
        changes = None
        if "changes.json" in standing:
            # What can't be read is not gone on with.
            with contextlib.suppress(Damaged):
                changes = read_changes(paths)
        if VACUUMED not in standing and changes is None and not standing & _SETTLED:
            # Nothing but a comparison: any run may go on with it.
            continue
        last, standing_last = number, None
        if changes is None or not resume or standing & {VACUUMED, ABANDONED}:
            continue
        if newest is not None and _is_live(paths.name, changes, mode, newest):
            return Generation(paths, changes, live=True)
        # What a later folder has taken over is not gone on with.
        if _fits(store, paths.name, changes, mode, newest, "segment.json" in standing):
            standing_last = Generation(paths, changes)
        if mode == "replace" and standing_last is not None:
            return standing_last
    if standing_last is not None:
        return standing_last
    # A listing may be old.
    while filesystem.exists(_paths(store, name, last + 1).manifest):
        last += 1
    return Generation(_paths(store, name, last + 1))


def free_name(store: str, name: str) -> str:
    """The name, or the first ``name-N`` whose folder no vacuum is removing."""
    number = 1
    while filesystem.exists(filesystem.join(_paths(store, name, number).root, VACUUMED)):
        number += 1
    return _paths(store, name, number).name


def _numbers(store: str, name: str) -> list[int]:
    """Which folders a command has, in order; an earlier one may be gone."""
    found = re.compile(rf"{re.escape(name)}(?:-([0-9]+))?")
    matches = map(found.fullmatch, filesystem.list_names(filesystem.join(store, "segments")))
    return sorted(int(match[1] or 1) for match in matches if match)


def _paths(store: str, name: str, number: int) -> SegmentPaths:
    return SegmentPaths(store, name if number == 1 else f"{name}-{number}")


def abandon(paths: SegmentPaths) -> None:
    """Leave a folder's work for good: what it was compared with is gone."""
    filesystem.create_exclusively(filesystem.join(paths.root, ABANDONED), b"{}")


def _is_live(name: str, changes: Changes, mode: str, newest: Snapshot) -> bool:
    """Whether the newest snapshot is the one that this folder's work has made."""
    if name not in {ref.name for ref in newest.segments}:
        return False
    if mode == "replace":
        [*others, last] = newest.segments
        return changes.base == 0 and not others and last.tombstones is None
    same = mode in ("append", changes.mode) or changes.base == 0
    return same and newest.number == changes.base + 1


def _fits(
    store: str, name: str, changes: Changes, mode: str, newest: Snapshot | None, finished: bool
) -> bool:
    """Whether the work that stands in a folder is this command's, and can be gone on with."""
    if mode == "replace":
        return changes.base == 0
    if changes.mode != mode and (changes.base or newest is not None):
        # What was compared with nothing would be embedded again.
        return False
    if changes.base and changes.base not in snapshot_numbers(store):
        return False
    if finished and was_committed(store, name):
        return newest is not None and _is_content_of(store, changes.base, newest)
    return True


def _is_content_of(store: str, number: int, newest: Snapshot) -> bool:
    """Whether a snapshot, as after a rollback, has the very content of an earlier one."""
    if not number:
        return False
    with contextlib.suppress(Damaged):
        base = read_snapshot(store, number)
        return (base.identity, base.segments) == (newest.identity, newest.segments)
    return False
