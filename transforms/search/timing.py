"""Durations of the stages of a search."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np

PERCENTILES = (50, 95, 99)


class Stages:
    """Seconds of one search by stage, in the order of the stages' first use."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the block's duration to a stage, which a search may enter several times."""
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


def percentiles(searches: Sequence[Stages]) -> dict[str, dict[str, float]]:
    """Return percentiles of milliseconds by stage: ``{"p50": …, "p95": …, "p99": …}``."""
    names = dict.fromkeys(stage for each in searches for stage in each.seconds)
    return {
        stage: {
            f"p{percent}": float(
                1000 * np.percentile([each.seconds.get(stage, 0.0) for each in searches], percent)
            )
            for percent in PERCENTILES
        }
        for stage in names
    }


def timed(stages: Stages | None, stage: str) -> AbstractContextManager[None]:
    """Add the block's duration to a stage; does nothing without ``stages``."""
    return nullcontext() if stages is None else stages.timed(stage)
