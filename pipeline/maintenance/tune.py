"""``albeam tune``: recall and latency of a store's index at each setting."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.maintenance.options import TuneOptions
from transforms.catalog.segment import SegmentInfo
from transforms.errors import BadInput
from transforms.evaluation.plots import latency_plot
from transforms.index.top_k import Rows, Scores, merge_top_k, moved
from transforms.index.vector import faiss_factory
from transforms.index.vector.recall import EXACT_AT, recall
from transforms.search.store import Store
from transforms.storage.vectors import vectors_to_numpy

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Tuned:
    """Measurement of one search-time setting.

    Attributes:
        setting: value of nprobe or efSearch; 0 if the index has no setting.
        recall_at_10: recall@10 against exact search.
        recall_at_100: recall@100 against exact search.
        milliseconds: median of one search for one vector, without the model and the texts.
        chosen: whether searches use this setting as long as all rows are live.
    """

    setting: int
    recall_at_10: float
    recall_at_100: float
    milliseconds: float
    chosen: bool


@dataclass(frozen=True)
class TuneReport:
    """Measurements of all settings of a store's indexes.

    Attributes:
        store: URL of the store.
        snapshot: number of the measured snapshot.
        passages: number of its live passages.
        factories: FAISS factories of the segments.
        queries: number of stored vectors that were searched for.
        rows: the settings, cheapest first.
    """

    store: str
    snapshot: int
    passages: int
    factories: tuple[str, ...]
    queries: int
    rows: tuple[Tuned, ...]


def run(store: Store, options: TuneOptions) -> TuneReport:
    """Measure every setting of a store's indexes on a sample of its vectors.

    A vector does not count as a hit of its own search.

    Raises:
        BadInput: the store has no live passage, or no index, or the plot can't be written.
    """
    plot = None if options.plot is None else Path(options.plot)
    if plot is not None:
        _check_place(plot)
    if not store.snapshot.passages:
        raise BadInput("store", store.url, "has no passage to search for", "Embed some")
    if any(segment.index is None for segment in store.segments):
        raise BadInput(
            "store", store.url, "has vectors without an index", "Build one with albeam index"
        )
    own = _sample(store, options.queries)
    vectors = vectors_to_numpy(store.read_rows(own, ["vector"]).column(0))
    exact = store.dense.exact_nearest(vectors, EXACT_AT)
    rows = [_measure(store, vectors, own, exact, value) for value in _values(store)]
    report = TuneReport(
        store=store.url,
        snapshot=store.snapshot.number,
        passages=store.snapshot.passages,
        factories=tuple(s.index.factory for s in store.segments if s.index is not None),
        queries=len(own),
        rows=tuple(rows),
    )
    if plot is not None:
        plot.write_text(latency_plot([asdict(row) for row in rows]), encoding="utf-8")
    return report


def _check_place(path: Path) -> None:
    """Raise BadInput unless a plot can be written to this path."""
    if not path.parent.is_dir():
        raise BadInput("plot", str(path), "is in a folder that does not exist", "Create the folder")
    if path.is_dir():
        raise BadInput("plot", str(path), "is a folder", "Give the name of a file")


def _sample(store: Store, most: int) -> Rows:
    rows = store.live.numbers()
    places = np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64)
    return rows[np.unique(places)]


def _values(store: Store) -> list[int]:
    """Return all settings worth a try for some segment; only 0 if no index has a setting."""
    values: set[int] = set()
    for segment in store.segments:
        if segment.index is not None and segment.index.settings:
            dim = store.snapshot.identity.dim
            faiss_factory.stored_kind(segment.index.factory, dim, segment.name)
            values |= set(faiss_factory.ladder(segment.index.factory, dim, segment.rows))
            values.add(_chosen(segment))
    return sorted(values) or [0]


def _measure(
    store: Store, vectors: Vectors, own: Rows, exact: tuple[Scores, Rows], value: int
) -> Tuned:
    def search(some: Vectors, k: int) -> tuple[Scores, Rows]:
        return merge_top_k(list(_searched(store, some, k, value)), k)

    at_10 = recall(exact, search(vectors, 11), own, 10)
    at_100 = recall(exact, search(vectors, EXACT_AT), own, 100)
    times = []
    for vector in vectors:
        started = time.perf_counter()
        search(vector[None], 10)
        times.append(time.perf_counter() - started)
    return Tuned(
        setting=value,
        recall_at_10=round(float(at_10.mean()), 4),
        recall_at_100=round(float(at_100.mean()), 4),
        milliseconds=round(1000 * statistics.median(times), 3),
        chosen=value == max((_chosen(segment) for segment in store.segments), default=0),
    )


def _searched(store: Store, vectors: Vectors, k: int, value: int) -> Iterator[tuple[Scores, Rows]]:
    first = 0
    for number, segment in enumerate(store.segments):
        live = store.live.segment_mask(number, None)
        yield moved(store.dense.index(number).search(vectors, k, live, value), first)
        first += segment.rows


def _chosen(segment: SegmentInfo) -> int:
    index = segment.index
    return index.settings[0].value if index is not None and index.settings else 0
