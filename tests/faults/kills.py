"""``make faults``: commands are killed at random moments and run again; the store must not mind.

Run as ``python -m tests.faults.kills [--seed N] [--kills N] [--short]``. Each command is a process
group of its own that gets SIGKILL, by turns at a random time and at a random change of the
filesystem. After each kill a reader looks at the store; at the end it is compared with one that was
never killed.
"""

import argparse
import os
import pickle
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: What changes a local filesystem for readers.
CHANGES = ("link", "replace", "remove", "unlink", "rmdir")
ROWS = 80


#: So often a kill is tried until it comes before the command's end.
_TRIES = 3


@dataclass(frozen=True)
class Kill:
    """When to kill: after so many seconds, or at a change, before or after it is made."""

    seconds: float | None = None
    change: int | None = None
    after: bool = False


def embed_command(inputs: Path, store: str, model: Path, rows: int) -> list[str]:
    """Embed with a tiny model, so many rows a part."""
    return [
        "embed", str(inputs), "--store", store, "--model", str(model),
        "--max-tokens", "48", "--stride", "8", "--rows-per-part", str(rows), "--device", "cpu",
        "--dtype", "float32", "--all-columns",
    ]  # fmt: skip


def scenario(folder: Path, store: str) -> list[list[str]]:
    """The commands, in order."""

    def embed(name: str) -> list[str]:
        return embed_command(folder / name, store, folder / "model", 10)

    chosen = random.Random(1)
    first, second, third = (
        chosen.sample([f"{name}-{n}" for n in range(ROWS)], 15) for name in "abc"
    )
    return [
        embed("a"),
        embed("b"),
        ["delete", store, *first],
        ["compact", store],
        [*embed("mixed"), "--mode", "sync"],
        embed("c"),
        ["delete", store, *second, *third],
        # All files are made two hours old before it.
        ["vacuum", store, "--keep", "2", "--older-than", "1h"],
        ["compact", store],
        ["delete", store, *first, "a-0", "b-0", "c-0"],
        ["vacuum", store, "--older-than", "0"],
    ]


def prepare(folder: Path) -> None:
    """A tiny model and four corpora, by a child: this process must stay without threads."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tests.support.models import make_model, make_texts

    make_model(folder / "model")

    def write(name: str, rows: list[tuple[str, str, int]]) -> None:
        ids, texts, years = zip(*rows, strict=True)
        table = pa.table({"id": ids, "text": texts, "year": pa.array(years, pa.int16())})
        (folder / name).mkdir()
        pq.write_table(table, folder / name / "docs.parquet", row_group_size=23)

    corpora = {
        name: [(f"{name}-{n}", text, n) for n, text in enumerate(make_texts(ROWS, seed=seed))]
        for seed, name in enumerate("abc")
    }
    for name, rows in corpora.items():
        write(name, rows)
    # Of two corpora the same documents, others with another text or another year, and some less.
    other = make_texts(ROWS, seed=9)
    mixed = [
        (name, other[n] if n % 5 == 0 else text, year + 1 if n % 7 == 0 else year)
        for n, (name, text, year) in enumerate(corpora["a"])
        if n % 11
    ]
    write("mixed", [*mixed, *corpora["b"][: ROWS // 2]])


def content(store: str) -> dict[str, Any]:
    """What a reader sees: the rows in order of their ids, and what questions find."""
    import numpy as np
    import pyarrow as pa

    from pipeline.maintenance import verify
    from transforms.search.store import Store
    from transforms.storage.vectors import vectors_to_numpy

    report = verify.run(store)
    opened = Store.open(store)
    order = [("document_id", "ascending"), ("passage", "ascending")]
    table = pa.concat_tables(opened.documents(), promote_options="permissive").sort_by(order)
    queries = np.random.default_rng(0).normal(size=(10, 48)).astype(np.float32)
    hits = opened.search(queries, 20)
    return {
        "passages": report.passages,
        "documents": opened.snapshot.documents,
        "rows": table.drop_columns(["vector"]).to_pylist(),
        "vectors": vectors_to_numpy(table["vector"]),
        "hits": [[(hit.document_id, round(hit.score, 4)) for hit in line] for line in hits],
    }


def look(store: str) -> tuple[int, int]:
    """A reader's look at a store that may be half-way: newest snapshot and its documents."""
    from pipeline.maintenance import verify
    from transforms.catalog.snapshot import newest_snapshot

    snapshot = newest_snapshot(store)
    if snapshot is None:
        return 0, 0
    verify.run(store)
    return snapshot.number, snapshot.documents


def age(store: str) -> None:
    """Make all files of a store look two hours old."""
    then = time.time() - 7_200
    for path in Path(store).rglob("*"):
        os.utime(path, (then, then))


def orphans(store: str) -> list[str]:
    """Files that no kept snapshot needs."""
    from transforms.transactions.vacuum import find_orphans

    return [file.path for file in find_orphans(store, 1, time.time() + 60).files]


def difference(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """In what two contents differ, or ""."""
    import numpy as np

    for name in ("documents", "passages", "rows"):
        if ours[name] != theirs[name]:
            return f"{name} differ"
    if not np.allclose(ours["vectors"], theirs["vectors"], atol=2e-6):
        return "vectors differ"
    for a, b in zip(ours["hits"], theirs["hits"], strict=True):
        if not np.allclose([s for _, s in a], [s for _, s in b], atol=2e-4):
            return "scores differ"
        # Documents of nearly equal scores may change places.
        if len({n for n, _ in a} - {n for n, _ in b}) > 1:
            return "hits differ"
    return ""


def in_child(call: Callable[..., Any], *arguments: Any) -> Any:
    """``call(*arguments)`` in a forked process, whose threads end with it."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            answer = (True, call(*arguments))
        except BaseException:
            answer = (False, traceback.format_exc())
        with os.fdopen(writer, "wb") as file:
            pickle.dump(answer, file)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        good, value = pickle.load(file)
    os.waitpid(child, 0)
    if not good:
        raise AssertionError(value)
    return value


def start(words: list[str], log: Path, kill: Kill) -> int:
    """Run a command in a process group of its own, which may kill itself; its process id."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    code = 70
    try:
        if kill.change is not None:
            _kill_at_change(kill.change, kill.after)
        from pipeline.cli import main

        code = main(words)
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(code)


def _kill_at_change(number: int, after: bool) -> None:
    made = iter(range(1_000_000))

    def guarded(real: Callable[..., Any]) -> Callable[..., Any]:
        def change(*arguments: Any, **options: Any) -> Any:
            mine = next(made) == number
            if mine and not after:
                os.killpg(0, signal.SIGKILL)
            value = real(*arguments, **options)
            if mine:
                os.killpg(0, signal.SIGKILL)
            return value

        return change

    for name in CHANGES:
        setattr(os, name, guarded(getattr(os, name)))


def attempt(words: list[str], log: Path, kill: Kill) -> int:
    """Run a command, perhaps killed; its exit code, negative for a signal."""
    child = start(words, log, kill)
    deadline = time.monotonic() + (kill.seconds if kill.seconds is not None else 300)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            try:
                os.killpg(child, signal.SIGKILL)
            except ProcessLookupError:
                # It has no group of its own yet.
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            if kill.seconds is None:
                raise AssertionError(f"albeam {words[0]} hangs: {log.read_text()[-2_000:]}")
            return -signal.SIGKILL
        time.sleep(0.002)


def must(words: list[str], log: Path) -> float:
    """Run a command to its end; how long it took."""
    started = time.monotonic()
    code = attempt(words, log, Kill())
    if code:
        raise AssertionError(f"albeam {' '.join(words)[:90]}: {code}: {log.read_text()[-2_000:]}")
    return time.monotonic() - started


def tries(
    words: list[str], log: Path, turn: int, seconds: float, chosen: random.Random
) -> Iterator[tuple[Kill, int]]:
    """Kill a command until a kill comes before its end; each kill and the exit code."""
    for _ in range(_TRIES):
        if turn % 2:
            kill = Kill(seconds=chosen.uniform(0, seconds))
        else:
            most = {"vacuum": 60, "delete": 8}.get(words[0], 24)
            kill = Kill(change=chosen.randrange(most), after=chosen.random() < 0.5)
        code = attempt(words, log, kill)
        if code not in (0, -signal.SIGKILL):
            raise AssertionError(f"{words[0]} after a kill: {code}: {log.read_text()[-2_000:]}")
        yield kill, code
        if code:
            return


def run(seed: int, kills: int, folder: Path, short: bool = False) -> int:
    """Kill ``kills`` times over one scenario; how many kills arrived before the command's end."""
    # Imported once, here, so that each forked command starts at once.
    import tests.support.models  # noqa: F401

    in_child(prepare, folder)
    log = folder / "log"
    whole, cut = str(folder / "whole"), str(folder / "cut")
    plan, again = scenario(folder, whole), scenario(folder, cut)
    if short:
        plan, again = ([steps[place] for place in (0, 2, 3, 4, 10)] for steps in (plan, again))
    seconds, states = [], [(0, 0)]
    for words in plan:
        if "1h" in words:
            in_child(age, whole)
        seconds.append(must(words, log))
        states.append(in_child(look, whole))
    expected = in_child(content, whole)
    chosen, landed = random.Random(seed), 0
    # Deletes are quick, so each gets one kill.
    long = [place for place, words in enumerate(again) if words[0] != "delete"]
    turns = [long[turn % len(long)] for turn in range(kills)]
    turns += [place for place, words in enumerate(again) if words[0] == "delete"]
    for place, words in enumerate(again):
        allowed = {states[place][1], states[place + 1][1]}
        if "1h" in words:
            in_child(age, cut)
        for turn in range(turns.count(place)):
            for kill, code in tries(words, log, turn, seconds[place], chosen):
                landed += code != 0
                number, documents = in_child(look, cut)
                if documents not in allowed:
                    raise AssertionError(
                        f"{words[0]}, {kill}: snapshot {number}: {documents} documents"
                    )
        must(words, log)
        if in_child(look, cut)[1] != states[place + 1][1]:
            raise AssertionError(f"{words[0]}: {in_child(look, cut)}, not {states[place + 1]}")
        print(f"{words[0]:8} {turns.count(place)} kills, sound", flush=True)
    found = in_child(difference, in_child(content, cut), expected)
    if found:
        raise AssertionError(f"the store that was killed is another one: {found}")
    left = in_child(orphans, cut)
    if left:
        raise AssertionError(f"vacuum left {left}")
    return landed


def main() -> int:
    """Read the options, run, say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--short", action="store_true", help="five commands instead of eleven")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="albeam-faults-"))
    started = time.monotonic()
    landed = run(options.seed, options.kills, folder, options.short)
    shutil.rmtree(folder)
    print(
        f"seed {options.seed}: {options.kills} kills asked for, {landed} in the middle, in "
        f"{time.monotonic() - started:.0f} seconds: the same store as without"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
