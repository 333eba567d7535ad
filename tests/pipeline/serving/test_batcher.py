"""Items of many requests: which go together, who waits, and what fails alone."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from pipeline.serving.core.admission import Admission
from pipeline.serving.core.batcher import Batcher, BatchRules
from pipeline.serving.core.errors import Overloaded


class Work:
    """Work that waits until it may go on, and keeps the batches that it was given."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def __call__(self, items: Sequence[str]) -> list[str]:
        self.batches.append(list(items))
        assert self.may_go_on.wait(30)
        if "bad" in items:
            raise ValueError("bad")
        return [item.upper() for item in items]


async def until(reached: object) -> None:
    for _ in range(3_000):
        if reached():  # type: ignore[operator]
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it was not reached")


async def waiting(
    rules: BatchRules[str], first: str, names: Sequence[str]
) -> tuple[Work, Batcher[str, str], list[asyncio.Task[str]]]:
    """Let a thread work on an item, and others wait for it; return the tasks of all."""
    work = Work()
    work.may_go_on.clear()
    batcher = Batcher("test", work, rules)
    tasks = [asyncio.create_task(batcher.run(first))]
    await until(lambda: work.batches)
    tasks += [asyncio.create_task(batcher.run(name)) for name in names]
    await asyncio.sleep(0)
    return work, batcher, tasks


def test_items_that_come_while_a_thread_works_go_together() -> None:
    async def run() -> None:
        work, batcher, tasks = await waiting(BatchRules(most=3), "a", "bcdef")
        assert len(batcher) == 5
        work.may_go_on.set()
        assert await asyncio.gather(*tasks) == list("ABCDEF")
        assert work.batches == [["a"], ["b", "c", "d"], ["e", "f"]]

    asyncio.run(run())


def test_a_batch_is_bounded_by_the_sizes_of_its_items_and_has_one_key() -> None:
    async def run() -> None:
        rules = BatchRules[str](most=4, size=len, key=lambda item: item[0])
        work, _, tasks = await waiting(rules, "start", ["aa", "ab", "ac", "b", "abcdef"])
        work.may_go_on.set()
        await asyncio.gather(*tasks)
        assert work.batches[1:] == [["aa", "ab"], ["ac"], ["b"], ["abcdef"]]

    asyncio.run(run())


def test_an_item_waits_for_others_only_if_some_may_come() -> None:
    async def run() -> None:
        work, coming = Work(), 2
        batcher = Batcher("test", work, BatchRules(10, 0.3, coming=lambda: coming))
        first = asyncio.create_task(batcher.run("a"))
        await asyncio.sleep(0.05)
        assert work.batches == []
        assert await batcher.run("b") == "B"
        assert await first == "A"
        assert work.batches == [["a", "b"]]
        # The second never comes.
        assert await batcher.run("c") == "C"
        coming = 1
        started = asyncio.get_running_loop().time()
        assert await batcher.run("d") == "D"
        assert asyncio.get_running_loop().time() - started < 0.25

    asyncio.run(run())


def test_one_item_at_fault_does_not_fail_the_others() -> None:
    async def run() -> None:
        names = ["b", "bad", "c"]
        work, _, tasks = await waiting(BatchRules(most=10), "a", names)
        work.may_go_on.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(each) for each in found] == ["A", "B", "bad", "C"]
        assert work.batches == [["a"], names, ["b"], ["bad"], ["c"]]

    asyncio.run(run())


def test_what_nobody_waits_for_any_more_is_not_done() -> None:
    async def run() -> None:
        work, _, (first, gone, stays) = await waiting(BatchRules(most=10), "a", ["gone", "stays"])
        gone.cancel()
        await asyncio.sleep(0)
        work.may_go_on.set()
        assert await asyncio.gather(first, stays) == ["A", "STAYS"]
        assert work.batches == [["a"], ["stays"]]

    asyncio.run(run())


def test_threads_work_side_by_side() -> None:
    async def run() -> None:
        both = threading.Barrier(2, timeout=30)

        def meet(items: Sequence[int]) -> list[int]:
            both.wait()
            return list(items)

        batcher = Batcher("test", meet, BatchRules(threads=2))
        assert await asyncio.gather(batcher.run(1), batcher.run(2)) == [1, 2]

    asyncio.run(run())


def test_too_many_requests_are_refused_until_one_has_ended() -> None:
    admission = Admission(2)
    with admission.enter():
        refused = pytest.raises(Overloaded, match="2 requests")
        with admission.enter(), refused, admission.enter():
            raise AssertionError
        with admission.enter():
            assert admission.inside == 2
    assert (admission.inside, admission.refused) == (0, 1)
