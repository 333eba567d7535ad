"""Work on several cores gives what it gives on one."""

import threading
from collections.abc import Iterator

import pytest
import torch

from transforms.cores import Cores


@pytest.fixture(params=[1, 3])
def cores(request: pytest.FixtureRequest) -> Iterator[Cores]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield Cores("cpu")
    torch.set_num_threads(before)


def test_results_come_in_order_and_each_thread_computes_alone(cores: Cores) -> None:
    threads = cores.count
    assert torch.get_num_threads() == threads
    # All of them wait for each other: as many work at once.
    barrier = threading.Barrier(threads)

    def work(number: int) -> tuple[int, int]:
        barrier.wait(20)
        return number * number, torch.get_num_threads()

    found = cores.map(work, range(3 * threads))
    assert [square for square, _ in found] == [number * number for number in range(3 * threads)]
    assert {count for _, count in found} == {1}
    assert cores.map(lambda _: torch.get_num_threads(), [0]) == [threads]
    assert cores.map(work, []) == []


def test_an_error_in_one_piece_is_raised(cores: Cores) -> None:
    def work(number: int) -> float:
        return 1 / number

    with pytest.raises(ZeroDivisionError):
        cores.map(work, [1, 0, 2])
