"""How long a process takes to open a store of many parts, and to search it.

Run as ``python -m deploy.bench.store_opening [--parts 1000] [--beside CHECKOUT]``. With another
checkout of albeam, both run by turns, each with a store that it has written, in a new process for
each turn. Printed are the medians in milliseconds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

_DIM, _ROWS = 64, 50


def make(store: str, parts: int) -> None:
    """Write a store with one segment of so many parts, without a model."""
    from transforms.catalog.layout import SegmentPaths
    from transforms.catalog.options import ColumnOptions
    from transforms.catalog.parts import PartFormat
    from transforms.catalog.plan import Plan
    from transforms.index.build import build_index, describe_segment
    from transforms.index.lexical.build import build_lexical
    from transforms.index.options import IndexOptions
    from transforms.ingest.part_tables import Chunk, mark_chunk
    from transforms.ingest.part_writer import PartWriter
    from transforms.models.identity import ModelIdentity
    from transforms.transactions.commits import commit_segment

    identity = ModelIdentity(
        *("none", None, "0" * 64, "0" * 64, "mean", -1, True, 64, "", "", _DIM),
    )
    form = PartFormat(identity, "float32", pa.schema([("year", pa.int16())]))
    paths = SegmentPaths(store, "bench")
    plan = paths.create_plan(Plan((), ColumnOptions(), form.metadata, ()))
    infos = []
    for number in range(parts):
        writer = PartWriter(paths, number, form)
        writer.write(mark_chunk(_rows(number), Chunk(number, 0, True)))
        infos.append(writer.finish())
    index = build_index(paths, tuple(infos), _DIM, IndexOptions("Flat"))
    lexical = build_lexical(paths, tuple(infos), "none")
    info = describe_segment(paths, plan, form, tuple(infos), index, lexical)
    info, digest = paths.create_manifest(info)
    commit_segment(store, info, digest, "append", "bench")


def _rows(part: int) -> pa.Table:
    from transforms.storage.schema import FILE, HASH, REJECT, ROW, TOKEN_FIELD, TOKENS, VECTOR
    from transforms.storage.vectors import vectors_to_arrow

    vectors = np.random.default_rng(part).normal(size=(_ROWS, _DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    zeros = pa.array([0] * _ROWS, pa.int32())
    hashes = pa.array([bytes(16)] * _ROWS, HASH)
    return pa.table(
        {
            "document_id": [f"{part}-{row}" for row in range(_ROWS)],
            **{"passage": zeros, "start": zeros, "end": zeros},
            "text": [f"river stone {part} {row}" for row in range(_ROWS)],
            **{"text_hash": hashes, "metadata_hash": hashes},
            "year": pa.array(range(_ROWS), pa.int16()),
            FILE: [""] * _ROWS,
            ROW: pa.array(range(_ROWS), pa.int64()),
            REJECT: pa.nulls(_ROWS, pa.string()),
            TOKENS: pa.array([[1]] * _ROWS, TOKEN_FIELD.type),
            VECTOR: vectors_to_arrow(vectors, pa.float32()),
        }
    )


def measure(store: str, times: int) -> dict[str, float]:
    """Return how many milliseconds it takes to open, to search first, again and by a condition.

    The shortest of several times counts, each with a store that is opened anew.
    """
    from transforms.search.store import Store

    questions = np.random.default_rng(7).normal(size=(20, _DIM)).astype(np.float32)
    found: dict[str, float] = {}

    def timed(name: str, began: float) -> None:
        took = 1_000 * (time.perf_counter() - began)
        found[name] = min(took, found.get(name, took))

    for _ in range(times):
        began = time.perf_counter()
        opened = Store.open(store)
        timed("open", began)
        began = time.perf_counter()
        opened.search(questions, 10)
        timed("first search", began)
        began = time.perf_counter()
        opened.search(questions, 10)
        timed("second search", began)
        began = time.perf_counter()
        opened.search(["river stone 7"], 10, mode="lexical")
        timed("first words", began)
        began = time.perf_counter()
        opened.live.mask("year > 40")
        timed("condition", began)
    return found


def _child(checkout: Path, *arguments: str) -> str:
    command = [sys.executable, "-c", f"import runpy, sys; sys.argv = ['x', *{arguments!r}]; "]
    command[-1] += f"sys.path.insert(0, {str(checkout)!r}); "
    command[-1] += f"runpy.run_path({__file__!r}, run_name='__main__')"
    done = subprocess.run(command, capture_output=True, check=True, text=True, cwd=checkout)
    return done.stdout


def main() -> None:
    """Run the benchmark, or a part of it in a child."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", type=int, default=1_000, help="parts of the store")
    parser.add_argument("--beside", type=Path, help="another checkout")
    parser.add_argument("--turns", type=int, default=5, help="processes of each checkout")
    parser.add_argument("--times", type=int, default=7, help="openings in each process")
    parser.add_argument("--make", help=argparse.SUPPRESS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make:
        make(given.make, given.parts)
        return
    if given.measure:
        print(json.dumps(measure(given.measure, given.times)))
        return
    checkouts = {"this": Path(__file__).resolve().parents[2]}
    if given.beside:
        checkouts["beside"] = given.beside.resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder
        for name, checkout in checkouts.items():
            _child(checkout, "--make", f"{folder}/{name}", "--parts", str(given.parts))
        times: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
        for _ in range(given.turns):
            for name, checkout in checkouts.items():
                words = "--measure", f"{folder}/{name}", "--times", str(given.times)
                times[name].append(json.loads(_child(checkout, *words)))
    for name, rows in times.items():
        medians = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        print(name, ", ".join(f"{key} {value:.1f}" for key, value in medians.items()))


if __name__ == "__main__":
    main()
