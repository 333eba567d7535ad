"""Build and search an index of seeded clustered vectors, beside a plain FAISS script.

Both read the same Parquet parts with the same threads, each in a process of its own, in turn. With
``--then ROWS`` the same index is built of so many rows too, for what a row costs there. The bounds
are told at the end. `make bench-index` runs it, and `deploy.bench.index_recall` where there are
real corpora; ``--json FILE`` keeps what it prints. Run on Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.bench.targets import Target

Vectors = npt.NDArray[np.float32]

DIM = 384
CHUNK = 8_192
ROWS_PER_PART = 65_536
#: Rows of a cluster on average, and how far they lie from its centre.
CLUSTER_ROWS, SPREAD = 100, 1.1
#: Deviations of the numbers of a vector. With them an inverted file finds about as many neighbours
#: in as many lists as among albeam-small's vectors of real texts, see `deploy.bench.index_recall`.
DEVIATIONS = np.sqrt(1 / np.arange(1, DIM + 1))


def vectors_of(rows: int, chunk: int, count: int, seed: int) -> Vectors:
    """``count`` unit vectors round centres that all chunks of so many rows share."""
    centres = max(1, rows // CLUSTER_ROWS)
    dice = np.random.default_rng([seed, chunk])
    chosen = dice.integers(0, centres, count)
    unique, place = np.unique(chosen, return_inverse=True)
    middle = np.stack([np.random.default_rng([seed, 7, c]).normal(size=DIM) for c in unique])
    found = (middle[place] + SPREAD * dice.normal(size=(count, DIM))) * DEVIATIONS
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found.astype(np.float32)


def make_store(store: str, rows: int, seed: int, texts: Iterator[str] | None = None) -> None:
    """A store of so many passages without an index, each text a word or one of ``texts``."""
    from transforms.catalog.layout import SegmentPaths
    from transforms.catalog.options import ColumnOptions
    from transforms.catalog.parts import PartFormat
    from transforms.catalog.plan import Plan
    from transforms.index.build import describe_segment
    from transforms.ingest.part_writer import PartWriter
    from transforms.models.options import DEFAULT_MODEL, ModelOptions
    from transforms.models.resolve import find_model
    from transforms.transactions.commits import commit_segment

    paths = SegmentPaths(store, "vectors")
    form = PartFormat(find_model(ModelOptions(DEFAULT_MODEL)).identity, "float16", pa.schema([]))
    plan = paths.create_plan(Plan((), ColumnOptions(), form.metadata, ()))
    parts = []
    for first in range(0, rows, ROWS_PER_PART):
        writer = PartWriter(paths, len(parts), form)
        last = min(first + ROWS_PER_PART, rows)
        for start in range(first, last, CHUNK):
            vectors = vectors_of(rows, start // CHUNK, min(CHUNK, last - start), seed)
            words = [next(texts) if texts is not None else "x" for _ in range(len(vectors))]
            writer.write(_chunk(len(parts), first, start, vectors, words, start + CHUNK >= last))
        parts.append(writer.finish())
    info = describe_segment(paths, plan, form, tuple(parts), None)
    info, digest = paths.create_manifest(info)
    commit_segment(store, info, digest, "append", "bench")


def _chunk(
    part: int, begin: int, first: int, vectors: Vectors, texts: list[str], last: bool
) -> pa.Table:
    from transforms.ingest.chunks import Chunk, mark_chunk
    from transforms.storage.schema import FILE, HASH, REJECT, ROW, TOKEN_FIELD, TOKENS, VECTOR
    from transforms.storage.vectors import vectors_to_arrow

    rows = len(vectors)
    zeros = pa.array(np.zeros(rows, np.int32))
    table = pa.table(
        {
            "document_id": [f"{first + row:09d}" for row in range(rows)],
            "passage": zeros,
            "start": zeros,
            "end": pa.array(np.ones(rows, np.int32)),
            "text": texts,
            "text_hash": pa.array([bytes(16)] * rows, HASH),
            "metadata_hash": pa.array([bytes(16)] * rows, HASH),
            FILE: ["bench"] * rows,
            ROW: pa.array(np.arange(first, first + rows)),
            REJECT: pa.nulls(rows, pa.string()),
            TOKENS: pa.array([[2]] * rows, TOKEN_FIELD.type),
            VECTOR: vectors_to_arrow(vectors, pa.float32()),
        }
    )
    return mark_chunk(table, Chunk(part, (first - begin) // CHUNK, last))


def plain(store: str, factory: str, output: str) -> dict[str, float]:
    """What a careful script does: train on the rows that albeam takes, add part by part."""
    import faiss
    import pyarrow.parquet as pq

    from transforms.index.shard_layout import even_rows
    from transforms.index.vector.faiss_factory import kind_of

    parts = sorted(Path(store, "segments", "vectors", "vectors").glob("*.parquet"))
    counts = [pq.ParquetFile(part).metadata.num_rows for part in parts]
    wanted = even_rows(sum(counts), kind_of(factory, DIM).training)
    began = time.perf_counter()
    index = faiss.index_factory(DIM, factory, faiss.METRIC_INNER_PRODUCT)
    sample, first = [], 0
    for chunk in (chunk for part in parts for chunk in _read(part)):
        mine = wanted[(wanted >= first) & (wanted < first + len(chunk))]
        sample.append(chunk[mine - first])
        first += len(chunk)
    index.train(np.concatenate(sample))
    for part in parts:
        for chunk in _read(part):
            index.add(chunk)
    faiss.write_index(index, output)
    return {"seconds": time.perf_counter() - began}


def _read(part: Path) -> Iterator[Vectors]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(part).iter_batches(CHUNK, columns=["vector"]):
        values = batch.column(0).flatten().to_numpy(zero_copy_only=False)
        yield np.ascontiguousarray(values.reshape(-1, DIM).astype(np.float32))


def ours(store: str, factory: str, target: float) -> dict[str, Any]:
    """``albeam index``, by the direct runner."""
    from pipeline.maintenance.index import run
    from transforms.index.options import IndexOptions

    began = time.perf_counter()
    done = run(store, IndexOptions(factory, target))
    return {"seconds": time.perf_counter() - began, "bytes": done.bytes, "recall": done.recall}


def opening(store: str, rows: int, seed: int) -> dict[str, Any]:
    """Opening and the first answer, in a process that does nothing else."""
    from transforms.search.store import Store

    queries = vectors_of(rows, rows, 1, seed)
    began = time.perf_counter()
    Store.open(store).nearest(queries, 10)
    return {"open_and_answer_seconds": time.perf_counter() - began}


def searching(store: str, rows: int, seed: int) -> dict[str, Any]:
    """One query at a time, and recall on queries that were never seen."""
    from transforms.catalog.layout import SegmentPaths
    from transforms.catalog.parts import read_vectors
    from transforms.index.vector import faiss_search
    from transforms.search.store import Store

    queries = vectors_of(rows, rows, 400, seed)
    opened = Store.open(store)
    opened.nearest(queries[:1], 10)
    times = []
    for query in queries:
        began = time.perf_counter()
        opened.nearest(query[None], 10)
        times.append(time.perf_counter() - began)
    _, found = opened.nearest(queries, 10)
    [info] = opened.segments
    chunks = read_vectors(SegmentPaths(store, info.name), info.parts)
    _, exact = faiss_search.exact_search(chunks, queries, 10)
    hits = sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist(), strict=True))
    settings = info.index.settings if info.index is not None else ()
    return {
        "query_milliseconds": 1000 * statistics.median(times),
        "recall_at_10_unseen": hits / exact.size,
        "settings": [asdict(setting) for setting in settings],
    }


def batch(store: str, questions: int, folder: str) -> dict[str, Any]:
    """``albeam search --output`` on a batch of questions, beside a script that does the same.

    The script embeds the questions by the same encoder and gives all vectors to FAISS at once, with
    the setting that the manifest says.
    """
    import faiss
    import pyarrow.parquet as pq

    from pipeline.bench.corpora import paragraphs
    from pipeline.search.batch_search import run
    from transforms.catalog.layout import SegmentPaths
    from transforms.index.vector.faiss_search import search_index
    from transforms.search.batch_search import SearchOptions
    from transforms.search.options import RankOptions
    from transforms.search.store import Store

    asked = [" ".join(text.split()[:10]) for text in paragraphs(questions)]
    file, output = f"{folder}/questions.parquet", f"{folder}/run.parquet"
    pq.write_table(pa.table({"question": asked}), file)
    opened = Store.open(store)
    [info] = opened.segments
    assert info.index is not None
    opened.encoder.encode_texts(asked[:8])
    files = [
        str(Path(SegmentPaths(store, info.name).index, shard.file.name))
        for shard in info.index.shards
    ]
    value = info.index.settings[0].value_for(True) if info.index.settings else 0
    options = SearchOptions(store, opened.snapshot.number, RankOptions(100))
    few = f"{folder}/few.parquet"
    pq.write_table(pa.table({"question": asked[:1]}), few)
    seconds: dict[str, list[float]] = {"start": [], "job": [], "encode": [], "search": []}
    for _ in range(2):
        began = time.perf_counter()
        run(options, None, few, output)
        seconds["start"].append(time.perf_counter() - began)
        began = time.perf_counter()
        run(options, None, file, output)
        seconds["job"].append(time.perf_counter() - began)
        began = time.perf_counter()
        vectors = opened.encoder.encode_texts(asked)
        seconds["encode"].append(time.perf_counter() - began)
        began = time.perf_counter()
        for path in files:
            search_index(faiss.read_index(path), vectors, 100, None, value)
        seconds["search"].append(time.perf_counter() - began)
    best = {name: min(each) for name, each in seconds.items()}
    return {
        "batch_questions": questions,
        "batch_job_seconds": best["job"],
        "batch_start_seconds": best["start"],
        "batch_encode_seconds": best["encode"],
        "batch_plain_seconds": best["search"],
        "batch_ratio": best["job"] / (best["encode"] + best["search"]),
        "batch_ratio_of_search": (best["job"] - best["start"] - best["encode"]) / best["search"],
    }


_AUTOFAISS = """
import json, sys, time
import numpy as np
from autofaiss import build_index
import faiss
folder, milliseconds = sys.argv[1], float(sys.argv[2])
rows, queries, exact = (np.load(f"{folder}/{name}.npy") for name in ("rows", "queries", "exact"))
began = time.perf_counter()
index, infos = build_index(
    rows, save_on_disk=False, metric_type="ip", max_index_query_time_ms=milliseconds,
    max_index_memory_usage="8GB", current_memory_available="12GB", verbose=40,
)
built = time.perf_counter() - began
size = len(faiss.serialize_index(index))
found = index.search(queries, 10)[1]
times = []
for query in queries:
    began = time.perf_counter()
    index.search(query[None], 10)
    times.append(time.perf_counter() - began)
hits = sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist()))
print(json.dumps({
    "autofaiss_key": str(infos.get("index_key", "")), "autofaiss_seconds": built,
    "autofaiss_bytes": size, "autofaiss_recall_at_10": hits / exact.size,
    "autofaiss_query_milliseconds": 1000 * sorted(times)[len(times) // 2],
}))
"""


def beside_autofaiss(
    python: str, store: str, rows: int, seed: int, milliseconds: float, folder: str
) -> dict[str, Any]:
    """autofaiss on the same vectors in memory, given our time a query as its bound.

    ``python`` is an interpreter that has it: it wants another numpy than albeam.
    """
    from transforms.index.vector import faiss_search

    chunks = [
        chunk for part in sorted(Path(store).rglob("part-*.parquet")) for chunk in _read(part)
    ]
    vectors = np.concatenate(chunks)
    queries = vectors_of(rows, rows, 400, seed)
    _, exact = faiss_search.exact_search([vectors], queries, 10)
    for name, array in (("rows", vectors), ("queries", queries), ("exact", exact)):
        np.save(f"{folder}/{name}.npy", array)
    words = [python, "-c", _AUTOFAISS, folder, str(milliseconds)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"autofaiss failed: {done.stderr[-2_000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _child(*words: str) -> dict[str, Any]:
    """Run a step in a process of its own; what it returns, and its peak memory."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.bench.index_build", "--step", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{words[0]} failed: {done.stderr[-2_000:]}")
    value: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return value


def _step(words: list[str]) -> None:
    name, store, *rest = words
    if name == "make":
        make_store(store, int(rest[0]), int(rest[1]))
        found: dict[str, Any] = {}
    elif name == "plain":
        found = plain(store, rest[0], rest[1])
    elif name == "ours":
        found = ours(store, rest[0], float(rest[1]))
    elif name == "batch":
        found = batch(store, int(rest[0]), rest[1])
    elif name == "autofaiss":
        count, seed, milliseconds = int(rest[1]), int(rest[2]), float(rest[3])
        found = beside_autofaiss(rest[0], store, count, seed, milliseconds, rest[4])
    elif name == "open":
        found = opening(store, int(rest[0]), int(rest[1]))
    else:
        found = searching(store, int(rest[0]), int(rest[1]))
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    print(json.dumps(found | {"peak_bytes": peak}))


def compare(options: argparse.Namespace, work: str) -> dict[str, Any]:
    """albeam beside the script, on as many rows."""
    store, rows, seed = f"{work}/store", str(options.rows), str(options.seed)
    _child("make", store, rows, seed)
    rounds = []
    for turn in range(options.rounds):
        left = _child("plain", store, options.factory, f"{work}/plain.faiss")
        # Another target is another index: what stands is not taken up.
        target = str(options.recall_target - turn * 1e-6)
        rounds.append((left, _child("ours", store, options.factory, target)))
    found = _asked(store, rows, seed)
    peak = found.pop("peak_bytes")
    batched = _child("batch", store, str(options.questions), work)
    # Plain FAISS is in the same process.
    del batched["peak_bytes"]
    found |= batched
    if options.autofaiss:
        bound = str(found["query_milliseconds"])
        auto = _child("autofaiss", store, options.autofaiss, rows, seed, bound, work)
        del auto["peak_bytes"]
        found |= auto
    return {
        "rows": options.rows,
        "dim": DIM,
        "factory": options.factory,
        "plain_seconds": [left["seconds"] for left, _ in rounds],
        "albeam_seconds": [right["seconds"] for _, right in rounds],
        "build_ratio": statistics.median(r["seconds"] / left["seconds"] for left, r in rounds),
        "plain_peak_bytes": max(left["peak_bytes"] for left, _ in rounds),
        "albeam_peak_bytes": max(peak, *(right["peak_bytes"] for _, right in rounds)),
        "albeam_bytes": rounds[-1][1]["bytes"],
        "recall_at_10_measured": rounds[-1][1]["recall"],
        **found,
    }


def grow(options: argparse.Namespace, work: str, seconds: float) -> dict[str, Any]:
    """The same index of more rows, where ``options.rows`` of them took so many seconds."""
    store, rows, seed = f"{work}/larger", str(options.then), str(options.seed)
    _child("make", store, rows, seed)
    made = _child("ours", store, options.factory, str(options.recall_target))
    found = _asked(store, rows, seed)
    peak = max(made["peak_bytes"], found.pop("peak_bytes"))
    row, before = made["seconds"] / options.then, seconds / options.rows
    found |= {"rows": options.then, "seconds": made["seconds"], "albeam_peak_bytes": peak}
    found |= {"recall_at_10_measured": made["recall"], "cost_per_row": row / before}
    return {f"then_{name}": value for name, value in found.items()}


def _asked(store: str, rows: str, seed: str) -> dict[str, Any]:
    """What opening and searching a store take, each in a process of its own."""
    # The first opening looks at all checksums, which are remembered.
    opened = [_child("open", store, rows, seed) for _ in range(2)][-1]
    found = _child("search", store, rows, seed)
    return opened | found | {"peak_bytes": max(opened["peak_bytes"], found["peak_bytes"])}


#: What is to be reached; what was measured on more rows too counts there.
BOUNDS = (
    Target("build_ratio", 1.15, below=True),
    Target("albeam_peak_bytes", 3e9, below=True),
    Target("cost_per_row", 1.1, below=True),
    Target("recall_at_10_unseen", 0.95),
    Target("open_and_answer_seconds", 2.0, below=True),
    Target("query_milliseconds", 10.0, below=True),
    Target("batch_ratio", 1.2, below=True),
)


def judge(report: dict[str, Any]) -> list[str]:
    """A line for each bound whose figure was measured."""
    lines = []
    for bound in BOUNDS:
        target = replace(bound, measured=report.get(f"then_{bound.name}", report.get(bound.name)))
        if target.measured is not None:
            found = "reached" if target.passed else "missed"
            sign = "at most" if target.below else "at least"
            lines.append(
                f"{found:<8} {target.name}: {target.measured:.4g}, {sign} {target.bound:g}"
            )
    return lines


def main() -> int:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--then", type=int, metavar="ROWS", help="build so many too, see above")
    parser.add_argument("--factory", default="IVF4096,SQ8")
    parser.add_argument("--recall-target", type=float, default=0.95)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--questions", type=int, default=5_000, help="of the batch search")
    parser.add_argument("--autofaiss", metavar="PYTHON", help="an interpreter that has autofaiss")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        _step(options.step)
        return 0
    with tempfile.TemporaryDirectory(prefix="albeam-bench-") as work:
        os.environ["HOME"] = work
        report = compare(options, work)
        if options.then:
            report |= grow(options, work, statistics.median(report["albeam_seconds"]))
    for name, value in report.items():
        print(f"{name:<28} {value}")
    print(*judge(report), sep="\n")
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
