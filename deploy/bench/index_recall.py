"""Measure the recall of approximate indexes on real vectors, for questions they have not seen.

The default model embeds the corpora of the data folder once, without an index. Then each factory is
built as ``albeam index`` does, and answers questions that people asked. Run on Linux.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from deploy.bench.index_steps import measure_queries
from pipeline.ingest.embed import run as run_embed
from pipeline.ingest.options import EmbedOptions
from pipeline.maintenance.index import run as build_index
from pipeline.maintenance.options import IndexCommandOptions
from transforms.index.options import IndexOptions, LexicalOptions
from transforms.models.options import DEFAULT_MODEL, ModelOptions
from transforms.search.store import Store

CORPORA = ("squad_dev/passages", "medquad/passages", "squad_train/passages", "text/paragraphs")
QUESTIONS = ("squad_dev/questions.parquet", "medquad/questions.parquet")
FACTORIES = (
    *("HNSW32", "IVF1024,SQ8"),
    *("RR384,IVF1024,PQ128x4fsr", "RR384,IVF512,PQ128x4fsr", "RR384,IVF256,PQ128x4fsr"),
)


def make_corpus(data: Path, folder: Path, corpora: Sequence[str] = CORPORA) -> list[str]:
    """Write the ids and texts of the corpora, with the corpus in each id; return the files."""
    files = []
    for name in corpora:
        table = pq.read_table(data / f"{name}.parquet", columns=["id", "text"])
        ids = pa.array([f"{name}/{each}" for each in table["id"].to_pylist()])
        files.append(str(folder / f"{name.replace('/', '-')}.parquet"))
        pq.write_table(table.set_column(0, "id", ids), files[-1])
    return files


def embed(files: list[str], store: str) -> None:
    """Embed files with the default model, without an index."""
    model, without = ModelOptions(DEFAULT_MODEL), LexicalOptions("none")
    options = EmbedOptions(tuple(files), store, model, index=IndexOptions("none"), lexical=without)
    run_embed(options)


def ask(store: str, data: Path, count: int) -> npt.NDArray[np.float32]:
    """Return the vectors of an even sample of the questions."""
    texts = [
        text
        for name in QUESTIONS
        for text in pq.read_table(data / name, columns=["question"])["question"].to_pylist()
    ]
    chosen = texts[:: max(1, len(texts) // count)][:count]
    return Store.open(store).encoder.encode_texts(chosen)


def measure(
    store: str, factory: str, target: float, queries: npt.NDArray[np.float32]
) -> dict[str, Any]:
    """Build one index; return its recall and the median time of a query."""
    started = time.perf_counter()
    built = build_index(store, IndexCommandOptions(IndexOptions(factory, target)))
    seconds = time.perf_counter() - started
    opened = Store.open(store)
    milliseconds, recall = measure_queries(opened, queries, timed=200)
    return {
        "factory": factory,
        "rows": opened.rows,
        "recall_target": target,
        "recall_at_10_measured": built.recall,
        "recall_at_10_unseen": recall,
        "query_milliseconds": milliseconds,
        "build_seconds": seconds,
        "bytes": built.bytes,
    }


def main() -> int:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the corpora")
    parser.add_argument(
        "--store",
        help="where to write the vectors, or a store that has them (default: temporary); an index "
        "there is reused",
    )
    parser.add_argument("--corpora", nargs="+", default=CORPORA)
    parser.add_argument("--factories", nargs="+", default=FACTORIES)
    parser.add_argument("--recall-target", type=float, default=0.95)
    parser.add_argument("--questions", type=int, default=2_000)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="albeam-bench-") as work:
        store = str(Path(options.store or Path(work, "store")).absolute())
        embed(make_corpus(options.data, Path(work), options.corpora), store)
        queries = ask(store, options.data, options.questions)
        report = []
        for factory in options.factories:
            report.append(measure(store, factory, options.recall_target, queries))
            for name, value in report[-1].items():
                print(f"{name:<24} {value}")
            print(flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
