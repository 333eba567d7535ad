"""Results that threads share are computed once."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from transforms.runtime.once import Once


def test_threads_that_ask_at_the_same_time_get_one_result() -> None:
    calls: list[int] = []
    together, release = threading.Barrier(9), threading.Event()

    def call(number: int) -> list[int]:
        calls.append(number)
        release.wait(20)
        return [number]

    once = Once(call)

    def ask(number: int) -> list[int]:
        together.wait()
        return once(number % 2)

    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(ask, number) for number in range(8)]
        together.wait()
        release.set()
        results = [each.result() for each in found]
    assert sorted(calls) == [0, 1]
    assert results == [[0], [1]] * 4
    assert len({id(each) for each in results}) == 2


def test_an_error_is_not_kept_and_does_not_reach_other_threads() -> None:
    failing, outcomes = [True], []

    def call() -> int:
        if failing:
            failing.pop()
            started.wait(20)
            raise OSError("the network is down")
        return 7

    once, started = Once(call), threading.Event()

    def ask() -> None:
        try:
            outcomes.append(once())
        except OSError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    started.set()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == ["7", "7", "7", "7", "the network is down"]
    assert once() == 7


def test_the_results_that_were_used_last_are_kept() -> None:
    calls: list[str] = []

    def call(name: str) -> str:
        calls.append(name)
        return name.upper()

    once = Once(call, most=2)
    for name in "abacabb":
        assert once(name) == name.upper()
    assert "".join(calls) == "abcb"
    once.forget()
    assert once("b") == "B"
    assert "".join(calls) == "abcbb"


def test_a_result_may_be_none_and_may_need_another_one() -> None:
    calls: list[int] = []

    def call(number: int) -> int | None:
        calls.append(number)
        return None if number == 0 else once(number - 1)

    once = Once(call)
    assert once(3) is None
    assert once(2) is None
    assert calls == [3, 2, 1, 0]


@pytest.mark.parametrize("inherited", [True, False])
def test_a_forked_process_keeps_results_and_computes_what_was_unfinished(inherited: bool) -> None:
    entered, release = threading.Event(), threading.Event()
    parent, calls = os.getpid(), []

    def call(name: str) -> str:
        calls.append(name)
        if name == "slow" and os.getpid() == parent:
            entered.set()
            release.wait(60)
        return name.upper()

    once = Once(call, inherited=inherited)
    assert once("done") == "DONE"
    thread = threading.Thread(target=once, args=("slow",))
    thread.start()
    assert entered.wait(20)
    child = os.fork()
    if not child:
        found = once("done"), once("slow")
        expected = ["done", "slow", "slow"] if inherited else ["done", "slow", "done", "slow"]
        os._exit(0 if found == ("DONE", "SLOW") and calls == expected else 1)
    release.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_is_kept_is_told_without_a_call() -> None:
    once = Once(lambda number: 1 // number, most=1)
    assert not once.holds(1)
    assert once(1) == 1
    assert once.holds(1)
    with pytest.raises(ZeroDivisionError):
        once(0)
    assert not once.holds(0)
    once(2)
    assert (once.holds(1), once.holds(2)) == (False, True)
