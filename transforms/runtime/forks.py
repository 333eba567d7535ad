"""Forks: what a forked process renews, and what must end before a fork.

Only the thread that forks lives on in the new process. There, a lock that another thread held stays
locked, and a pool waits for threads that are gone. So each owner of locks or pools renews them.
OpenMP's pools can't be renewed in the new process, so they end before the fork. The pool of
tokenizers can't be renewed at all, so the new process does without.
"""

# These register their own locks for a fork. Theirs must be taken after those that are taken here,
# which are the ones of modules that register later.
import concurrent.futures.thread  # noqa: F401
import ctypes
import logging  # noqa: F401
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

#: How long a fork waits for the end of a load, in seconds.
_PATIENCE = 60.0
#: OpenMP's number of the pause that ends its threads.
_HARD_PAUSE = 2


class Renewable(Protocol):
    """An owner of locks, pools or open files."""

    def renew(self) -> None:
        """Replace them, in a new process before any other thread starts."""


_OWNERS: "weakref.WeakSet[Renewable]" = weakref.WeakSet()


def renew_after_fork(owner: Renewable) -> None:
    """Call the owner's ``renew`` in every process that is forked while the owner exists."""
    _OWNERS.add(owner)


class Lock:
    """A lock that is free in a forked process, for blocks that do not wait for other threads."""

    def __init__(self) -> None:
        self.renew()
        renew_after_fork(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        # If the block forked, another lock is here now.
        with suppress(RuntimeError):
            self._lock.release()

    def renew(self) -> None:
        """Replace the lock."""
        self._lock = threading.Lock()


class _Tokenizers:
    """The variable by which tokenizers, in each call, decides whether to use its threads."""

    _NAME = "TOKENIZERS_PARALLELISM"

    def __init__(self) -> None:
        self._set_here = False

    def before_fork(self) -> None:
        # If it is set at the time of a fork, tokenizers does not warn.
        if "tokenizers" in sys.modules and self._NAME not in os.environ:
            os.environ[self._NAME] = "false"
            self._set_here = True

    def after_fork(self) -> None:
        if self._set_here:
            os.environ.pop(self._NAME, None)
            self._set_here = False

    def renew(self) -> None:
        self._set_here = False
        if "tokenizers" in sys.modules:
            os.environ[self._NAME] = "false"


class _Loads:
    """The lock of `loading`. A fork takes it, and the new process has another one."""

    def __init__(self) -> None:
        self.renew()

    def before_fork(self) -> None:
        self._here.taken = self.lock.acquire(timeout=_PATIENCE)

    def after_fork(self) -> None:
        if self._here.taken:
            self.lock.release()

    def renew(self) -> None:
        self.lock = threading.RLock()
        self._here = threading.local()


_LOADS, _TOKENIZERS = _Loads(), _Tokenizers()


@contextmanager
def loading() -> Iterator[None]:
    """Run a block that loads a model alone in this process, without a fork meanwhile.

    Two threads that import parts of transformers at once get an ImportError. A process that is
    forked during an import waits for the import's end for ever.
    """
    with _LOADS.lock:
        yield


def _before() -> None:
    _LOADS.before_fork()
    _TOKENIZERS.before_fork()
    _end_openmp()


def _in_parent() -> None:
    _TOKENIZERS.after_fork()
    _LOADS.after_fork()


def _in_child() -> None:
    _LOADS.renew()
    _TOKENIZERS.renew()
    for owner in list(_OWNERS):
        owner.renew()


def _end_openmp() -> None:
    """End the OpenMP threads of this thread, in each copy of GNU's library; they start again."""
    # Only Linux has this file. Elsewhere other libraries are usual, which survive a fork.
    with suppress(OSError), open("/proc/self/maps", "rb") as maps:
        paths = {line.split(maxsplit=5)[-1].strip() for line in maps if b"libgomp" in line}
        for path in paths:
            with suppress(OSError, AttributeError):
                ctypes.CDLL(os.fsdecode(path)).omp_pause_resource_all(_HARD_PAUSE)


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
