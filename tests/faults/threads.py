"""``make faults``: threads that share a store find what one thread finds.

Run as ``python -m tests.faults.threads [--seed N] [--seconds 60] [--threads 16]``. A process of its
own, which has imported nothing yet, opens the store in all threads at once, again and again: first
as usual, then with a very small switch interval. It must end with exit code 0, because files that
two threads read can crash the process.
"""

import argparse
import pickle
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.faults import shared_store

#: Seconds between two switches of threads: by default, and as often as possible.
INTERVALS = (0.005, 1e-6)
#: Searches of each thread before the store is opened again.
TURN = 12


def at_once(threads: int, call: Callable[[int], Any]) -> list[Any]:
    """What ``call`` of each number gives, by as many threads that start at the same moment."""
    together = threading.Barrier(threads)

    def begin(number: int) -> Any:
        together.wait()
        return call(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(begin, range(threads)))


def ask(folder: Path, seed: int, seconds: float, threads: int, turn: int) -> int:
    """Ask an opened store in threads until the time is over, at least once; how many searches."""
    expected = pickle.loads((folder / "expected.pickle").read_bytes())
    asked, end = 0, time.monotonic() + seconds
    while not asked or time.monotonic() < end:
        opened: list[Any] = []

        def work(number: int, asked: int = asked, opened: list[Any] = opened) -> int:
            from transforms.search.store import Store

            chosen = random.Random(f"{seed} {asked} {number}")
            # Most share the first store; some open one of their own.
            if not opened or chosen.random() < 0.1:
                opened.append(Store.open(str(folder / "store"), dtype="float32"))
            store = opened[0]
            for search, found in chosen.sample(expected, turn):
                shared_store.check_same(search, shared_store.answer(store, search), found)
                assert store.refresh() is False
            return turn

        asked += sum(at_once(threads, work))
    return asked


def rank_and_read(folder: Path, threads: int) -> None:
    """Load a reranker and a reader in threads, and use them together."""
    from tests.support.models import make_texts
    from transforms.models.options import Placement

    pairs = [(f"{text} ?", text * 3) for text in make_texts(6, seed=3, longest=40)]
    placement = Placement("cpu", "float32")

    def load(number: int) -> Any:
        from transforms.search.reader import Reader
        from transforms.search.reranker import Reranker

        if number % 2:
            return Reader(str(folder / "reader"), placement)
        return Reranker(str(folder / "reranker"), placement)

    ranker, reader = at_once(4, load)[:2]
    scores, spans = ranker.scores(pairs), reader.spans(pairs)

    def use(_: int) -> None:
        for _ in range(2):
            assert abs(ranker.scores(pairs) - scores).max() < 1e-5
            assert [each.text for each in reader.spans(pairs)] == [each.text for each in spans]

    at_once(threads, use)


def in_process(folder: Path, seed: int, seconds: float, threads: int, turn: int) -> str:
    """Run `ask` and `rank_and_read` in a process of its own; what it prints."""
    words = ["--seed", seed, "--turn", turn, "--threads", threads]
    timeout = 10 * seconds + 600
    return shared_store.in_process("tests.faults.threads", folder, seconds, timeout, *words)


def main() -> int:
    """Read the options, run, say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60, help="of each way")
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--turn", type=int, default=TURN, help="searches before another opening")
    parser.add_argument("--folder", help="ask the store that is there, in this process")
    options = parser.parse_args()
    if options.folder:
        before = sys.getswitchinterval()
        for interval in INTERVALS:
            sys.setswitchinterval(interval)
            sizes = options.seconds, options.threads, options.turn
            asked = ask(Path(options.folder), options.seed, *sizes)
            print(f"switch interval {interval} s: {asked} searches as by one thread", flush=True)
        sys.setswitchinterval(before)
        rank_and_read(Path(options.folder), options.threads)
        return 0
    folder = Path(tempfile.mkdtemp(prefix="albeam-threads-"))
    started = time.monotonic()
    shared_store.make(folder)
    shared_store.write_expected(folder, 200, options.seed)
    print(in_process(folder, options.seed, options.seconds, options.threads, options.turn))
    shutil.rmtree(folder)
    print(f"{options.threads} threads, {time.monotonic() - started:.0f} seconds: one store")
    return 0


if __name__ == "__main__":
    sys.exit(main())
