"""Services that are measured, each in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

_READY = re.compile(r"serving at http://127\.0\.0\.1:(\d+)")
_LONGEST = 300.0


@dataclass(frozen=True)
class Running:
    """A service that answers.

    Attributes:
        port: its port.
        pid: its process, or the one that supervises its processes.
        seconds: from its start until it was ready.
        log: the file of its log.
    """

    port: int
    pid: int
    seconds: float
    log: Path

    def workers(self) -> list[int]:
        """Return the processes below the first one."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="utf-8")
        return [int(word) for word in children.split()]

    def servers(self) -> list[int]:
        """Return the processes that answer, without the one that supervises them."""
        texts = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in self.workers()}
        return [pid for pid, text in texts.items() if b"spawn_main" in text] or [self.pid]

    def memory(self) -> int:
        """Return the bytes of all its processes; shared pages count once."""
        return sum(map(_proportional, [self.pid, *self.workers()]))


@contextmanager
def serving(store: str, *options: str) -> Iterator[Running]:
    """Run ``albeam serve`` on a free port until the block ends."""
    command = [sys.executable, "-m", "pipeline", "serve", store, "--port", "0", *options]
    with running(command) as found:
        yield found


@contextmanager
def running(command: list[str]) -> Iterator[Running]:
    """Run a program that tells its address when it is ready, until the block ends."""
    with tempfile.NamedTemporaryFile(prefix="albeam-", suffix=".log") as log:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ))
        try:
            port = _wait(process, Path(log.name), started + _LONGEST)
            seconds = time.perf_counter() - started
            yield Running(port, process.pid, seconds, Path(log.name))
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_for(port: int) -> None:
    """Wait until one of several processes answers; their supervisor tells the address before."""
    latest = time.perf_counter() + _LONGEST
    while True:
        try:
            with urlopen(f"http://127.0.0.1:{port}/ready", timeout=_LONGEST):
                return
        except OSError:
            if time.perf_counter() > latest:
                raise
            time.sleep(0.1)


def _wait(process: subprocess.Popen[bytes], log: Path, latest: float) -> int:
    while time.perf_counter() < latest and process.poll() is None:
        found = _READY.search(log.read_text(encoding="utf-8", errors="replace"))
        if found:
            return int(found[1])
        time.sleep(0.01)
    raise RuntimeError(f"it did not start: {log.read_text(encoding='utf-8')[-2_000:]}")


def _proportional(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return 1_024 * int(found[1]) if found else 0
