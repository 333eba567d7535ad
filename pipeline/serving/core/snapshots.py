"""The snapshots of a store that are open: the newest one, and a few older ones that were asked for.

A new snapshot is opened and used once beside the present one, and takes its place between two
requests. A request keeps the snapshot that it began with. The files of a snapshot are closed when
its last request has ended.
"""

import gc
import logging
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from transforms.catalog.snapshot import newest_snapshot, snapshot_numbers
from transforms.errors import AlbeamError, BadInput
from transforms.search.options import RankOptions
from transforms.search.store import Store

_LOGGER = logging.getLogger(__name__)
#: Older snapshots that are kept open.
_MOST_OLDER = 2
#: Older snapshots that are tried if the newest one can't be used.
_MOST_TRIED = 10
#: What is raised by a snapshot that can't be used.
_UNUSABLE = AlbeamError, OSError, RuntimeError, ValueError
_WORDS = "a first question"


class ServedSnapshot:
    """A snapshot that requests use.

    Attributes:
        store: the store at this snapshot.
        number: the snapshot's number.
    """

    def __init__(self, store: Store) -> None:
        """Hold an open store."""
        self.store, self.number = store, store.snapshot.number


class Snapshots:
    """The open snapshots of one store. Threads may share it.

    Attributes:
        swaps: how often a new snapshot took the place of another.
        refused: how many new snapshots were damaged.
    """

    def __init__(self, store: Store, released: Callable[[int], None] | None = None) -> None:
        """Open the files of a store.

        Args:
            store: the store at its newest snapshot.
            released: called with the number of each snapshot whose last request has ended.

        Raises:
            AlbeamError: the model or a file can't be used.
        """
        self.swaps = self.refused = 0
        self._released = released
        self._older: OrderedDict[int, ServedSnapshot] = OrderedDict()
        self._bad: tuple[str, str] | None = None
        #: Tells that a snapshot was released, so that the files of it can be closed.
        self._garbage = threading.Event()
        self._opening = threading.Lock()
        warm_up(store)
        self._current = self._served(store)
        #: When the newest snapshot was last looked for.
        self.looked = time.time()

    @property
    def current(self) -> ServedSnapshot:
        """The snapshot that new requests use."""
        return self._current

    def at(self, number: int) -> ServedSnapshot:
        """Return a snapshot by its number; raises BadInput if there is none."""
        current = self._current
        if number == current.number:
            return current
        with self._opening:
            found = self._older.get(number)
            if found is None:
                found = self._older[number] = self._served(current.store.at(number))
            self._older.move_to_end(number)
            while len(self._older) > _MOST_OLDER:
                self._older.popitem(last=False)
            return found

    def follow(self) -> bool:
        """Take the newest snapshot if there is another one; return whether it was taken.

        A snapshot that can't be used is logged and counted once, and the present one stays.
        """
        if self._garbage.is_set():
            self._garbage.clear()
            # The readers of a snapshot refer to each other.
            gc.collect()
        present = self._current
        try:
            newest = newest_snapshot(present.store.url)
            self.looked = time.time()
            if newest is None or newest == present.store.snapshot:
                return False
            other = present.store.at(newest.number)
            warm_up(other, present.store)
        except _UNUSABLE as error:
            self._refuse(error)
            return False
        self._bad = None
        self._current = self._served(other)
        self.swaps += 1
        _LOGGER.info("snapshot %d takes the place of %d", newest.number, present.number)
        return True

    def _served(self, store: Store) -> ServedSnapshot:
        served = ServedSnapshot(store)
        weakref.finalize(served, self._ended, served.number)
        return served

    def _ended(self, number: int) -> None:
        self._garbage.set()
        if self._released is not None:
            self._released(number)

    def _refuse(self, error: Exception) -> None:
        known = type(error).__name__, str(error)
        if self._bad != known:
            self._bad = known
            self.refused += 1
            _LOGGER.error("the new snapshot is not used: %s", error)


def open_sound(url: str, opened: Callable[..., Store]) -> Store:
    """Open the newest snapshot of a store that can be used, in the place of a dead process.

    `Snapshots.follow` tells of the newer ones, which it refuses.

    Args:
        url: the store.
        opened: opens it, at ``snapshot=NUMBER`` or at the newest one.

    Raises:
        AlbeamError: none of them can be used.
    """
    try:
        store = opened(url)
        warm_up(store)
        return store
    except _UNUSABLE:
        for number in snapshot_numbers(url)[-2 : -2 - _MOST_TRIED : -1]:
            with suppress(*_UNUSABLE):
                store = opened(url, snapshot=number)
                warm_up(store)
                return store
        raise


def warm_up(store: Store, former: Store | None = None) -> None:
    """Open what the first request would open: model, indexes, and the parts of new segments.

    Raises:
        AlbeamError: something of it is damaged or missing.
    """
    identity = store.snapshot.identity
    vectors = store.encoder.encode_texts([_WORDS], identity.query_prompt)
    known = set() if former is None else {id(segment) for segment in former.segments}
    first = 0
    for number, segment in enumerate(store.segments):
        if segment.index is not None:
            store.dense.index(number)
        if id(segment) not in known:
            edges = np.cumsum([first, *(part.rows for part in segment.parts)])[:-1]
            store.names(edges[np.array([part.rows > 0 for part in segment.parts], bool)])
        first += segment.rows
    if not store.segments:
        return
    try:
        mode = store.mode()
    except BadInput:
        mode = "dense"
    texts = [_WORDS]
    options = RankOptions(1, mode)
    store.fetch(store.ranker.rank(texts, None if mode == "lexical" else vectors, options))
