"""Results that threads share: each is computed once, by one thread, while the others wait."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, ParamSpec, TypeVar, cast

from transforms.runtime.forks import renew_after_fork

P = ParamSpec("P")
V = TypeVar("V")

#: The value of an entry that was not computed yet.
_NOTHING = object()


class Once(Generic[P, V]):
    """A function that keeps its results by its arguments.

    Threads that ask for the same result at the same time get the one that the first of them
    computes. An error is not kept: it is raised in the thread that computed, and the next thread
    tries again. The function may not wait for other threads that call it.
    """

    def __init__(
        self, call: Callable[P, V], most: int | None = None, inherited: bool = True
    ) -> None:
        """Keep nothing yet.

        Args:
            call: the function; its arguments can be hashed, and are given by position.
            most: how many results are kept, those that were used last; by default all.
            inherited: whether a forked process keeps them.
        """
        self._call, self._most, self._inherited = call, most, inherited
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.Lock()
        renew_after_fork(self)

    def __call__(self, *given: P.args, **named: P.kwargs) -> V:
        """Return the result for these arguments."""
        assert not named
        with self._lock:
            entry = self._entries.get(given)
            if entry is None:
                entry = self._entries[given] = _Entry()
            else:
                self._entries.move_to_end(given)
        if entry.value is _NOTHING:
            with entry.lock:
                if entry.value is _NOTHING:
                    self._compute(entry, *given, **named)
        return cast(V, entry.value)

    def _compute(self, entry: "_Entry", *given: P.args, **named: P.kwargs) -> None:
        try:
            entry.value = self._call(*given, **named)
        finally:
            with self._lock:
                if entry.value is not _NOTHING:
                    self._entries[given] = entry
                    self._shorten()
                elif self._entries.get(given) is entry:
                    del self._entries[given]

    def holds(self, *given: P.args, **named: P.kwargs) -> bool:
        """Return whether the result for these arguments is kept."""
        assert not named
        with self._lock:
            entry = self._entries.get(given)
        return entry is not None and entry.value is not _NOTHING

    def forget(self) -> None:
        """Drop all results."""
        with self._lock:
            self._entries.clear()

    def _shorten(self) -> None:
        """Drop the results that were used longest ago, if there are too many."""
        surplus = len(self._entries) - (self._most or len(self._entries))
        done = (key for key, each in self._entries.items() if each.value is not _NOTHING)
        for key in [key for key, _ in zip(done, range(surplus), strict=False)]:
            del self._entries[key]

    def renew(self) -> None:
        """Replace the locks in a forked process, and drop what is unfinished or not inherited."""
        self._lock = threading.Lock()
        self._entries = OrderedDict(
            (key, _Entry(each.value))
            for key, each in self._entries.items()
            if self._inherited and each.value is not _NOTHING
        )


class _Entry:
    """A result, or `_NOTHING`, and the lock of the thread that computes it."""

    def __init__(self, value: object = _NOTHING) -> None:
        self.lock = threading.RLock()
        self.value = value
