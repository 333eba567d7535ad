"""A thread pool that runs one piece of work per core.

Threads that share one operation wait for the slowest of them at its end. If another process
occupies a core for a while, all of them wait for that core. Threads with work of their own do not.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

import torch

from transforms.runtime.forks import renew_after_fork

T = TypeVar("T")
R = TypeVar("R")

_LOGGER = logging.getLogger(__name__)


class Cores:
    """One thread per core of a CPU; on any other device, only the caller's thread.

    Threads may share one. A forked process starts threads of its own, when it first needs them.

    Attributes:
        count: the number of threads.
    """

    def __init__(self, device: str) -> None:
        self.count = torch.get_num_threads() if device == "cpu" else 1
        self._starting = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._start()
        renew_after_fork(self)

    def renew(self) -> None:
        """Forget the threads, which a forked process does not have."""
        self._starting, self._pool = threading.Lock(), None

    def _start(self) -> ThreadPoolExecutor | None:
        """Return the threads, started if there are none; None if the caller computes alone."""
        if self._pool is None and self.count > 1:
            with self._starting:
                self._pool = self._pool or _make_pool(self.count)
                if self._pool is None:
                    self.count = 1
        return self._pool

    def map(self, work: Callable[[T], R], items: Sequence[T], small: bool = False) -> list[R]:
        """Return the results of ``work`` on the items, in order.

        A single item is computed by all cores, unless it is ``small``: then the threads would wait
        for each other longer than they work.
        """
        pool = self._start()
        if pool is None or (len(items) == 1 and not small):
            return [work(item) for item in items]
        return list(pool.map(work, items))

    def each(self, work: Callable[[T], object], items: Iterator[T], small: bool = False) -> None:
        """Call ``work`` on items that are taken from the iterator when a thread is free.

        So an item may depend on the results of earlier ones. An error stops all threads and is
        raised. `map` explains ``small``.
        """
        pool = self._start()
        if pool is None:
            for item in items:
                work(item)
            return
        ahead = list(islice(items, 2))
        if len(ahead) < 2:
            self.map(work, ahead, small)
            return
        rest = chain(ahead, items)
        lock, ended = threading.Lock(), threading.Event()

        def pull(_: int) -> None:
            while not ended.is_set():
                with lock:
                    pulled = list(islice(rest, 1))
                if not pulled:
                    return
                try:
                    work(pulled[0])
                except BaseException:
                    ended.set()
                    raise

        try:
            list(pool.map(pull, range(self.count)))
        finally:
            # An interrupt is raised in this thread, which waits; it must stop the others too.
            ended.set()


def _make_pool(count: int) -> ThreadPoolExecutor | None:
    """Return a pool; log a warning and return None if the system refuses more threads."""
    pool = ThreadPoolExecutor(count, "albeam")
    # Start all threads now: later threads of this process inherit the setting too.
    barrier = threading.Barrier(count)

    def begin(_: int) -> int:
        barrier.wait()
        torch.set_num_threads(1)
        return torch.get_num_threads()

    try:
        threads = list(pool.map(begin, range(count)))
    except RuntimeError as error:
        # The threads that have started wait for the others.
        barrier.abort()
        pool.shutdown()
        torch.set_num_threads(count)
        _LOGGER.warning(
            "only one thread computes, which is slower: %s. Raise the limit of processes or memory",
            error,
        )
        return None
    torch.set_num_threads(count)
    assert set(threads) == {1}
    return pool
