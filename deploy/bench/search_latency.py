"""Time searches of a large store, one question at a time, in each mode, encoder included.

The vectors are synthetic. The texts are random combinations of sentences of real paragraphs, so
that lexical search has work too. `make bench-hybrid` runs this script; ``--json FILE`` writes the
figures. The exit code is 1 if a hybrid search exceeds its target. Run on Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from deploy.bench.synthetic_store import make_store
from transforms.index.lexical.tantivy_index import LexicalIndex
from transforms.index.lexical.word_ranking import AT_ONCE

MODES = ("hybrid", "dense", "lexical")
#: The target: median milliseconds of a hybrid search on a CPU.
_MOST = 60.0
_SENTENCES = 4
_LONGEST = 700


def texts_of(data: Path, seed: int) -> Iterator[str]:
    """Yield paragraphs without end, made of sentences of all corpora."""
    import pyarrow.parquet as pq

    sentences: list[str] = []
    for file in sorted(data.glob("*/passages.parquet")):
        for text in pq.read_table(file, columns=["text"]).column(0).to_pylist():
            sentences += re.split(r"(?<=[.?!]) ", text)
    rng = np.random.default_rng(seed)
    while True:
        for places in rng.integers(0, len(sentences), (1_000, _SENTENCES)):
            yield " ".join(sentences[place] for place in places)[:_LONGEST]


def measure(store: str, questions: list[str]) -> dict[str, Any]:
    """Return median and 95th percentile of one search in each mode, in milliseconds."""
    from transforms.search.store import Store

    started = time.perf_counter()
    opened = Store.open(store)
    opened.search(questions[:1])
    found: dict[str, Any] = {"open_and_answer_seconds": time.perf_counter() - started}
    opened.search(questions[:8])
    times: dict[str, list[float]] = {mode: [] for mode in (*MODES, "encode")}
    for question in questions:
        # In turn, so that other load affects all of them.
        for mode in MODES:
            started = time.perf_counter()
            opened.search([question], 10, mode)
            times[mode].append(1000 * (time.perf_counter() - started))
        started = time.perf_counter()
        opened.encoder.encode_texts([question])
        times["encode"].append(1000 * (time.perf_counter() - started))
    found["lexical_ten_kept"] = ten_kept(opened.lexical, questions)
    for name, each in times.items():
        found[f"{name}_milliseconds"] = statistics.median(each)
        found[f"{name}_milliseconds_95"] = statistics.quantiles(each, n=20)[-1]
    return found


def ten_kept(index: LexicalIndex, questions: list[str]) -> float:
    """Return the share of the ten best by all words that a search by rare words finds."""
    kept = []
    for question in questions:
        # A search for so many uses all words, however large the corpus is.
        _, best = index.search(question, 1 + AT_ONCE)
        _, found = index.search(question, 10)
        kept.append(float(np.isin(best[:10], found).mean()) if len(best) else 1.0)
    return statistics.mean(kept)


def main() -> int:
    """Read the arguments, measure and print; return 1 if the target is missed."""
    import pyarrow.parquet as pq

    from pipeline.maintenance.index import run as index
    from pipeline.maintenance.options import IndexCommandOptions
    from transforms.index.options import IndexOptions, LexicalOptions

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--factory", default="auto")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", default=os.environ.get("ALBEAM_DATA") or "../shared/data")
    parser.add_argument("--store", help="write the store here, or use the one that is here")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    data = Path(options.data)
    with tempfile.TemporaryDirectory(prefix="albeam-") as folder:
        store = options.store or f"{folder}/store"
        found: dict[str, Any] = {"rows": options.rows, "cores": os.cpu_count()}
        if not Path(store, "snapshots").exists():
            make_store(store, options.rows, options.seed, texts_of(data, options.seed))
            started = time.perf_counter()
            index(store, IndexCommandOptions(None, LexicalOptions()))
            found["lexical_index_seconds"] = time.perf_counter() - started
            started = time.perf_counter()
            index(store, IndexCommandOptions(IndexOptions(options.factory)))
            found["index_seconds"] = time.perf_counter() - started
        asked = pq.read_table(data / "squad_dev" / "questions.parquet", columns=["question"])
        step = max(1, asked.num_rows // options.questions)
        found |= measure(store, asked.column(0).to_pylist()[::step])
    for name, value in found.items():
        print(f"{name:32} {value}")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1))
    if found["hybrid_milliseconds"] > _MOST:
        milliseconds = found["hybrid_milliseconds"]
        print(f"missed: a hybrid search takes {milliseconds:.0f} ms, more than {_MOST}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
