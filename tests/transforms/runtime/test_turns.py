"""No thread changes a setting while another one works with it."""

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

from transforms.runtime.turns import Turns


def test_each_thread_works_under_the_setting_that_it_needs() -> None:
    turns, now = Turns(), [0]

    def work(number: int) -> None:
        setting = random.Random(number).choice([1, 2, 3])
        with turns.under(setting, lambda: now.__setitem__(0, setting)):
            assert now == [setting]
            threading.Event().wait(0.0005)
            assert now == [setting]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(300)))


def test_threads_that_need_the_same_setting_work_at_once() -> None:
    turns, together, applied = Turns(), threading.Barrier(4), []

    def work(_: int) -> None:
        with turns.under("same", lambda: applied.append("same")):
            together.wait(20)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
        list(pool.map(work, range(4)))
    assert applied == ["same"]


def test_those_who_come_later_do_not_overtake_for_ever() -> None:
    turns, order = Turns(), []
    leave, inside = threading.Event(), threading.Event()

    def first() -> None:
        with turns.under("a", lambda: None):
            inside.set()
            leave.wait(20)

    def work(setting: str) -> None:
        with turns.under(setting, lambda: None):
            order.append(setting)

    threads = [threading.Thread(target=first)]
    threads[0].start()
    assert inside.wait(20)
    for number, setting in enumerate("baab"):
        threads.append(threading.Thread(target=work, args=(setting,)))
        threads[-1].start()
        while len(turns._queue._waiting) <= number:
            threading.Event().wait(0.001)
    leave.set()
    for thread in threads:
        thread.join()
    assert "".join(order) == "baab"


def test_an_error_ends_the_turn_and_a_forked_process_waits_for_nobody() -> None:
    turns = Turns()
    leave, inside = threading.Event(), threading.Event()

    def work() -> None:
        try:
            with turns.under("a", lambda: None):
                raise OSError
        except OSError:
            pass
        with turns.under("b", lambda: None):
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(20)
    child = os.fork()
    if not child:
        with turns.under("c", lambda: None):
            os._exit(0)
    leave.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
