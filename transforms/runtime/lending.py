"""Open things that threads borrow: each is used by one thread at a time."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from transforms.runtime.forks import renew_after_fork

K = TypeVar("K")
V = TypeVar("V")


class Lending(Generic[K, V]):
    """Things that are opened by a key, and kept open while no thread uses them.

    Threads that need the thing of one key at the same time get one each. A forked process opens its
    own: it would share the position in an open file with its parent.
    """

    def __init__(self, open_: Callable[[K], V], most: int) -> None:
        """Open nothing yet; keep at most so many unused things, those that were used last."""
        self._open, self._most = open_, most
        self.renew()
        renew_after_fork(self)

    @contextmanager
    def borrow(self, key: K) -> Iterator[V]:
        """Yield the open thing of a key. If the block raises, the thing is not used again."""
        with self._lock:
            thing = self._take(key) if key in self._unused else None
        if thing is None:
            thing = self._open(key)
        yield thing
        with self._lock:
            self._unused.setdefault(key, []).append(thing)
            self._unused.move_to_end(key)
            self._count += 1
            if self._count > self._most:
                self._take(next(iter(self._unused)))

    def renew(self) -> None:
        """Forget all things, in a forked process."""
        self._lock = threading.Lock()
        #: Unused things by key; the key that was used last is at the end.
        self._unused: OrderedDict[K, list[V]] = OrderedDict()
        self._count = 0

    def _take(self, key: K) -> V:
        """Remove an unused thing of a key, and return it."""
        things = self._unused[key]
        if len(things) == 1:
            del self._unused[key]
        self._count -= 1
        return things.pop()
