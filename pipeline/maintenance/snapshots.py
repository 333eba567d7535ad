"""``albeam snapshots``: the history of a store."""

from collections import Counter
from typing import Any

from transforms.catalog.snapshot import read_snapshot, snapshot_numbers
from transforms.errors import BadInput, Damaged
from transforms.storage import filesystem


def run(store: str) -> list[dict[str, Any]]:
    """Return one row per snapshot, oldest first; a damaged one has its number and the damage.

    Raises:
        BadInput: there is no store.
    """
    store = filesystem.absolute(store)
    numbers = snapshot_numbers(store)
    if not numbers:
        raise BadInput(
            "store", store, "is not a store: it has no snapshot", "Create one with albeam embed"
        )
    return [_row(store, number) for number in numbers]


def _row(store: str, number: int) -> dict[str, Any]:
    try:
        snapshot = read_snapshot(store, number)
    except Damaged as error:
        return {"snapshot": number, "damaged": str(error)}
    rejects: Counter[str] = Counter()
    for segment in snapshot.segments:
        rejects.update(segment.rejects)
    return {
        "snapshot": snapshot.number,
        "created": snapshot.created,
        "command": snapshot.command,
        "segments": [segment.name for segment in snapshot.segments],
        "documents": snapshot.documents,
        "passages": snapshot.passages,
        "rejects": dict(sorted(rejects.items())),
        "model": snapshot.identity.to_dict(),
    }
