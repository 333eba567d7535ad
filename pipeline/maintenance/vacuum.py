"""``albeam vacuum``: remove what no kept snapshot needs."""

import time
from dataclasses import dataclass

from transforms.errors import BadInput
from transforms.storage import filesystem
from transforms.transactions.garbage_collection import find_orphans, remove_files, remove_snapshots


@dataclass(frozen=True)
class VacuumSummary:
    """What was removed, or would be in a dry run.

    Attributes:
        snapshots: their numbers.
        files: how many.
        bytes: of the files.
        names: of the files, paths below the store; in a dry run only.
    """

    store: str
    snapshots: tuple[int, ...]
    files: int
    bytes: int
    dry_run: bool
    names: tuple[str, ...] = ()


def run(store: str, keep: int, older_than: float, dry_run: bool) -> VacuumSummary:
    """Remove old snapshots, then files that no snapshot needs.

    Args:
        store: the store.
        keep: how many of the newest snapshots stay, however old.
        older_than: seconds; what is younger stays.
        dry_run: remove nothing.

    Raises:
        BadInput: there is no store, or keep is 0.
        Damaged: a kept manifest can't be read; nothing was removed.
    """
    if keep < 1:
        raise BadInput(f"keep is {keep}; the newest snapshot is the store: give 1 or more")
    store = filesystem.absolute(store)
    before = time.time() - older_than
    found = find_orphans(store, keep, before)
    if dry_run:
        names = tuple(file.path for file in found.files)
        return VacuumSummary(store, found.snapshots, len(names), found.bytes, dry_run, names)
    remove_snapshots(store, found)
    # Looked for again: a snapshot may have come, or been rolled back to, meanwhile. No more of them
    # are dropped for it, since that would leave manifests without files.
    files = find_orphans(store, keep, before, found.snapshots)
    remove_files(store, files)
    return VacuumSummary(store, found.snapshots, len(files.files), files.bytes, dry_run)
