"""Measure ``albeam serve`` by a load from another process on this machine.

`python -m deploy.bench.serve --data FOLDER` asks a store of SQuAD's development paragraphs with one
client and with sixteen, and one of a million synthetic passages with eight; embeds short texts, by
turns with sentence-transformers behind FastAPI; and starts the service on the demo's store. With
``--soak MINUTES`` it asks that long while snapshots come, some of them damaged, clients vanish and
a worker is killed, and compares each answer with the snapshot that it names. ``--json FILE`` writes
the figures. The exit code is 1 if a target is missed. Run it on a quiet machine with Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from deploy.bench.search_latency import texts_of
from deploy.bench.serve.load import Load, run_load
from deploy.bench.serve.services import running, serving
from deploy.bench.serve.soak import soak
from deploy.bench.synthetic_store import make_store
from pipeline.demo import write_corpus
from pipeline.ingest.embed import run as embed
from pipeline.ingest.options import EmbedOptions
from pipeline.maintenance.index import run as index
from pipeline.maintenance.options import IndexCommandOptions
from transforms.catalog.options import ColumnOptions
from transforms.index.options import IndexOptions, LexicalOptions
from transforms.models.options import DEFAULT_MODEL, ModelOptions
from transforms.models.resolve import find_folder

PARTS = ("squad", "million", "embeddings", "ready", "soak")
#: The least, or the most, of each figure, by its part and name.
TARGETS = {
    ("squad", "sixteen", "requests_per_second"): ("least", 150.0),
    ("squad", "sixteen", "p95"): ("most", 200.0),
    ("squad", "one", "p50"): ("most", 15.0),
    ("million", "eight", "p95"): ("most", 250.0),
    ("embeddings", "times", "median"): ("least", 1.5),
    ("ready", "start", "seconds"): ("most", 3.0),
}
_TEXTS_OF_A_REQUEST, _ROUNDS, _STARTS = 32, 5, 3
#: The sizes of a batch that the peer is tried with, and the clients that ask at once.
_BATCHES, _EMBEDDING_CLIENTS = (8, 32), 4


def measure_squad(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Return the figures of hybrid searches over SQuAD's paragraphs."""
    bodies = [{"question": each} for each in _questions(options.data)]
    with serving(_squad(options.data, work)) as service:
        return {
            name: run_load(Load(service.port, "/search", bodies, clients, options.seconds))
            for name, clients in (("one", 1), ("sixteen", 16))
        }


def measure_million(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Return the figures of hybrid searches over synthetic passages."""
    store = work / f"synthetic-{options.rows}"
    if not (store / "indexed").exists():
        make_store(str(store), options.rows, 0, texts_of(options.data, 0))
        index(str(store), IndexCommandOptions(None, LexicalOptions()))
        index(str(store), IndexCommandOptions(IndexOptions("auto")))
        (store / "indexed").touch()
    bodies = [{"question": each} for each in _questions(options.data)]
    with serving(str(store)) as service:
        load = Load(service.port, "/search", bodies, 8, options.seconds, options.seconds / 4)
        return {"rows": options.rows, "eight": run_load(load)}


def measure_embeddings(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Return texts a second of albeam and of its peer, by turns, each at its best."""
    texts = _questions(options.data)
    size = _TEXTS_OF_A_REQUEST
    bodies = [{"input": texts[i : i + size]} for i in range(0, len(texts) - size, size)]
    seconds = options.seconds / _ROUNDS

    def speed(port: int) -> float:
        load = Load(port, "/v1/embeddings", bodies, _EMBEDDING_CLIENTS, seconds, 1.0)
        found = run_load(load)
        assert not found["errors"], found["errors"][:1]
        return float(size * found["requests_per_second"])

    folder = str(find_folder(ModelOptions(DEFAULT_MODEL)))
    peer = [sys.executable, "-m", "deploy.bench.serve.peer", folder]
    tried: dict[int, float] = {}
    for batch in _BATCHES:
        with running([*peer, str(batch)]) as service:
            tried[batch] = speed(service.port)
    best = max(tried, key=lambda batch: tried[batch])
    ours, theirs = [], []
    with serving(_squad(options.data, work)) as albeam, running([*peer, str(best)]) as other:
        for _ in range(_ROUNDS):
            ours.append(speed(albeam.port))
            theirs.append(speed(other.port))
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "texts_per_second": {"albeam": statistics.median(ours), "peer": statistics.median(theirs)},
        "peer_by_batch": tried,
        "times": {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)},
    }


def measure_ready(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Return the seconds from the start of a service on the demo's store until it is ready."""
    del options
    corpus = work / "demo-corpus"
    if not corpus.exists():
        write_corpus(corpus)
    store = _embedded(corpus, work / "demo", ColumnOptions(all_columns=True))
    seconds = []
    for _ in range(_STARTS):
        with serving(store) as service:
            seconds.append(service.seconds)
    return {"start": {"seconds": statistics.median(seconds), "least": min(seconds)}}


def measure_soak(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Return what happened in a long load."""
    questions = _questions(options.data)
    with tempfile.TemporaryDirectory(prefix="soak-", dir=work) as folder:
        store = _squad(options.data, work)
        return soak(store, questions[::37], 60 * options.soak, Path(folder))


MEASURES: dict[str, Callable[[argparse.Namespace, Path], dict[str, Any]]] = {
    "squad": measure_squad,
    "million": measure_million,
    "embeddings": measure_embeddings,
    "ready": measure_ready,
    "soak": measure_soak,
}


def judge(found: dict[str, Any]) -> list[str]:
    """Return a sentence for each target that is missed, and for requests that failed."""
    missed = []
    for (part, name, figure), (bound, limit) in TARGETS.items():
        value = found.get(part, {}).get(name, {}).get(figure)
        if part in found and (value is None or (value < limit) == (bound == "least")):
            missed.append(f"{part} {name}: {figure} is {value}, and {limit:g} is the {bound}")
    for part, each in found.items():
        for name, load in each.items():
            if isinstance(load, dict) and load.get("errors"):
                missed.append(f"{part} {name}: {len(load['errors'])} requests failed")
    return missed + found.get("soak", {}).get("missed", [])


def _squad(data: Path, work: Path) -> str:
    """Return the store of SQuAD's development paragraphs, which is made once."""
    return _embedded(data / "squad_dev" / "passages.parquet", work / "squad", ColumnOptions())


def _embedded(corpus: Path, store: Path, columns: ColumnOptions) -> str:
    """Return a store of the default model, which is made once."""
    if not (store / "snapshots").exists():
        model = ModelOptions(DEFAULT_MODEL)
        embed(EmbedOptions((str(corpus),), str(store), model, columns))
    return str(store)


def _questions(data: Path) -> list[str]:
    file = data / "squad_dev" / "questions.parquet"
    found: list[str] = pq.read_table(file, columns=["question"]).column(0).to_pylist()
    return found


def main() -> int:
    """Read the arguments, measure and print; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("ALBEAM_DATA") or "../shared/data"
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--work", type=Path, help="keep the stores here for the next time")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each load")
    parser.add_argument("--rows", type=int, default=1_000_000, help="synthetic passages")
    parser.add_argument("--soak", type=float, default=0.0, metavar="MINUTES")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--skip", nargs="*", choices=PARTS, default=[], metavar="PART")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    skipped = {*options.skip, *([] if options.soak else ["soak"])}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="albeam-") as folder:
        work = options.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            if part in options.only and part not in skipped:
                found[part] = MEASURES[part](options, work)
                print(json.dumps({part: found[part]}), flush=True)
    missed = judge(found)
    for line in missed:
        print(f"missed: {line}")
    report = {"cores": os.cpu_count(), "missed": missed} | found
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1), encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
