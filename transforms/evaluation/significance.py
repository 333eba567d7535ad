"""Confidence intervals of means and of differences, by seeded resampling over questions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = Mapping[str, npt.NDArray[np.float64]]

RESAMPLES = 2_000
FLIPS = 10_000
#: Random signs in memory at once: rows times questions.
_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Difference:
    """A metric of two runs over the same questions.

    Attributes:
        a, b: the means.
        low, high: the 95 % interval of ``b - a``.
        p: two-sided p-value: how often chance alone makes a difference at least as large.
    """

    a: float
    b: float
    low: float
    high: float
    p: float


def intervals(
    values: Values, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return the 95 % intervals of the means, by the percentile bootstrap over questions.

    Args:
        values: values of each metric, float64 ``[questions]``.
        resamples: number of samples of all questions, drawn with replacement.
        seed: the seed of the draws; equal seeds give equal intervals.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    stacked = np.stack(list(values.values()), axis=1)
    lows, highs = _percentiles(stacked, resamples, seed)
    return {
        name: (float(low), float(high)) for name, low, high in zip(values, lows, highs, strict=True)
    }


def differences(
    a: Values, b: Values, resamples: int = RESAMPLES, flips: int = FLIPS, seed: int = 0
) -> dict[str, Difference]:
    """Compare the metrics of run ``b`` with those of ``a``, question by question.

    The interval comes from the paired bootstrap. The p-value comes from the paired randomization
    test, which gives each question's difference a random sign ``flips`` times.

    Source: Smucker, Allan and Carterette, A Comparison of Statistical Significance Tests for
    Information Retrieval Evaluation (CIKM 2007); p is never 0, after Phipson and Smyth (2010).
    """
    stacked = np.stack([b[name] - a[name] for name in a], axis=1)
    lows, highs = _percentiles(stacked, resamples, seed)
    seen = np.abs(stacked.sum(axis=0))
    as_large = np.zeros(stacked.shape[1])
    for count, rng in _portions(flips, len(stacked), seed):
        signs = rng.integers(0, 2, (count, len(stacked)), dtype=np.int8) * 2.0 - 1.0
        # Sums that differ only by rounding count as equal.
        as_large += (np.abs(signs @ stacked) >= seen - 1e-9).sum(axis=0)
    ps = (as_large + 1) / (flips + 1)
    return {
        name: Difference(
            float(a[name].mean()), float(b[name].mean()), float(low), float(high), float(p)
        )
        for name, low, high, p in zip(a, lows, highs, ps, strict=True)
    }


def _percentiles(
    stacked: npt.NDArray[np.float64], resamples: int, seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the 2.5th and 97.5th percentiles of the resampled ``[questions, metrics]`` means."""
    rng, size = np.random.default_rng(seed), len(stacked)
    sums = [
        np.bincount(rng.integers(0, size, size), minlength=size).astype(np.float64) @ stacked
        for _ in range(resamples)
    ]
    low, high = np.percentile(np.stack(sums) / size, [2.5, 97.5], axis=0)
    return low, high


def _portions(total: int, width: int, seed: int) -> Iterator[tuple[int, np.random.Generator]]:
    rng = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // width)
    for start in range(0, total, step):
        yield min(step, total - start), rng
