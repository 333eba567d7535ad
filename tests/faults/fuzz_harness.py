"""Run random changes of files in child processes, and count what comes of each.

A fuzzer gives `run` a function that changes a copy of sound files, and one that uses the copy. Both
run in a child of their own, which is forked after all imports, and which has bounds on time and
memory. A change is made from a seed and a number, so that each can be repeated alone.
"""

import argparse
import hashlib
import logging
import os
import pickle
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transforms.errors import AlbeamError

#: The results that are allowed.
SAME, CLEAR, CHANGED = "same", "clear error", "other answer"
#: The results that are faults.
RAW, WRONG, SIGNAL, HANG, MEMORY, OUTSIDE = (
    *("other exception", "wrong", "signal", "hang", "memory", "file outside"),
)
FAULTS = (RAW, WRONG, SIGNAL, HANG, MEMORY, OUTSIDE)
#: Texts of errors of libraries that could not allocate what they wanted.
_NO_MEMORY = ("bad_alloc", "can't allocate memory", "Cannot allocate memory", "out of memory")


class Wrong(Exception):
    """An answer that no change explains, and that no error was raised for."""


@dataclass(frozen=True)
class Fuzzer:
    """What `run` needs.

    Attributes:
        name: the name in reports.
        change: changes files below a folder by a random generator, and returns what it changed.
            Below the second folder are the files outside, which nothing may touch.
        use: uses the changed files, given what was changed; returns `SAME` or `CHANGED`, or raises.
        seconds: the time that both may take.
        memory: the bytes that both may allocate.
    """

    name: str
    change: Callable[[random.Random, Path, Path], str]
    use: Callable[[Path, str], str]
    seconds: int = 20
    memory: int = 3 << 30


@dataclass
class Results:
    """Counts of results, and a line for each fault; ``show`` prints all of them."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    show: bool = False

    def add(self, fuzzer: Fuzzer, number: int, what: str, found: str, detail: str) -> None:
        """Count a result, and note a fault."""
        self.counts[found] += 1
        if self.show:
            print(f"{number} ({what}): {found}: {detail}", flush=True)
        if found in FAULTS:
            self.faults.append(f"{fuzzer.name} {number} ({what}): {found}: {detail}")

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.most_common())
        return "\n".join([counts, *self.faults])


def run(fuzzer: Fuzzer, seed: int, numbers: Sequence[int], show: bool = False) -> Results:
    """Make each change of these numbers, and use the changed files."""
    results = Results(show=show)
    for number in numbers:
        with tempfile.TemporaryDirectory(prefix="albeam-fuzz-") as folder:
            work, outside = Path(folder, "work"), Path(folder, "outside")
            work.mkdir()
            before = _make_outside(outside)
            what, found, detail = _attempt(fuzzer, f"{seed}-{number}", work, outside)
            if (after := _state(outside)) != before:
                found, detail = OUTSIDE, f"{before} became {after}"
            results.add(fuzzer, number, what, found, detail)
    return results


def in_child(function: Callable[[], Any], seconds: int = 600) -> Any:
    """Return what a function returns in a child, so that its threads are not this process's."""
    answers = _answers(lambda send: send(function()), seconds, None)
    if not answers.sent:
        raise AssertionError(f"the child ended with {answers.status}")
    return answers.sent[0]


@dataclass(frozen=True)
class _Answers:
    sent: list[Any]
    status: int


def _attempt(fuzzer: Fuzzer, seed: str, work: Path, outside: Path) -> tuple[str, str, str]:
    """Return what was changed, the result, and its detail."""

    def child(send: Callable[[Any], None]) -> None:
        try:
            what = fuzzer.change(random.Random(seed), work, outside)
        except BaseException:
            send("the change itself failed")
            send((RAW, traceback.format_exc()))
            return
        send(what)
        send(_use(fuzzer, work, what, outside))

    answers = _answers(child, fuzzer.seconds, fuzzer.memory)
    what = answers.sent[0] if answers.sent else "nothing yet"
    if len(answers.sent) == 2:
        return (what, *answers.sent[1])
    code = os.waitstatus_to_exitcode(answers.status)
    if code == -signal.SIGALRM:
        return what, HANG, f"it took more than {fuzzer.seconds} s"
    return what, SIGNAL if code < 0 else RAW, f"the process ended with {code}"


def _use(fuzzer: Fuzzer, work: Path, what: str, outside: Path) -> tuple[str, str]:
    opened: list[str] = []

    def watch(event: str, given: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(given[0], str | bytes | os.PathLike):
            place = os.path.realpath(os.fsdecode(given[0]))
            if place.startswith(f"{outside}{os.sep}"):
                opened.append(place)

    sys.addaudithook(watch)
    try:
        found = fuzzer.use(work, what), ""
    except AlbeamError as error:
        found = (CLEAR, str(error)) if not _lacks_memory(error) else (MEMORY, str(error))
    except Wrong as error:
        found = WRONG, str(error)
    except BaseException as error:
        kind = MEMORY if _lacks_memory(error) else RAW
        found = kind, "".join(traceback.format_exception(error)[-3:])
    return (OUTSIDE, f"opened {opened[0]}") if opened else found


def _lacks_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError) or any(text in str(error) for text in _NO_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False


def _answers(
    child: Callable[[Callable[[Any], None]], None], seconds: int, memory: int | None
) -> _Answers:
    """Run a function in a child, and return what it sent and how the child ended."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        status = 1
        try:
            os.close(reading)
            _bound(seconds, memory)
            with open(writing, "wb") as pipe:
                child(lambda value: (pickle.dump(value, pipe), pipe.flush()))  # type: ignore[func-returns-value]
            status = 0
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(status)
    os.close(writing)
    sent = []
    with open(reading, "rb") as pipe:
        while True:
            try:
                sent.append(pickle.load(pipe))
            except (EOFError, pickle.UnpicklingError):
                break
    return _Answers(sent, os.waitpid(process, 0)[1])


def _bound(seconds: int, memory: int | None) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        # Libraries print and log what they refuse.
        logging.disable(logging.CRITICAL)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)


def _make_outside(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Make files that nothing may touch, as if they had never been read; return their state."""
    folder.mkdir()
    (folder / "precious").write_bytes(b"the user's own " * 1_000)
    (folder / "value.json").write_text("{}")
    found = _state(folder)
    for path in folder.iterdir():
        os.utime(path, ns=(0, path.stat().st_mtime_ns))
    return {name: (0, digest) for name, (_, digest) in found.items()}


def _state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return when each file was read last, and a digest of its content."""
    times = {path: path.stat().st_atime_ns for path in sorted(folder.iterdir())}
    return {
        path.name: (time, hashlib.sha256(path.read_bytes()).digest()[:4])
        for path, time in times.items()
    }


def copy_tree(source: Path, target: Path) -> None:
    """Copy sound files to a folder that is there."""
    shutil.copytree(source, target, dirs_exist_ok=True, symlinks=True)


def mutate_bytes(chosen: random.Random, content: bytes) -> tuple[bytes, str]:
    """Return changed content, as an accident changes it, and what was changed."""
    found, length = bytearray(content), len(content)
    kind = chosen.choice(("bit", "byte", "bytes", "cut", "longer", "swap", "zeros", "twice"))
    start = chosen.randrange(length) if length else 0
    # Headers are short, and what they say matters most.
    if chosen.random() < 0.5:
        start = min(start, chosen.randrange(400))
    stop = min(length, start + chosen.choice((1, 4, 8, 64, 1_000)))
    if kind == "bit" and length:
        found[start] ^= 1 << chosen.randrange(8)
    elif kind == "byte" and length:
        found[start] = chosen.randrange(256)
    elif kind == "bytes":
        found[start:stop] = chosen.randbytes(stop - start)
    elif kind == "cut":
        del found[start:]
    elif kind == "longer":
        found += chosen.randbytes(chosen.choice((1, 8, 64, 5_000)))
    elif kind == "swap":
        other = chosen.randrange(length) if length else 0
        found[start:stop], found[other : other + stop - start] = (
            *(content[other : other + stop - start], content[start:stop]),
        )
    elif kind == "zeros":
        found[start:stop] = bytes(stop - start)
    else:
        found[stop:stop] = content[start:stop]
    return bytes(found), f"{kind} at {start} of {length}"


def command(fuzzers: Sequence[Callable[[], Fuzzer]], text: str | None) -> None:
    """Run fuzzers as a command; end with 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=(text or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1_000, help="changes by each fuzzer")
    parser.add_argument("--only", type=int, help="the number of the only change to make")
    parser.add_argument("--show", action="store_true", help="print the result of each change")
    given = parser.parse_args()
    numbers = range(given.count) if given.only is None else [given.only]
    failed = False
    for make in fuzzers:
        fuzzer = make()
        results = run(fuzzer, given.seed, numbers, given.show)
        print(f"{fuzzer.name}, seed {given.seed}: {results}", flush=True)
        failed |= bool(results.faults)
    sys.exit(failed)
