"""Passes over the data of a training, one after the other."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import TypeVar

T = TypeVar("T")


def batches_from(epoch: Callable[[int], Sequence[T]], start: int) -> Iterator[T]:
    """Yield the batches of all passes without end, from the one numbered ``start`` on.

    Args:
        epoch: returns the batches of the pass with a number.
        start: the number of the first batch, counted over all passes.
    """
    for number in count():
        made = epoch(number)
        yield from made[start:]
        start = max(0, start - len(made))
