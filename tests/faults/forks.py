"""``make faults``: forked and spawned processes find what their parent finds.

Run as ``python -m tests.faults.forks [--seed N] [--seconds 60]``. A process of its own loads a
store and searches it in all modes. Then it forks: when it is idle, while its threads search, and
while one of them loads the model. Children and parent search at the same time. A child that does
not answer in time hangs.
"""

import argparse
import faulthandler
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults import shared_store

#: A child that needs longer hangs; with one core for many processes it needs seconds.
LIMIT = 120.0
_THREADS = 6
_SEARCHES = 6


def check(store: Any, expected: list, chosen: random.Random, count: int = _SEARCHES) -> None:
    """Raise AssertionError if some of the searches find something else."""
    for search, found in chosen.sample(expected, count):
        shared_store.check_same(search, shared_store.answer(store, search), found)


def fork(call: Callable[[], None]) -> int:
    """Run ``call`` in a forked process, whose exit code is 0 if it raised nothing; its id."""
    child = os.fork()
    if child:
        return child
    faulthandler.dump_traceback_later(LIMIT - 5)
    code = 1
    try:
        call()
        code = 0
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)


def wait_for(children: list[int]) -> None:
    """Wait for forked processes; raises AssertionError if one fails or hangs."""
    end, codes = time.monotonic() + LIMIT, {}
    while len(codes) < len(children):
        for child in set(children) - codes.keys():
            done, status = os.waitpid(child, os.WNOHANG)
            if not done and time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
                done, status = os.waitpid(child, 0)
            if done:
                codes[child] = os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    assert not any(codes.values()), f"exit codes of forked processes: {sorted(codes.values())}"


@contextmanager
def busy(work: Callable[[random.Random], None], threads: int = _THREADS) -> Iterator[None]:
    """Repeat some work in threads during a block; raise an error of theirs at its end."""
    stop, errors = threading.Event(), []

    def repeat(number: int) -> None:
        chosen = random.Random(number)
        try:
            while not stop.is_set():
                work(chosen)
        except BaseException as error:
            errors.append(error)

    started = [threading.Thread(target=repeat, args=(number,)) for number in range(threads)]
    for thread in started:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in started:
            thread.join()
    if errors:
        raise errors[0]


def idle(folder: Path, expected: list, seed: int) -> None:
    """Fork twice from a process that searched; all three search at the same time."""
    store, ranker, pairs = _opened(folder, expected, seed)
    scores = ranker.scores(pairs)

    def answer(number: int) -> None:
        check(store, expected, random.Random(f"{seed} {number}"))
        assert abs(ranker.scores(pairs) - scores).max() < 1e-5
        store.refresh()

    children = [fork(lambda number=number: answer(number)) for number in range(2)]
    answer(3)
    wait_for(children)
    context = multiprocessing.get_context("fork")
    with context.Pool(2, _keep, (store, expected)) as pool:
        pool.map_async(_check_kept, range(4)).get(LIMIT)


def spawned(folder: Path, expected: list, seed: int) -> None:
    """Send an open store to a spawned process."""
    store, _, _ = _opened(folder, expected, seed)
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, _keep, (store, expected)) as pool:
        pool.map_async(_check_kept, range(2)).get(LIMIT)


def while_searching(folder: Path, expected: list, seed: int, seconds: float) -> int:
    """Fork while threads search, until the time is over, at least once; how many forks."""
    store, _, _ = _opened(folder, expected, seed)
    forks, end = 0, time.monotonic() + seconds
    with busy(lambda chosen: check(store, expected, chosen, 1)):
        while not forks or time.monotonic() < end:
            turn = random.Random(f"{seed} {forks}")
            wait_for([fork(lambda turn=turn: check(store, expected, turn, 2))])
            forks += 1
    return forks


def while_loading(folder: Path, expected: list, seed: int) -> None:
    """Fork while another thread imports what a model needs, and loads it."""
    from transforms.search.question_encoder import full_encoder
    from transforms.search.store import Store

    store = Store.open(str(folder / "store"), dtype="float32")
    loader = threading.Thread(target=lambda: full_encoder(store.encoder))
    loader.start()
    time.sleep(random.Random(seed).uniform(0.0, 0.5))
    child = fork(lambda: check(store, expected, random.Random(seed)))
    loader.join()
    wait_for([child])


def _opened(folder: Path, expected: list, seed: int) -> tuple[Any, Any, list]:
    """A store that searched in all modes, a reranker, and what to rerank."""
    from tests.support.models import make_texts
    from transforms.models.options import Placement
    from transforms.search.question_encoder import full_encoder
    from transforms.search.reranker import Reranker
    from transforms.search.store import Store

    store = Store.open(str(folder / "store"), dtype="float32")
    check(store, expected, random.Random(seed))
    full_encoder(store.encoder).encode_texts(make_texts(200, seed=seed))
    ranker = Reranker(str(folder / "reranker"), Placement("cpu", "float32"))
    return store, ranker, [(text, text) for text in make_texts(4, seed=5)]


#: What a worker process of a pool got when it started.
_KEPT: list[Any] = []


def _keep(*given: Any) -> None:
    _KEPT[:] = given


def _check_kept(number: int) -> None:
    store, expected = _KEPT
    check(store, expected, random.Random(number))


def in_process(folder: Path, seed: int, seconds: float, ways: str) -> str:
    """Fork from a process of its own; what it prints."""
    words = ["--seed", seed, "--ways", ways]
    timeout = seconds + 6 * LIMIT
    return shared_store.in_process("tests.faults.forks", folder, seconds, timeout, *words)


def main() -> int:
    """Read the options, run, say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60, help="of forks while threads search")
    parser.add_argument("--ways", default="loading,idle,spawned,searching")
    parser.add_argument("--folder", help="use the store that is there, in this process")
    options = parser.parse_args()
    if options.folder:
        folder, seed = Path(options.folder), options.seed
        expected = pickle.loads((folder / "expected.pickle").read_bytes())
        ways = options.ways.split(",")
        # First, because nothing is imported yet.
        if "loading" in ways:
            while_loading(folder, expected, seed)
        if "idle" in ways:
            idle(folder, expected, seed)
        if "spawned" in ways:
            spawned(folder, expected, seed)
        if "searching" in ways:
            forks = while_searching(folder, expected, seed, options.seconds)
            print(f"{forks} forks while {_THREADS} threads search", flush=True)
        return 0
    folder = Path(tempfile.mkdtemp(prefix="albeam-forks-"))
    started = time.monotonic()
    shared_store.make(folder)
    shared_store.write_expected(folder, 200, options.seed)
    for turn in range(5):
        in_process(folder, options.seed + turn, 0, "loading")
    print(in_process(folder, options.seed, options.seconds, "idle,spawned,searching"))
    shutil.rmtree(folder)
    print(
        f"{time.monotonic() - started:.0f} seconds: forked processes find what their parent finds"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
