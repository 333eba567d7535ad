"""``albeam rollback``: a new snapshot with the content of an old one."""

from dataclasses import dataclass

from transforms.catalog.snapshot import read_snapshot
from transforms.storage import filesystem
from transforms.storage.probe import probe_exclusive
from transforms.transactions.commits import roll_back


@dataclass(frozen=True)
class RollbackSummary:
    """Result of a rollback.

    Attributes:
        store: URL of the store.
        snapshot: number of the new snapshot.
        documents: number of its live documents.
    """

    store: str
    snapshot: int
    documents: int


def run(store: str, number: int) -> RollbackSummary:
    """Make a new snapshot with the content of an old one.

    Raises:
        BadInput: there is no store, or no such snapshot.
        Damaged: a file that the old snapshot needs is missing.
        Conflict: other writers were faster.
    """
    store = filesystem.absolute(store)
    read_snapshot(store, number)
    probe_exclusive(store)
    made = roll_back(store, number)
    return RollbackSummary(store, made.number, made.documents)
