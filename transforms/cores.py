"""A piece of work on each core, by threads that compute alone.

Threads that share each operation wait for the slowest at its end; where another process has a core
for a while, all of them wait for that one.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


class Cores:
    """A thread a core of a CPU; any other device has one, the caller's.

    Attributes:
        count: how many.
    """

    def __init__(self, device: str) -> None:
        self.count = torch.get_num_threads() if device == "cpu" else 1
        self._pool = _make_pool(self.count) if self.count > 1 else None

    def map(self, work: Callable[[T], R], items: Sequence[T], small: bool = False) -> list[R]:
        """The results of ``work`` on the items, in order.

        A single item has all cores, unless it is ``small``: threads that share it would wait for
        each other longer than they work.
        """
        if self._pool is None or (len(items) == 1 and not small):
            return [work(item) for item in items]
        return list(self._pool.map(work, items))


def _make_pool(count: int) -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(count, "albeam")
    # All of them start now: the setting is also what later threads of this process begin with.
    barrier = threading.Barrier(count)

    def begin(_: int) -> int:
        barrier.wait()
        torch.set_num_threads(1)
        return torch.get_num_threads()

    settled = list(pool.map(begin, range(count)))
    torch.set_num_threads(count)
    assert set(settled) == {1}
    return pool


def best_dtype(device: str) -> str:
    """The narrowest dtype in which ``cpu`` or ``cuda`` is both fast and exact enough here."""
    if device == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability() >= (8, 0) else "float16"
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if fast else "float32"
