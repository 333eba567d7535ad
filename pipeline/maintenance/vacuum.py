"""``albeam vacuum``: remove the files that no kept snapshot needs."""

import time
from dataclasses import dataclass

from transforms.errors import BadInput
from transforms.storage import filesystem
from transforms.transactions.vacuum import find_orphans, remove_files, remove_snapshots


@dataclass(frozen=True)
class VacuumSummary:
    """Result of a vacuum.

    Attributes:
        store: URL of the store.
        snapshots: numbers of the removed snapshots.
        files: number of removed files.
        bytes: size of the removed files.
        dry_run: whether nothing was removed, and the fields describe what would be.
        names: paths of the files below the store; only in a dry run.
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
        store: URL of the store.
        keep: number of the newest snapshots to keep, whatever their age.
        older_than: age in seconds; everything younger is kept.
        dry_run: remove nothing.

    Raises:
        BadInput: there is no store, or keep is 0.
        Damaged: a kept manifest cannot be read; nothing was removed.
    """
    if keep < 1:
        raise BadInput("keep", keep, "would remove the newest snapshot", "Give 1 or more")
    store = filesystem.absolute(store)
    before = time.time() - older_than
    found = find_orphans(store, keep, before)
    if dry_run:
        names = tuple(file.path for file in found.files)
        return VacuumSummary(store, found.snapshots, len(names), found.bytes, dry_run, names)
    remove_snapshots(store, found)
    # Search again: another writer may have made a snapshot since, which needs some of the files.
    # The list of removed snapshots stays, since a longer one would leave manifests without files.
    files = find_orphans(store, keep, before, found.snapshots)
    remove_files(store, files)
    return VacuumSummary(store, found.snapshots, len(files.files), files.bytes, dry_run)
