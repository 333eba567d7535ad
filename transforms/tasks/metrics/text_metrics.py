"""The metrics of readers and of text similarity, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.evaluation import squad
from transforms.evaluation.significance import intervals
from transforms.tasks.libraries import needing_tasks
from transforms.tasks.metrics.resampling import RESAMPLES, Floats, resampled


@dataclass(frozen=True)
class MeanMetrics:
    """Means or correlations by name, with intervals.

    Attributes:
        rows: questions or pairs that were measured.
        values: ``exact_match`` and ``f1`` of answers, or ``pearson`` and ``spearman``.
        intervals: their 95 % intervals.
    """

    rows: int
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return asdict(self)


def answer_metrics(
    answers: Sequence[str],
    known: Sequence[Sequence[str]],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> MeanMetrics:
    """Measure answers by SQuAD's rules: exact match and F1; without a known answer, "" is right."""
    rows = list(zip(answers, known, strict=True))
    each = {
        "exact_match": np.array([squad.exact_match(*row) for row in rows]),
        "f1": np.array([squad.f1(*row) for row in rows]),
    }
    values = {name: float(found.mean()) for name, found in each.items()}
    return MeanMetrics(len(rows), values, intervals(each, resamples, seed))


def similarity_metrics(
    known: npt.ArrayLike,
    predicted: npt.ArrayLike,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> MeanMetrics:
    """Measure scores of pairs: Pearson's and Spearman's correlation; 0 if one side is constant."""
    right, found = np.asarray(known, np.float64), np.asarray(predicted, np.float64)

    def correlations(right: Floats, found: Floats) -> list[float]:
        return [_pearson(right, found), _pearson(ranks(right), ranks(found))]

    def drawn_correlations(weights: Floats) -> list[float]:
        drawn = np.repeat(np.arange(len(right)), weights.astype(np.int64))
        return correlations(right[drawn], found[drawn])

    names = ("pearson", "spearman")
    bounds = resampled(drawn_correlations, len(right), resamples, seed)
    values = dict(zip(names, correlations(right, found), strict=True))
    return MeanMetrics(len(right), values, dict(zip(names, bounds, strict=True)))


def ranks(values: Floats) -> Floats:
    """Return the ranks of numbers from 1; equal ones share the mean of theirs."""
    with needing_tasks():
        from scipy.stats import rankdata
    found: Floats = rankdata(values)
    return found


def _pearson(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size else 0.0
