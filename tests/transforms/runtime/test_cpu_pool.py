"""Work on several cores gives what it gives on one."""

import signal
import threading
import time
from collections.abc import Iterator

import pytest
import torch

from transforms.runtime.cpu_pool import Cores


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


def test_items_are_made_when_they_are_needed_and_each_is_done_once(cores: Cores) -> None:
    done: list[int] = []
    ahead: list[int] = []

    def make() -> Iterator[int]:
        for number in range(20):
            ahead.append(number - len(done))
            yield number

    cores.each(done.append, make())
    assert sorted(done) == list(range(20))
    assert max(ahead) <= cores.count + 1
    cores.each(done.append, iter([]))
    assert len(done) == 20
    cores.each(lambda _: done.append(torch.get_num_threads()), iter([0]))
    cores.each(lambda _: done.append(torch.get_num_threads()), iter([0]), small=True)
    assert done[20:] == [cores.count, 1]


def test_an_error_ends_what_is_left(cores: Cores) -> None:
    begun: list[int] = []

    def work(number: int) -> float:
        begun.append(number)
        time.sleep(0.001)
        return 1 / number

    with pytest.raises(ZeroDivisionError):
        cores.each(work, iter([1, 0, *range(1, 100_000)]))
    assert len(begun) < 50_000


def test_an_interrupt_ends_the_other_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        cores = Cores("cpu")
    finally:
        torch.set_num_threads(before)
    begun: list[int] = []
    main = threading.main_thread().ident
    assert main is not None

    def work(number: int) -> None:
        begun.append(number)
        if number == 5:
            signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.001)

    # A shell's background jobs start with interrupts ignored.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            cores.each(work, iter(range(100_000)))
    finally:
        signal.signal(signal.SIGINT, handler)
    assert len(begun) < 50_000
    # They have stopped: new work is done at once.
    assert cores.map(len, ["a", "bc", ""]) == [1, 2, 0]


def test_fewer_threads_than_cores_are_no_reason_to_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begin, started = threading.Thread.start, []

    def start(thread: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        begin(thread)

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        monkeypatch.setattr(threading.Thread, "start", start)
        cores = Cores("cpu")
        assert cores.count == 1
        assert torch.get_num_threads() == 3
        assert "can't start new thread" in caplog.text
        assert cores.map(lambda number: number * 2, [1, 2]) == [2, 4]
    finally:
        torch.set_num_threads(before)


def test_an_error_in_one_piece_is_raised(cores: Cores) -> None:
    def work(number: int) -> float:
        return 1 / number

    with pytest.raises(ZeroDivisionError):
        cores.map(work, [1, 0, 2])
