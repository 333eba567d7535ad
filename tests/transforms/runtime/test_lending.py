"""Open things are used by one thread at a time."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from transforms.runtime.lending import Lending


class Thing:
    """Something open, which knows how many use it."""

    def __init__(self, key: str) -> None:
        self.key, self.users = key, threading.Semaphore(1)


@pytest.fixture
def opened() -> list[Thing]:
    return []


@pytest.fixture
def lending(opened: list[Thing]) -> Lending[str, Thing]:
    def open_thing(key: str) -> Thing:
        opened.append(Thing(key))
        return opened[-1]

    return Lending(open_thing, most=3)


def test_one_thread_opens_each_thing_once(
    lending: Lending[str, Thing], opened: list[Thing]
) -> None:
    for key in "abcabcc":
        with lending.borrow(key) as thing:
            assert thing.key == key
    assert [thing.key for thing in opened] == ["a", "b", "c"]


def test_no_two_threads_have_the_same_thing(
    lending: Lending[str, Thing], opened: list[Thing]
) -> None:
    def use(number: int) -> None:
        with lending.borrow("ab"[number % 2]) as thing:
            assert thing.users.acquire(blocking=False)
            threading.Event().wait(0.001)
            thing.users.release()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(200)))
    assert {thing.key for thing in opened} == {"a", "b"}
    assert len(opened) < 100


def test_only_the_things_that_were_used_last_stay_open(
    lending: Lending[str, Thing], opened: list[Thing]
) -> None:
    for key in "abcdabcd":
        with lending.borrow(key):
            pass
    assert [thing.key for thing in opened] == list("abcdabcd")
    with lending.borrow("b"), lending.borrow("c"), lending.borrow("d"):
        pass
    assert len(opened) == 8


def test_a_thing_that_failed_is_not_used_again(
    lending: Lending[str, Thing], opened: list[Thing]
) -> None:
    with pytest.raises(OSError, match="broken"), lending.borrow("a"):
        raise OSError("broken")
    with lending.borrow("a") as thing:
        assert thing is opened[1]


def test_a_forked_process_opens_its_own(lending: Lending[str, Thing], opened: list[Thing]) -> None:
    with lending.borrow("a"):
        pass
    child = os.fork()
    if not child:
        with lending.borrow("a") as thing:
            os._exit(0 if thing is opened[-1] and len(opened) == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with lending.borrow("a") as thing:
        assert thing is opened[0]
