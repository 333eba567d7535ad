"""The steps of `deploy.bench.index_build`, each run in a process of its own.

``python -m deploy.bench.index_steps STEP STORE ARGUMENT…`` prints one line of JSON with the figures
of the step and the peak memory of the process. Each step imports what it needs itself, so that its
memory holds nothing else.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deploy.bench.synthetic_vectors import DIM, Vectors, vectors_of
from transforms.index.shard_layout import even_rows
from transforms.index.vector.faiss_factory import kind_of

if TYPE_CHECKING:
    from transforms.search.store import Store

#: Queries that no setting of an index has seen.
_UNSEEN = 400
#: Rows that a script reads at once.
_ROWS = 8_192


def make(store: str, rows: str, seed: str) -> dict[str, Any]:
    """Write a store without an index."""
    from deploy.bench.synthetic_store import make_store

    make_store(store, int(rows), int(seed))
    return {}


def plain(store: str, factory: str, output: str) -> dict[str, Any]:
    """Build the index as a careful FAISS script: train on albeam's rows, then add part by part."""
    parts = sorted(Path(store, "segments", "vectors", "vectors").glob("*.parquet"))
    counts = [pq.ParquetFile(part).metadata.num_rows for part in parts]
    wanted = even_rows(sum(counts), kind_of(factory, DIM).training)
    started = time.perf_counter()
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
    return {"seconds": time.perf_counter() - started}


def albeam(store: str, factory: str, target: str) -> dict[str, Any]:
    """Build the index by ``albeam index``, on the direct runner."""
    from pipeline.maintenance.index import run
    from pipeline.maintenance.options import IndexCommandOptions
    from transforms.index.options import IndexOptions

    started = time.perf_counter()
    done = run(store, IndexCommandOptions(IndexOptions(factory, float(target))))
    return {"seconds": time.perf_counter() - started, "bytes": done.bytes, "recall": done.recall}


def open_store(store: str, rows: str, seed: str) -> dict[str, Any]:
    """Time opening the store and the first answer."""
    from transforms.search.store import Store

    queries = vectors_of(int(rows), int(rows), 1, int(seed))
    started = time.perf_counter()
    Store.open(store).nearest(queries, 10)
    return {"open_and_answer_seconds": time.perf_counter() - started}


def search(store: str, rows: str, seed: str) -> dict[str, Any]:
    """Time one query at a time, and measure recall on queries that the index has not seen."""
    from transforms.search.store import Store

    opened = Store.open(store)
    milliseconds, recall = measure_queries(
        opened, vectors_of(int(rows), int(rows), _UNSEEN, int(seed))
    )
    [info] = opened.segments
    settings = info.index.settings if info.index is not None else ()
    return {
        "query_milliseconds": milliseconds,
        "recall_at_10_unseen": recall,
        "settings": [asdict(setting) for setting in settings],
    }


def measure_queries(opened: Store, queries: Vectors, timed: int = _UNSEEN) -> tuple[float, float]:
    """Return the median milliseconds of a query and recall@10, of a store with one segment."""
    from transforms.catalog.layout import SegmentPaths
    from transforms.catalog.parts import read_vectors
    from transforms.index.vector.exact_ranking import exact_search

    opened.nearest(queries[:1], 10)
    times = []
    for query in queries[:timed]:
        started = time.perf_counter()
        opened.nearest(query[None], 10)
        times.append(time.perf_counter() - started)
    _, found = opened.nearest(queries, 10)
    [info] = opened.segments
    chunks = read_vectors(SegmentPaths(opened.url, info.name), info.parts)
    _, exact = exact_search(chunks, queries, 10)
    hits = sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist(), strict=True))
    return 1000 * statistics.median(times), hits / exact.size


def batch(store: str, questions: str, folder: str) -> dict[str, Any]:
    """Compare ``albeam search --output`` on many questions with a script that does the same.

    The script embeds the questions with the same encoder. It gives all vectors to FAISS at once,
    with the setting of the manifest.
    """
    from pipeline.bench.corpora import paragraphs
    from pipeline.search.batch_search import run
    from transforms.catalog.layout import SegmentPaths
    from transforms.index.vector.faiss_search import search_index
    from transforms.search.options import RankOptions, SearchOptions
    from transforms.search.store import Store

    asked = [" ".join(text.split()[:10]) for text in paragraphs(int(questions))]
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

    def timed(name: str, call: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = call()
        seconds[name].append(time.perf_counter() - started)
        return result

    def search_files(vectors: Vectors) -> None:
        for path in files:
            search_index(faiss.read_index(path), vectors, 100, None, value)

    for _ in range(2):
        timed("start", lambda: run(options, None, few, output))
        timed("job", lambda: run(options, None, file, output))
        vectors = timed("encode", lambda: opened.encoder.encode_texts(asked))
        timed("search", lambda vectors=vectors: search_files(vectors))
    best = {name: min(each) for name, each in seconds.items()}
    return {
        "batch_questions": int(questions),
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
started = time.perf_counter()
index, infos = build_index(
    rows, save_on_disk=False, metric_type="ip", max_index_query_time_ms=milliseconds,
    max_index_memory_usage="8GB", current_memory_available="12GB", verbose=40,
)
built = time.perf_counter() - started
size = len(faiss.serialize_index(index))
found = index.search(queries, 10)[1]
times = []
for query in queries:
    started = time.perf_counter()
    index.search(query[None], 10)
    times.append(time.perf_counter() - started)
hits = sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist()))
print(json.dumps({
    "autofaiss_key": str(infos.get("index_key", "")), "autofaiss_seconds": built,
    "autofaiss_bytes": size, "autofaiss_recall_at_10": hits / exact.size,
    "autofaiss_query_milliseconds": 1000 * sorted(times)[len(times) // 2],
}))
"""


def autofaiss(
    store: str, python: str, rows: str, seed: str, milliseconds: str, folder: str
) -> dict[str, Any]:
    """Run autofaiss on the same vectors in memory, with albeam's time for a query as its bound.

    Args:
        store: the store of the vectors.
        python: an interpreter that has autofaiss, which needs another numpy than albeam.
        rows: rows of the store.
        seed: of the vectors.
        milliseconds: the bound.
        folder: for the arrays that the interpreter reads.
    """
    from transforms.index.vector.exact_ranking import exact_search

    chunks = [
        chunk for part in sorted(Path(store).rglob("part-*.parquet")) for chunk in _read(part)
    ]
    vectors = np.concatenate(chunks)
    queries = vectors_of(int(rows), int(rows), _UNSEEN, int(seed))
    _, exact = exact_search([vectors], queries, 10)
    for name, array in (("rows", vectors), ("queries", queries), ("exact", exact)):
        np.save(f"{folder}/{name}.npy", array)
    words = [python, "-c", _AUTOFAISS, folder, milliseconds]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"autofaiss failed: {done.stderr[-2_000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _read(part: Path) -> Iterator[Vectors]:
    for batch in pq.ParquetFile(part).iter_batches(_ROWS, columns=["vector"]):
        values = batch.column(0).flatten().to_numpy(zero_copy_only=False)
        yield np.ascontiguousarray(values.reshape(-1, DIM).astype(np.float32))


STEPS: dict[str, Callable[..., dict[str, Any]]] = {
    "make": make,
    "plain": plain,
    "albeam": albeam,
    "open": open_store,
    "search": search,
    "batch": batch,
    "autofaiss": autofaiss,
}


def run_step(*words: str) -> dict[str, Any]:
    """Run a step in a process of its own; return its figures and its ``peak_bytes``."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.bench.index_steps", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{words[0]} failed: {done.stderr[-2_000:]}")
    value: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return value


def main(words: list[str]) -> None:
    """Run a step in this process, and print its figures."""
    found = STEPS[words[0]](*words[1:])
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    print(json.dumps(found | {"peak_bytes": peak}))


if __name__ == "__main__":
    main(sys.argv[1:])
