"""Choose the folder that a run works in, so that it resumes its own unfinished work.

The folder is named by the fingerprint of the command. A run resumes what an earlier run of the same
command left there. If that work was committed once and the store has changed since, the run takes
the next free number, unless a rollback restored the snapshot that the work was compared with.
"""

import contextlib
import re
from dataclasses import dataclass

from transforms.catalog.layout import VACUUMED, SegmentPaths
from transforms.catalog.snapshot import Snapshot, read_snapshot, snapshot_numbers, was_committed
from transforms.errors import Damaged
from transforms.storage import filesystem
from transforms.transactions.change_set import ChangeSet, read_change_set

ABANDONED = "abandoned.json"
#: A folder with one of these files belongs to a run that has decided what to do.
_DECIDED = frozenset({"changes.json", "plan.json", "segment.json"})


@dataclass(frozen=True)
class Generation:
    """The folder of one run among those of the same command.

    Attributes:
        paths: the folder.
        changes: the change set of an earlier run, which this run follows; None in a new folder.
        live: whether the newest snapshot already is what the command would make.
    """

    paths: SegmentPaths
    changes: ChangeSet | None = None
    live: bool = False


def choose_generation(
    store: str, name: str, mode: str, newest: Snapshot | None, resume: bool = True
) -> Generation:
    """Choose the folder of a run.

    Args:
        store: the store's URL.
        name: the fingerprint of the input, the options and the model.
        mode: ``append``, ``sync`` or ``replace``.
        newest: the newest snapshot, if the store has one.
        resume: resume existing work; otherwise take the first free folder.
    """
    last = 0
    resumable: Generation | None = None
    for number in _numbers(store, name):
        paths = _paths(store, name, number)
        existing = set(filesystem.list_names(paths.root))
        changes = None
        if "changes.json" in existing:
            # A run does not resume what it can't read.
            with contextlib.suppress(Damaged):
                changes = read_change_set(paths)
        if VACUUMED not in existing and changes is None and not existing & _DECIDED:
            # It holds only a comparison, which any run may continue.
            continue
        last, resumable = number, None
        if changes is None or not resume or existing & {VACUUMED, ABANDONED}:
            continue
        if newest is not None and _is_live(paths.name, changes, mode, newest):
            return Generation(paths, changes, live=True)
        # A later folder, if there is one, has replaced this one.
        if _can_resume(store, paths.name, changes, mode, newest, "segment.json" in existing):
            resumable = Generation(paths, changes)
        if mode == "replace" and resumable is not None:
            return resumable
    if resumable is not None:
        return resumable
    # A listing may be old.
    while filesystem.exists(_paths(store, name, last + 1).manifest):
        last += 1
    return Generation(_paths(store, name, last + 1))


def free_name(store: str, name: str) -> str:
    """Return the name, or the first ``name-N`` that no vacuum is removing."""
    number = 1
    while filesystem.exists(filesystem.join(_paths(store, name, number).root, VACUUMED)):
        number += 1
    return _paths(store, name, number).name


def _numbers(store: str, name: str) -> list[int]:
    """Return the numbers of a command's folders, in order; earlier ones may have been removed."""
    found = re.compile(rf"{re.escape(name)}(?:-([0-9]+))?")
    matches = map(found.fullmatch, filesystem.list_names(filesystem.join(store, "segments")))
    return sorted(int(match[1] or 1) for match in matches if match)


def _paths(store: str, name: str, number: int) -> SegmentPaths:
    return SegmentPaths(store, name if number == 1 else f"{name}-{number}")


def abandon(paths: SegmentPaths) -> None:
    """Mark the work in a folder as lost, because its base no longer exists."""
    filesystem.create_exclusively(filesystem.join(paths.root, ABANDONED), b"{}")


def _is_live(name: str, changes: ChangeSet, mode: str, newest: Snapshot) -> bool:
    """Return whether the newest snapshot is the one that this folder's run made."""
    if name not in {ref.name for ref in newest.segments}:
        return False
    if mode == "replace":
        [*others, last] = newest.segments
        return changes.base == 0 and not others and last.tombstones is None
    same = mode in ("append", changes.mode) or changes.base == 0
    return same and newest.number == changes.base + 1


def _can_resume(
    store: str, name: str, changes: ChangeSet, mode: str, newest: Snapshot | None, finished: bool
) -> bool:
    """Return whether the work in a folder is that of this command and can be resumed."""
    if mode == "replace":
        return changes.base == 0
    if changes.mode != mode and (changes.base or newest is not None):
        # What was compared with an empty store would be embedded again.
        return False
    if changes.base and changes.base not in snapshot_numbers(store):
        return False
    if finished and was_committed(store, name):
        return newest is not None and _has_content_of(store, changes.base, newest)
    return True


def _has_content_of(store: str, number: int, newest: Snapshot) -> bool:
    """Return whether a snapshot has the content of an earlier one, as after a rollback."""
    if not number:
        return False
    with contextlib.suppress(Damaged):
        base = read_snapshot(store, number)
        return (base.identity, base.segments) == (newest.identity, newest.segments)
    return False
