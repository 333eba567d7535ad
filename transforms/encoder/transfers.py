"""Copies to a device and back that do not wait for the device.

A copy from or to ordinary memory waits until the device has done everything before it. A copy from
or to pinned memory is queued like a kernel. torch keeps the pinned memory until the copy is done.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

T = TypeVar("T")


def to_device(array: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """Return an array as a tensor on a device; on the CPU it shares the array's memory."""
    tensor = torch.from_numpy(array)
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


class Fetched(Protocol):
    """Vectors on their way to the host."""

    def wait(self) -> npt.NDArray[np.float32]:
        """Return the vectors once they are there."""


class _Here:
    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor

    def wait(self) -> npt.NDArray[np.float32]:
        found: npt.NDArray[np.float32] = self._tensor.numpy()
        return found


class _OnItsWay:
    def __init__(self, tensor: torch.Tensor) -> None:
        self._host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        self._host.copy_(tensor, non_blocking=True)
        self._done: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._done.record(torch.cuda.current_stream(tensor.device))

    def wait(self) -> npt.NDArray[np.float32]:
        self._done.synchronize()
        found: npt.NDArray[np.float32] = self._host.numpy()
        return found


def fetch(tensor: torch.Tensor) -> Fetched:
    """Begin to copy vectors to the host."""
    return _OnItsWay(tensor) if tensor.is_cuda else _Here(tensor)


def overlap(
    items: Iterable[T],
    begin: Callable[[T], Fetched | None],
    end: Callable[[T, Fetched], None],
    alone: Callable[[T], None],
) -> None:
    """Begin each item before the one before it has ended, so that the device never waits.

    Args:
        items: the work; taken one at a time, so that an item may depend on how earlier ones began.
        begin: starts an item without waiting for it; returns None if there is no memory for it.
        end: waits for an item and keeps its result.
        alone: does an item that did not begin, while nothing else is under way.
    """
    waiting: tuple[T, Fetched] | None = None
    for item in items:
        begun = begin(item)
        if waiting is not None:
            end(*waiting)
        waiting = None
        if begun is None:
            alone(item)
        else:
            waiting = item, begun
    if waiting is not None:
        end(*waiting)
