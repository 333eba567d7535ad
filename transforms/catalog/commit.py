"""Commit a snapshot: one exclusive create of a numbered file."""

import datetime
from collections.abc import Callable

from transforms.catalog.snapshot import (
    Content,
    Snapshot,
    note_newest,
    read_numbered,
    read_snapshot,
    snapshot_numbers,
    snapshot_url,
)
from transforms.errors import Conflict, Damaged
from transforms.storage import filesystem


def commit(
    store: str,
    command: str,
    build: Callable[[Snapshot | None], Content | None],
    over_damage: bool = False,
) -> Snapshot:
    """Create the next snapshot, exclusively; where another writer was faster, build on theirs.

    Args:
        store: the store's URL.
        command: what to record as the reason.
        build: from the newest snapshot (None in a new store) to the next one's content, or None
            where the newest is as it should be and is returned. It is called again after each
            lost race, and must give the same content for the same snapshot.
        over_damage: a newest snapshot that can't be read is None to ``build``, and no error.

    Raises:
        Conflict: other writers were faster twenty times over.
    """
    for _ in range(_ATTEMPTS):
        number = 1 + max(snapshot_numbers(store), default=0)
        try:
            parent = read_snapshot(store, number - 1) if number > 1 else None
        except Damaged:
            if not over_damage:
                raise
            parent = None
        content = build(parent)
        if content is None:
            assert parent is not None
            return parent
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        commit = content.digest(number)
        snapshot = Snapshot(
            number, now, command, commit, content.identity, content.segments, weight=content.weight
        )
        if filesystem.create_exclusively(snapshot_url(store, number), snapshot.to_json()):
            note_newest(store, number)
            return snapshot
        # By name: a listing may be too old to show it.
        standing = read_numbered(store, number)
        if standing.commit == commit:
            # A retried request whose first one had arrived, or another writer of the very same.
            return standing
    raise Conflict(f"{store!r}: other writers committed first {_ATTEMPTS} times; run again")


_ATTEMPTS = 20
