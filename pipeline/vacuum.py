"""``albeam vacuum``: remove what no kept snapshot needs."""

import time
from dataclasses import dataclass

from transforms import storage
from transforms.errors import BadInput
from transforms.orphans import find_orphans, remove_files, remove_snapshots


@dataclass(frozen=True)
class VacuumSummary:
    """What was removed, or would be in a dry run."""

    store: str
    snapshots: tuple[int, ...]
    files: int
    bytes: int
    dry_run: bool


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
    store = storage.absolute(store)
    before = time.time() - older_than
    found = find_orphans(store, keep, before)
    if not dry_run:
        remove_snapshots(store, found)
        # Looked for again: a snapshot may have come, or been rolled back to, meanwhile.
        files = find_orphans(store, keep, before)
        remove_files(store, files)
        return VacuumSummary(store, found.snapshots, len(files.files), files.bytes, dry_run)
    return VacuumSummary(store, found.snapshots, len(found.files), found.bytes, dry_run)
