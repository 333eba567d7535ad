"""``albeam vacuum``: remove the files that no kept snapshot needs."""

import time
from dataclasses import dataclass

from pipeline.maintenance.options import VacuumOptions
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


def run(store: str, options: VacuumOptions) -> VacuumSummary:
    """Remove old snapshots, then files that no snapshot needs.

    Raises:
        BadInput: there is no store.
        Damaged: a kept manifest can't be read; nothing was removed.
    """
    store = filesystem.absolute(store)
    before = time.time() - options.older_than
    found = find_orphans(store, options.keep, before)
    if options.dry_run:
        names = tuple(file.path for file in found.files)
        return VacuumSummary(store, found.snapshots, len(names), found.bytes, True, names)
    remove_snapshots(store, found)
    # Search again: another writer may have made a snapshot since, which needs some of the files.
    # The list of removed snapshots stays, since a longer one would leave manifests without files.
    files = find_orphans(store, options.keep, before, found.snapshots)
    remove_files(store, files)
    return VacuumSummary(store, found.snapshots, len(files.files), files.bytes, False)
