"""The metrics of readers and of text similarity, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.evaluation.significance import intervals
from transforms.tasks.metrics.answer_scores import score_answers
from transforms.tasks.metrics.correlations import pearson, spearman
from transforms.tasks.metrics.resampling import RESAMPLES, Floats, resampled


@dataclass(frozen=True)
class MeanMetrics:
    """Means or correlations by name, with intervals.

    Attributes:
        rows: pairs that were measured.
        values: ``pearson`` and ``spearman``.
        intervals: their 95 % intervals.
    """

    rows: int
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return asdict(self)


@dataclass(frozen=True)
class AnswerMetrics(MeanMetrics):
    """How well questions are answered.

    Attributes:
        rows: questions that were measured.
        values: ``exact_match`` and ``f1``. Where questions have no answer also ``f1_answerable``,
            the F1 of the others, and ``answerable``, the share of the questions for which it is
            right that there is an answer, or none.
        intervals: their 95 % intervals.
        counts: questions that are ``answerable`` and ``unanswerable``, those that are
            ``answered``, and those that are ``wrongly_answered`` and ``wrongly_unanswered``.
    """

    counts: dict[str, int]


def answer_metrics(
    answers: Sequence[str],
    known: Sequence[Sequence[str]],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> AnswerMetrics:
    """Measure answers by SQuAD's rules; without a known answer, "" is right.

    Args:
        answers: the answers; "" for none.
        known: the known answers of each question.
        resamples: samples of the bootstrap.
        seed: its seed.
    """
    exact, f1 = score_answers(answers, known)
    given, right = (np.asarray([bool(each) for each in some]) for some in (answers, known))
    each = {"exact_match": exact, "f1": f1}
    if not right.all():
        each["answerable"] = (given == right).astype(np.float64)
    values = {name: float(found.mean()) for name, found in each.items()}
    bounds = intervals(each, resamples, seed)
    if right.any() and not right.all():
        values["f1_answerable"] = float(f1[right].mean())
        bounds["f1_answerable"] = intervals({"f1": f1[right]}, resamples, seed)["f1"]
    counts = {
        "answerable": right,
        "unanswerable": ~right,
        "answered": given,
        "wrongly_answered": given & ~right,
        "wrongly_unanswered": right & ~given,
    }
    sums = {name: int(rows.sum()) for name, rows in counts.items()}
    return AnswerMetrics(len(answers), values, bounds, sums)


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
        return [pearson(right, found), spearman(right, found)]

    def drawn_correlations(weights: Floats) -> list[float]:
        drawn = np.repeat(np.arange(len(right)), weights.astype(np.int64))
        return correlations(right[drawn], found[drawn])

    names = ("pearson", "spearman")
    bounds = resampled(drawn_correlations, len(right), resamples, seed)
    values = dict(zip(names, correlations(right, found), strict=True))
    return MeanMetrics(len(right), values, dict(zip(names, bounds, strict=True)))
