"""``albeam delete``: remove documents from a store."""

from dataclasses import dataclass

from transforms.catalog.snapshot import read_snapshot
from transforms.errors import BadInput
from transforms.storage import filesystem
from transforms.storage.probe import probe_exclusive
from transforms.transactions.removal import remove_documents


@dataclass(frozen=True)
class DeleteSummary:
    """Result of a deletion.

    Attributes:
        store: URL of the store.
        snapshot: number of the snapshot without the documents.
        documents: number of deleted documents.
        passages: number of their passages.
        missing: number of ids that were not in the store.
        missing_ids: the first few of them.
    """

    store: str
    snapshot: int
    documents: int
    passages: int
    missing: int
    missing_ids: tuple[str, ...]


def run(store: str, ids: list[str]) -> DeleteSummary:
    """Put tombstones on documents.

    Raises:
        BadInput: there are no ids, or there is no store.
        Conflict: other writers were faster.
    """
    store = filesystem.absolute(store)
    read_snapshot(store)
    probe_exclusive(store)
    removal = remove_documents(store, ids)
    return DeleteSummary(
        store,
        removal.snapshot,
        removal.documents,
        removal.passages,
        len(removal.missing),
        removal.missing[:5],
    )


def read_ids(path: str) -> list[str]:
    """Return the ids of a text file with one id per line; blank lines are skipped.

    Raises:
        BadInput: the file can't be read.
    """
    try:
        # Not `splitlines`: it also ends a line at characters that an id may contain.
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = file.read().split("\n")
    except OSError as error:
        raise BadInput(
            "ids file", path, f"can't be read: {error.strerror}", "Give a text file"
        ) from error
    except UnicodeDecodeError as error:
        raise BadInput("ids file", path, f"is not text: {error}", "Give UTF-8 text") from error
    # Only the line ends of Windows lose their carriage return.
    return [line.removesuffix("\r") for line in lines if line.strip()]
