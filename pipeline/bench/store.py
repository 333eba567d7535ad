"""Measure the cost of keeping a store up to date, as shares of the cost of creating it."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.bench.corpora import paragraphs
from pipeline.bench.options import StoreOptions
from pipeline.ingest.embed import run as embed
from pipeline.ingest.options import EmbedOptions
from transforms.models.options import ModelOptions
from transforms.search.store import Store

#: How often a store is opened; the median counts.
_OPENED = 5


def measure_store(options: StoreOptions) -> dict[str, Any]:
    """Measure embedding a corpus, synchronizing it, and opening a store.

    Returns:
        ``rows``; ``embed_seconds``; ``unchanged_share`` and ``changed_share``, the time of a sync
        with nothing and with 1 % changed, as shares of ``embed_seconds``; ``parts``, and
        ``open_seconds`` until a store of so many parts is open and its live documents are known.
    """
    with tempfile.TemporaryDirectory(prefix="albeam-bench-") as work:
        new, same, changed = _time_syncs(options, Path(work))
        opened = _time_opening(options, Path(work))
    return {
        "rows": options.rows,
        "embed_seconds": new,
        "unchanged_share": same / new,
        "changed_share": changed / new,
        "parts": options.parts,
        "open_seconds": opened,
    }


def _time_syncs(options: StoreOptions, work: Path) -> list[float]:
    """Return seconds of three runs: a new corpus, the same one rewritten, and with 1 % changed."""
    texts = paragraphs(options.rows)
    # A first run loads and compiles what every process loads once.
    _embed(options, work / "first", _write(work / "first.parquet", texts[:50]))
    store, seconds = work / "store", []
    for name in ("new", "same", "changed"):
        if name == "changed":
            fresh = paragraphs(len(texts[::100]), seed=1)
            texts = [fresh[n // 100] if n % 100 == 0 else text for n, text in enumerate(texts)]
        seconds.append(_embed(options, store, _write(work / f"{name}.parquet", texts)))
    return seconds


def _time_opening(options: StoreOptions, work: Path) -> float:
    """Return the median of the seconds until a store of many parts is open."""
    store, texts = work / "parts", [f"text {number}" for number in range(options.parts)]
    _embed(options, store, _write(work / "parts.parquet", texts), rows_per_part=1)
    seconds = []
    for _ in range(_OPENED):
        started = time.perf_counter()
        opened = Store.open(str(store))
        live = opened.snapshot.documents
        seconds.append(time.perf_counter() - started)
        assert live == options.parts
    return statistics.median(seconds)


def _write(path: Path, texts: list[str]) -> Path:
    ids = [f"{number:09d}" for number in range(len(texts))]
    pq.write_table(pa.table({"id": ids, "text": texts}), path)
    return path


def _embed(
    options: StoreOptions, store: Path, file: Path, rows_per_part: int | None = None
) -> float:
    started = time.perf_counter()
    embed(
        EmbedOptions(
            inputs=(str(file),),
            store=str(store),
            model=ModelOptions(options.model),
            mode="sync",
            rows_per_part=rows_per_part,
        )
    )
    return time.perf_counter() - started
