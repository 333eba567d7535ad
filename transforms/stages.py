"""How long each stage of a search takes."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np

PERCENTILES = (50, 95, 99)


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


def timed(stages: Stages | None, stage: str) -> AbstractContextManager[None]:
    """Count the block's duration for a stage, where anyone counts."""
    return nullcontext() if stages is None else stages.timed(stage)


def evenly(items: Sequence[str], most: int) -> list[str]:
    """At most ``most`` of the items, evenly spaced."""
    step = -(-len(items) // most)
    return list(items[::step]) if items else []
