"""``make faults``, second part: several writers on one store at once.

Run as ``python -m tests.faults.writers [--seed N] [--writers 2 4] [--rounds 20]``. In each round as
many processes start together: they append documents of their own and one that all of them write,
delete documents of earlier rounds, make the store what an input says, compact, or vacuum. Each
document must afterwards be as one of those left it that had to do with it in this round, once; one
that none had to do with, as it was.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
import zlib
from pathlib import Path

from tests.faults.kills import Kill, embed_command, in_child, must, start

#: Documents that a writer appends in a round.
ROWS = 6
CONFLICT = 4
#: Id to year.
Documents = dict[str, int]


def prepare(folder: Path) -> None:
    """A tiny model, by a child: this process must stay without threads."""
    from tests.support.models import make_model

    make_model(folder / "model")


def write_input(path: Path, documents: Documents) -> None:
    """Documents whose year tells who wrote them; the text is of the id and the year."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tests.support.models import make_texts

    seeds = [zlib.crc32(f"{name} {year}".encode()) for name, year in documents.items()]
    texts = [make_texts(1, seed=seed, longest=40)[0] for seed in seeds]
    columns = {"id": list(documents), "text": texts, "year": list(documents.values())}
    pq.write_table(pa.table(columns), path)


def live(store: str) -> Documents:
    """Id to year; raises AssertionError where a document or a passage is there twice."""
    from pipeline.maintenance import verify
    from transforms.search.store import Store

    verify.run(store)
    seen: dict[tuple[str, int], int] = {}
    for table in Store.open(store).documents(["document_id", "passage", "year"]):
        for row in table.to_pylist():
            place = (row["document_id"], row["passage"])
            assert place not in seen, f"{place} is there twice"
            seen[place] = row["year"]
    years: dict[str, set[int]] = {}
    for (name, _), year in seen.items():
        years.setdefault(name, set()).add(year)
    mixed = {name: found for name, found in years.items() if len(found) > 1}
    assert not mixed, f"passages of several versions: {mixed}"
    return {name: found.pop() for name, found in years.items()}


def together(commands: list[list[str]], folder: Path) -> list[int]:
    """Run commands at once; their exit codes."""
    logs = [folder / f"log-{number}" for number in range(len(commands))]
    children = [start(words, log, Kill()) for words, log in zip(commands, logs, strict=True)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    for words, log, code in zip(commands, logs, codes, strict=True):
        if code not in (0, CONFLICT):
            raise AssertionError(f"{' '.join(words)[:90]}: {code}: {log.read_text()[-2_000:]}")
    return codes


def command(
    kind: str, writer: int, store: str, folder: Path, there: Documents, chosen: random.Random
) -> tuple[list[str], Documents, bool]:
    """What a writer runs, the documents that it writes (year 0: takes out), and whether it takes
    out all others."""
    if kind == "compact":
        return ["compact", store], {}, False
    if kind == "vacuum":
        return ["vacuum", store, "--keep", "1", "--older-than", "0"], {}, False
    if kind == "delete":
        gone = chosen.sample(sorted(there), min(4, len(there)))
        return ["delete", store, *gone], dict.fromkeys(gone, 0), False
    turn = writer // 100
    mine = {f"d{writer}-{number}": writer for number in range(ROWS)} | {f"shared-{turn}": writer}
    if kind == "sync":
        # Two thirds of the documents stay, one of these unchanged.
        for place, name in enumerate(sorted(there)):
            if place % 3:
                mine[name] = there[name] if place % 3 == 1 else writer
    path = folder / f"input-{writer}.parquet"
    in_child(write_input, path, mine)
    words = embed_command(path, store, folder / "model", 4)
    return words + (["--mode", "sync"] if kind == "sync" else []), mine, kind == "sync"


def run(seed: int, writers: int, rounds: int, folder: Path) -> int:
    """Let writers meet; how often one of them had to run again after a conflict."""
    # Imported once, here, so that each forked command starts at once.
    import tests.support.models  # noqa: F401

    in_child(prepare, folder)
    store, chosen = str(folder / "store"), random.Random(seed)
    there: Documents = {}
    conflicts = 0
    for turn in range(1, rounds + 1):
        kinds = ["embed"] * 4 + ["sync", "delete", "compact", "vacuum"]
        runs = [
            command(
                chosen.choice(kinds) if there and writer else "embed",
                100 * turn + writer, store, folder, there, chosen,
            )
            for writer in range(writers)
        ]  # fmt: skip
        for (words, _, _), code in zip(
            runs, together([each[0] for each in runs], folder), strict=True
        ):
            if code == CONFLICT:
                conflicts += 1
                must(words, folder / "log")
        found = in_child(live, store)
        for name in {*there, *found, *(name for _, written, _ in runs for name in written)}:
            may = {
                written.get(name, 0) for _, written, alone in runs if alone or name in written
            } or {there.get(name, 0)}
            if found.get(name, 0) not in may:
                raise AssertionError(
                    f"round {turn}: {name} is of {found.get(name, 0)}, not of {sorted(may)}: "
                    f"{[words[:4] for words, _, _ in runs]}"
                )
        there = found
    return conflicts


def main() -> int:
    """Read the options, run, say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--writers", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    for writers in options.writers:
        folder = Path(tempfile.mkdtemp(prefix="albeam-writers-"))
        started = time.monotonic()
        conflicts = run(options.seed, writers, options.rounds, folder)
        shutil.rmtree(folder)
        print(
            f"{writers} writers, {options.rounds} rounds, {conflicts} conflicts run again, in "
            f"{time.monotonic() - started:.0f} seconds: each document as it was left, once",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
