"""``albeam delete``: documents taken out of a store."""

from dataclasses import dataclass

from transforms.catalog.snapshot import read_snapshot
from transforms.errors import BadInput
from transforms.storage import filesystem
from transforms.transactions.commits import remove_documents


@dataclass(frozen=True)
class DeleteSummary:
    """What was taken out.

    Attributes:
        store: the store.
        snapshot: in which they are gone.
        documents: how many were live and are no more.
        passages: theirs.
        missing: how many of the ids were not live.
        missing_ids: the first few of those.
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
        BadInput: no ids, or no store.
        Conflict: other writers were faster.
    """
    store = filesystem.absolute(store)
    read_snapshot(store)
    filesystem.probe_exclusive(store)
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
    """The ids of a text file, one a line; blank lines are left out.

    Raises:
        BadInput: the file can't be read.
    """
    try:
        # Not `splitlines`, for which characters that an id may hold end a line too.
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = file.read().split("\n")
    except OSError as error:
        raise BadInput(f"ids file {path!r} can't be read: {error.strerror}; name a file") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"ids file {path!r} is not text: {error}; give UTF-8") from error
    # Of a carriage return only the line ends of Windows are taken away.
    return [line.removesuffix("\r") for line in lines if line.strip()]
