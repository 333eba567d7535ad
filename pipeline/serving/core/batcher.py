"""Work on items of many requests together, in threads of its own."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class BatchRules(Generic[T]):
    """Which items go together.

    Attributes:
        most: the most that the sizes of a batch's items add up to; one item is always taken.
        seconds: how long a free thread waits for further items.
        threads: how many batches are worked on at once.
        size: the size of an item.
        key: items with equal keys may go together.
        coming: how many items may still come soon; without any, nothing waits.
    """

    most: int = 1
    seconds: float = 0.0
    threads: int = 1
    size: Callable[[T], int] = lambda _: 1
    key: Callable[[T], Hashable] = lambda _: None
    coming: Callable[[], int] = lambda: 0


@dataclass(eq=False)
class _Item(Generic[T]):
    value: T
    size: int
    key: Hashable
    arrived: float
    result: "asyncio.Future[Any]"


class Batcher(Generic[T, R]):
    """A queue of items, and the threads that work on them in batches.

    All methods are called in one event loop. An item whose request was cancelled before its turn is
    left out. If a batch of several items fails, each is tried alone, so that only the one at fault
    fails.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[T]], Sequence[R]],
        rules: BatchRules[T],
        observe: Callable[[int], None] | None = None,
    ) -> None:
        """Start without items.

        Args:
            name: the name of the threads.
            work: gives the result of each item of a batch, in a thread.
            rules: which items go together.
            observe: called with the number of items of each batch.
        """
        self._work, self._rules, self._observe = work, rules, observe
        self._pool = ThreadPoolExecutor(rules.threads, f"albeam-{name}")
        self._free = rules.threads
        self._waiting: deque[_Item[T]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._due = False
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Return how many items wait."""
        return len(self._waiting)

    async def run(self, item: T) -> R:
        """Return the result of an item; raises what the work raises."""
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        rules = self._rules
        size, key = rules.size(item), rules.key(item)
        self._waiting.append(_Item(item, size, key, time.monotonic(), result))
        if not self._due:
            # What other requests add in this turn of the loop goes along, as after a common batch.
            self._due = True
            asyncio.get_running_loop().call_soon(self._start)
        return await result

    def close(self) -> None:
        """End the threads when they have done what they work on."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        """Give batches to the free threads."""
        self._due = False
        loop = asyncio.get_running_loop()
        while self._free and (batch := self._take()):
            self._free -= 1
            task = loop.create_task(self._work_on(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _take(self) -> list[_Item[T]]:
        """Remove a batch from the queue; none if it is better to wait for further items."""
        rules = self._rules
        self._waiting = deque(each for each in self._waiting if not each.result.done())
        if not self._waiting:
            return []
        first, total = self._waiting[0], 0
        batch: list[_Item[T]] = []
        full = False
        for each in self._waiting:
            if each.key != first.key:
                continue
            if batch and total + each.size > rules.most:
                full = True
                break
            batch.append(each)
            total += each.size
        full |= total >= rules.most
        left = first.arrived + rules.seconds - time.monotonic()
        if not full and left > 0 and rules.coming() > len(self._waiting):
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(left, self._wake)
            return []
        taken = set(map(id, batch))
        self._waiting = deque(each for each in self._waiting if id(each) not in taken)
        return batch

    def _wake(self) -> None:
        self._timer = None
        self._start()

    async def _work_on(self, batch: list[_Item[T]]) -> None:
        if self._observe is not None:
            self._observe(len(batch))
        loop = asyncio.get_running_loop()
        values = [each.value for each in batch]
        try:
            results = await loop.run_in_executor(self._pool, self._work, values)
        except Exception as error:
            if len(batch) > 1:
                for each in reversed(batch):
                    each.key = object()
                    self._waiting.appendleft(each)
            elif not batch[0].result.done():
                batch[0].result.set_exception(error)
        else:
            for each, result in zip(batch, results, strict=True):
                if not each.result.done():
                    each.result.set_result(result)
        finally:
            self._free += 1
            self._start()
