"""95 % intervals of any measure, by seeded bootstrap over rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

RESAMPLES = 1_000

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]


def resampled(
    measure: Callable[[Floats], Sequence[float]], rows: int, resamples: int, seed: int
) -> list[Interval]:
    """Return the 95 % interval of each value that ``measure`` returns.

    Args:
        measure: takes how often each row was drawn, float64 ``[rows]``.
        rows: the number of rows.
        resamples: samples of all rows, drawn with replacement.
        seed: the seed of the draws; equal seeds give equal intervals.
    """
    rng = np.random.default_rng(seed)
    drawn = [
        measure(np.bincount(rng.integers(0, rows, rows), minlength=rows).astype(np.float64))
        for _ in range(resamples)
    ]
    low, high = np.percentile(np.array(drawn), [2.5, 97.5], axis=0)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]
