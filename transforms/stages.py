"""How long each stage of a search takes."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from transforms.store import Store

PERCENTILES = (50, 95, 99)
_COLUMNS = ("document_id", "passage", "start", "end", "text")


class Stages:
    """Seconds by stage, in the order in which stages were first seen."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count the block's duration for a stage."""
        started = time.perf_counter()
        yield
        self.seconds.setdefault(stage, []).append(time.perf_counter() - started)

    def percentiles(self) -> dict[str, dict[str, float]]:
        """Milliseconds by stage, as ``{"p50": …, "p95": …, "p99": …}``."""
        return {
            stage: {
                f"p{percent}": float(1000 * np.percentile(seconds, percent))
                for percent in PERCENTILES
            }
            for stage, seconds in self.seconds.items()
        }


def time_search(store: Store, questions: Sequence[str], k: int, mode: str) -> Stages:
    """Search for questions one at a time; what a dense search consists of is timed apart, too."""
    stages = Stages()
    prompt = store.snapshot.identity.query_prompt
    for question in questions:
        if mode == "dense":
            with stages.timed("encode"):
                vectors = store.encoder.encode_texts([question], prompt)
            with stages.timed("dense"):
                [(rows, _)] = store.rank(vectors, k)
            with stages.timed("fetch"):
                if rows:
                    store.read_rows(np.sort(np.array(rows, np.int64)), _COLUMNS)
        with stages.timed("total"):
            store.search([question], k, mode)
    return stages


def evenly(items: Sequence[str], most: int) -> list[str]:
    """At most ``most`` of the items, evenly spaced."""
    step = -(-len(items) // most)
    return list(items[::step]) if items else []
