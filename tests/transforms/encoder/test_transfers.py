"""Batches overlap: the next one has begun before the one before it has ended."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest
import torch

from transforms.encoder.transfers import fetch, overlap, to_device


@dataclass
class Vectors:
    """The vectors of an item, which the fake device computes when they are waited for."""

    device: "Device"
    item: int

    def wait(self) -> npt.NDArray[np.float32]:
        self.device.log.append(f"end {self.item}")
        if self.item in self.device.broken:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return np.full(1, self.item, np.float32)


@dataclass
class Device:
    """A device that has no memory for some items, and fails at others."""

    full: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    found: dict[int, float] = field(default_factory=dict)

    def begin(self, item: int) -> Vectors | None:
        self.log.append(f"begin {item}")
        return None if item in self.full else Vectors(self, item)

    def end(self, item: int, fetched: Vectors) -> None:
        self.found[item] = float(fetched.wait()[0])

    def alone(self, item: int) -> None:
        self.log.append(f"alone {item}")
        self.found[item] = float(item)

    def run(self, *items: int) -> list[str]:
        overlap(items, self.begin, self.end, self.alone)  # type: ignore[arg-type]
        return self.log


def test_each_item_begins_before_the_one_before_it_ends() -> None:
    device = Device()
    assert device.run(1, 2, 3) == ["begin 1", "begin 2", "end 1", "begin 3", "end 2", "end 3"]
    assert device.found == {1: 1.0, 2: 2.0, 3: 3.0}
    assert Device().run() == []


def test_an_item_without_memory_is_done_alone_after_the_one_before_it() -> None:
    device = Device(full={2})
    assert device.run(1, 2, 3) == [
        *("begin 1", "begin 2", "end 1", "alone 2"),
        *("begin 3", "end 3"),
    ]
    assert sorted(device.found) == [1, 2, 3]
    assert Device(full={1}).run(1) == ["begin 1", "alone 1"]


def test_an_error_of_the_device_is_raised_where_its_vectors_are_awaited() -> None:
    device = Device(broken={1})
    with pytest.raises(RuntimeError, match="illegal memory"):
        device.run(1, 2, 3)
    assert device.log == ["begin 1", "begin 2", "end 1"]


def test_copies_on_the_cpu_share_memory() -> None:
    array = np.arange(4, dtype=np.float32)
    tensor = to_device(array, torch.device("cpu"))
    array[0] = 7
    assert tensor[0] == 7
    assert fetch(tensor).wait() is not None
    assert np.shares_memory(fetch(tensor).wait(), array)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_copies_to_cuda_and_back_are_exact() -> None:
    array = np.random.default_rng(0).normal(size=(1_000, 64)).astype(np.float32)
    tensor = to_device(array, torch.device("cuda"))
    assert tensor.is_cuda
    assert np.array_equal(fetch(tensor * 2).wait(), array * 2)
