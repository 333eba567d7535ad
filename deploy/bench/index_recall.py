"""Recall of approximate indexes on real vectors, for questions that their settings never saw.

The corpora of the data folder are embedded once by the default model, without an index; each
factory is then built and measured as ``albeam index`` does, and asked what people asked. Run on
Linux.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

CORPORA = ("squad_dev/passages", "medquad/passages", "squad_train/passages", "text/paragraphs")
QUESTIONS = ("squad_dev/questions.parquet", "medquad/questions.parquet")
FACTORIES = (
    *("HNSW32", "IVF1024,SQ8"),
    *("RR384,IVF1024,PQ128x4fsr", "RR384,IVF512,PQ128x4fsr", "RR384,IVF256,PQ128x4fsr"),
)


def make_corpus(data: Path, folder: Path, corpora: Sequence[str] = CORPORA) -> list[str]:
    """The corpora's ids and texts, each id told apart by its corpus."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = []
    for name in corpora:
        table = pq.read_table(data / f"{name}.parquet", columns=["id", "text"])
        ids = pa.array([f"{name}/{each}" for each in table["id"].to_pylist()])
        files.append(str(folder / f"{name.replace('/', '-')}.parquet"))
        pq.write_table(table.set_column(0, "id", ids), files[-1])
    return files


def embed(files: list[str], store: str) -> None:
    """All of it by the default model, without an index."""
    from pipeline.ingest.embed import run
    from pipeline.ingest.options import EmbedOptions
    from transforms.index.options import IndexOptions, LexicalOptions
    from transforms.models.options import DEFAULT_MODEL, ModelOptions

    model, without = ModelOptions(DEFAULT_MODEL), LexicalOptions("none")
    run(EmbedOptions(tuple(files), store, model, index=IndexOptions("none"), lexical=without))


def ask(store: str, data: Path, count: int) -> npt.NDArray[np.float32]:
    """Vectors of an even sample of the questions."""
    import pyarrow.parquet as pq

    from transforms.search.store import Store

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
    """Build one index; its recall beside exact search, and the median time of one query."""
    from pipeline.maintenance.index import run
    from transforms.catalog.layout import SegmentPaths
    from transforms.catalog.parts import read_vectors
    from transforms.index.options import IndexOptions
    from transforms.index.vector import faiss_search
    from transforms.search.store import Store

    began = time.perf_counter()
    built = run(store, IndexOptions(factory, target))
    seconds = time.perf_counter() - began
    opened = Store.open(store)
    [info] = opened.segments
    chunks = read_vectors(SegmentPaths(store, info.name), info.parts)
    _, exact = faiss_search.exact_search(chunks, queries, 10)
    _, found = opened.nearest(queries, 10)
    hits = sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist(), strict=True))
    times = []
    for query in queries[:200]:
        began = time.perf_counter()
        opened.nearest(query[None], 10)
        times.append(time.perf_counter() - began)
    return {
        "factory": factory,
        "rows": info.rows,
        "recall_target": target,
        "recall_at_10_measured": built.recall,
        "recall_at_10_unseen": hits / exact.size,
        "query_milliseconds": 1000 * statistics.median(times),
        "build_seconds": seconds,
        "bytes": built.bytes,
    }


def main() -> int:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="with the corpora's folders")
    parser.add_argument(
        "--store",
        help="where the vectors lie or shall lie (default: nowhere); an index there is taken up",
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
