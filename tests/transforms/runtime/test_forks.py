"""A forked process waits for no thread of its parent."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
import torch

from transforms.errors import BadInput
from transforms.runtime.cpu_pool import Cores
from transforms.runtime.devices import check_process
from transforms.runtime.forks import Lock, loading
from transforms.runtime.search_pool import search_pool


def code_of_fork(call: Callable[[], bool], seconds: float = 60) -> int | None:
    """The exit code of a forked process, 0 if the call returns True; None if it hangs."""
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if call() else 2
        finally:
            os._exit(code)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return None


def test_a_lock_that_another_thread_holds_is_free() -> None:
    lock, held, release = Lock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            release.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)

    def take() -> bool:
        with lock:
            return True

    assert code_of_fork(take) == 0
    release.set()
    thread.join()
    with lock:
        assert code_of_fork(take) == 0
    assert take()


def test_a_fork_waits_for_the_end_of_a_load_but_not_for_its_own() -> None:
    entered, ended = threading.Event(), threading.Event()

    def load() -> None:
        with loading():
            entered.set()
            time.sleep(0.3)
            ended.set()

    thread = threading.Thread(target=load)
    thread.start()
    assert entered.wait(20)
    assert code_of_fork(ended.is_set) == 0
    thread.join()

    def load_again() -> bool:
        with loading():
            return True

    with loading():
        assert code_of_fork(load_again) == 0
    assert load_again()


def test_pools_are_started_again() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        cores = Cores("cpu")
        assert cores.map(len, ["a", "bc"]) == [1, 2]
        assert list(search_pool().map(len, ["a", "bc"])) == [1, 2]

        def use() -> bool:
            found = cores.map(len, ["a", "bc"]), list(search_pool().map(len, ["a", "bc"]))
            return found == ([1, 2], [1, 2]) and cores.count == 3

        assert code_of_fork(use) == 0
        assert use()
    finally:
        torch.set_num_threads(before)


_OPENMP = """
import os, numpy as np, torch, faiss
from transforms.runtime import forks
def work():
    rows = np.ones((3_000, 64), np.float32)
    faiss.knn(rows, rows, 5)
    return float((torch.ones(600, 600) @ torch.ones(600, 600)).sum())
found, threads = work(), torch.get_num_threads()
child = os.fork()
if not child:
    os._exit(0 if work() == found else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert work() == found and torch.get_num_threads() == threads > 1
"""


def test_openmp_of_torch_and_of_faiss_works_after_a_fork() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _OPENMP], capture_output=True, text=True, timeout=120, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "3"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]


@pytest.mark.parametrize("given", [None, "true"])
def test_tokenizers_does_without_threads_in_a_forked_process_only(
    given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tokenizers  # noqa: F401

    name = "TOKENIZERS_PARALLELISM"
    monkeypatch.delenv(name, raising=False)
    if given:
        monkeypatch.setenv(name, given)
    assert code_of_fork(lambda: os.environ[name] == "false") == 0
    assert os.environ.get(name) == given


def test_a_model_on_a_gpu_can_not_be_used_after_a_fork() -> None:
    check_process("cuda", os.getpid())
    check_process("cpu", os.getpid() + 1)
    with pytest.raises(BadInput) as caught:
        check_process("cuda", os.getpid() + 1)
    assert (caught.value.option, caught.value.value) == ("device", "cuda")
