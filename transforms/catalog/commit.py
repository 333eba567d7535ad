"""Commit a snapshot: one exclusive create of a numbered file."""

import datetime
from collections.abc import Callable

from transforms.catalog.snapshot import (
    Content,
    Snapshot,
    read_numbered,
    read_snapshot,
    record_newest,
    snapshot_numbers,
    snapshot_url,
)
from transforms.errors import Conflict, Damaged
from transforms.storage import filesystem

_ATTEMPTS = 20


def commit(
    store: str,
    command: str,
    build: Callable[[Snapshot | None], Content | None],
    ignore_damage: bool = False,
) -> Snapshot:
    """Create the next snapshot exclusively; if another writer was faster, build on its snapshot.

    Args:
        store: the store's URL.
        command: the command to record in the snapshot.
        build: maps the newest snapshot (None in a new store) to the content of the next one. If it
            returns None, the newest snapshot is returned as it is. It is called again after each
            lost race, and must return the same content for the same snapshot.
        ignore_damage: pass None to ``build`` if the newest snapshot can't be read.

    Raises:
        Conflict: other writers were faster twenty times.
        Damaged: the newest snapshot can't be read, and ``ignore_damage`` is false.
    """
    for _ in range(_ATTEMPTS):
        number = 1 + max(snapshot_numbers(store), default=0)
        try:
            parent = read_snapshot(store, number - 1) if number > 1 else None
        except Damaged:
            if not ignore_damage:
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
            record_newest(store, number)
            return snapshot
        # The file is found by its name, because a listing may be too old.
        existing = read_numbered(store, number)
        if existing.commit == commit:
            # The first request of a retried one arrived, or another writer committed the same.
            return existing
    raise Conflict("store", store, f"other writers committed first {_ATTEMPTS} times", "Run again")
