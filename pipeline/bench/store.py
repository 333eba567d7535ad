"""What it costs to keep a store up to date, as shares of what it costs to make it."""

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.bench.corpora import paragraphs
from pipeline.ingest.embed import run as embed
from pipeline.ingest.options import EmbedOptions
from transforms.models.options import DEFAULT_MODEL, ModelOptions
from transforms.search.store import Store

_OPENED = 5


@dataclass(frozen=True)
class StoreOptions:
    """What is embedded to see what keeping it costs.

    Attributes:
        rows: of the corpus that is synchronized.
        parts: of the store that is opened.
        model: which embeds.
    """

    rows: int = 20_000
    parts: int = 1_000
    model: str = DEFAULT_MODEL


def measure_store(options: StoreOptions) -> dict[str, Any]:
    """Seconds of embedding a corpus, of a sync of it and with 1 % changed; and of opening a store.

    Returns:
        ``rows``; ``embed_seconds``; ``unchanged_share`` and ``changed_share``, of those seconds;
        ``parts``, and ``open_seconds`` until a store of so many is open and its live documents are
        known.
    """
    with tempfile.TemporaryDirectory(prefix="albeam-bench-") as work:
        seconds = _sync(options, Path(work))
        opened = _open(options, Path(work))
    return {
        "rows": options.rows,
        "embed_seconds": seconds[0],
        "unchanged_share": seconds[1] / seconds[0],
        "changed_share": seconds[2] / seconds[0],
        "parts": options.parts,
        "open_seconds": opened,
    }


def _sync(options: StoreOptions, work: Path) -> list[float]:
    """Seconds of three runs: of a new corpus, of the same one written anew, of 1 % changed."""
    texts = paragraphs(options.rows)
    # What is loaded and compiled once is not the corpus' cost.
    _embed(options, work / "first", _write(work / "first.parquet", texts[:50]))
    store, seconds = work / "store", []
    for name in ("new", "same", "other"):
        if name == "other":
            fresh = paragraphs(len(texts[::100]), seed=1)
            texts = [fresh[n // 100] if n % 100 == 0 else text for n, text in enumerate(texts)]
        seconds.append(_embed(options, store, _write(work / f"{name}.parquet", texts)))
    return seconds


def _open(options: StoreOptions, work: Path) -> float:
    """Seconds until a store of many parts is open, the median of a few."""
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
