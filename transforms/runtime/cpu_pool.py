"""A piece of work on each core, by threads that compute alone.

Threads that share each operation wait for the slowest at its end; where another process has a core
for a while, all of them wait for that one.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")

_LOGGER = logging.getLogger(__name__)


class Cores:
    """A thread a core of a CPU; any other device has one, the caller's.

    Attributes:
        count: how many.
    """

    def __init__(self, device: str) -> None:
        self.count = torch.get_num_threads() if device == "cpu" else 1
        self._pool = _make_pool(self.count) if self.count > 1 else None
        if self._pool is None:
            self.count = 1

    def map(self, work: Callable[[T], R], items: Sequence[T], small: bool = False) -> list[R]:
        """The results of ``work`` on the items, in order.

        A single item has all cores, unless it is ``small``: threads that share it would wait for
        each other longer than they work.
        """
        if self._pool is None or (len(items) == 1 and not small):
            return [work(item) for item in items]
        return list(self._pool.map(work, items))

    def each(self, work: Callable[[T], object], items: Iterator[T], small: bool = False) -> None:
        """Do ``work`` on items that are made as threads come to need them; see `map`.

        What an item is may so depend on how earlier ones went. An error ends it all and is raised.
        """
        if self._pool is None:
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
            list(self._pool.map(pull, range(self.count)))
        finally:
            # An interrupt finds this thread waiting, and is to end the others as well.
            ended.set()


def _make_pool(count: int) -> ThreadPoolExecutor | None:
    """The threads; None, and a line in the log, where the system gives no more of them."""
    pool = ThreadPoolExecutor(count, "albeam")
    # All of them start now: the setting is also what later threads of this process begin with.
    barrier = threading.Barrier(count)

    def begin(_: int) -> int:
        barrier.wait()
        torch.set_num_threads(1)
        return torch.get_num_threads()

    try:
        settled = list(pool.map(begin, range(count)))
    except RuntimeError as error:
        # Those that have started wait for the others.
        barrier.abort()
        pool.shutdown()
        torch.set_num_threads(count)
        _LOGGER.warning(
            "batches are embedded one after another, which is slower: %s; raise the limit of "
            "processes or of memory",
            error,
        )
        return None
    torch.set_num_threads(count)
    assert set(settled) == {1}
    return pool
