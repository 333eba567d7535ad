"""``make faults``, second part: several writers on one store at once.

Run as ``python -m tests.writers [--seed N] [--writers 2 4] [--rounds 20]``. In each round as many
processes start together: they append documents of their own and one that all of them write, delete
documents of earlier rounds, or compact. What was acknowledged must be there afterwards, once; of
the document that all wrote, one version.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults import Kill, embed_command, in_child, must, start

#: Documents that a writer appends in a round.
ROWS = 6
CONFLICT = 4
Documents = dict[str, set[int]]


def prepare(folder: Path) -> None:
    """A tiny model, by a child: this process must stay without threads."""
    from tests.models import make_model

    make_model(folder / "model")


def write_input(path: Path, ids: Sequence[str], year: int) -> None:
    """Some documents whose year tells who wrote them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tests.models import make_texts

    texts = make_texts(len(ids), seed=year, longest=40)
    pq.write_table(pa.table({"id": list(ids), "text": texts, "year": [year] * len(ids)}), path)


def live(store: str) -> dict[str, int]:
    """Id to year; raises AssertionError where a document or a passage is there twice."""
    from pipeline import verify
    from transforms.store import Store

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


def run(seed: int, writers: int, rounds: int, folder: Path) -> int:
    """Let writers meet; how often one of them had to run again after a conflict."""
    # Imported once, here, so that each forked command starts at once.
    import tests.models  # noqa: F401

    in_child(prepare, folder)
    store, chosen = str(folder / "store"), random.Random(seed)
    expected: Documents = {}
    conflicts = 0
    for turn in range(rounds):
        commands, after = [], {name: set(years) for name, years in expected.items()}
        free = sorted(name for name, years in expected.items() if len(years) == 1)
        chosen.shuffle(free)
        for writer in range(writers):
            kind = chosen.choice(["embed", "embed", "embed", "delete", "compact"])
            if not expected or writer == 0:
                kind = "embed"
            if kind == "embed":
                year = 1_000 + turn * writers + writer
                own = [f"d{turn}-{writer}-{number}" for number in range(ROWS)]
                path = folder / f"input-{turn}-{writer}.parquet"
                in_child(write_input, path, [*own, f"shared-{turn}"], year)
                after |= {name: {year} for name in own}
                after.setdefault(f"shared-{turn}", set()).add(year)
                commands.append(embed_command(path, store, folder / "model", 4))
            elif kind == "delete":
                gone = [free.pop() for _ in range(min(4, len(free)))]
                for name in gone:
                    after.pop(name)
                commands.append(["delete", store, *gone] if gone else ["compact", store])
            else:
                commands.append(["compact", store])
        for words, code in zip(commands, together(commands, folder), strict=True):
            if code == CONFLICT:
                conflicts += 1
                must(words, folder / "log")
        found = in_child(live, store)
        wrong = {
            name: (found.get(name), years)
            for name, years in after.items()
            if found.get(name) not in years
        }
        if wrong or found.keys() - after.keys():
            raise AssertionError(
                f"round {turn}: found and expected differ: {wrong}; "
                f"not expected: {sorted(found.keys() - after.keys())}"
            )
        # A contested document is settled now.
        expected = {name: {found[name]} for name in after}
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
            f"{time.monotonic() - started:.0f} seconds: every acknowledged document once",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
