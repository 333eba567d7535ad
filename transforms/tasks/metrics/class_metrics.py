"""The metrics of classifiers, with 95 % intervals by seeded bootstrap over rows.

Those of taggers are in `entity_metrics`, those of readers and of similarity in `text_metrics`.
scikit-learn, nervaluate and scipy come with ``albeam[tasks]`` and are imported on use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.evaluation.significance import intervals
from transforms.tasks.libraries import needing_tasks
from transforms.tasks.metrics.resampling import RESAMPLES, Floats, Interval, resampled

#: Bins of the confidence, of equal width, for the calibration error.
BINS = 15


@dataclass(frozen=True)
class Quality:
    """How well one class is predicted.

    Attributes:
        precision: share of the rows predicted as the class that have it.
        recall: share of the rows with the class that are predicted as it.
        f1: the harmonic mean of both.
        support: rows with the class.
    """

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Bin:
    """A bin of a calibration curve.

    Attributes:
        confidence: the mean score of its labels.
        accuracy: the share of them that are right.
        rows: how many there are.
    """

    confidence: float
    accuracy: float
    rows: int


@dataclass(frozen=True)
class ClassMetrics:
    """How well classes are predicted.

    Attributes:
        rows: rows that were measured.
        values: ``accuracy`` (of all labels of a row), precision, recall and F1 as ``macro_f1``,
            ``micro_f1``, ``weighted_f1`` …, ``log_loss``, ``calibration_error``, and ``roc_auc``
            if there are two classes and both occur.
        intervals: 95 % intervals of the accuracy, the F1s and the log loss.
        classes: precision, recall and F1 of each class.
        confusion: rows by known class, then by predicted class; None with several labels a row.
        calibration: bins of the confidence of the predicted class, or of each class with several.
    """

    rows: int
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    classes: dict[str, Quality]
    confusion: list[list[int]] | None
    calibration: tuple[Bin, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return asdict(self)


def class_metrics(
    known: npt.NDArray[Any],
    scores: npt.NDArray[Any],
    names: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> ClassMetrics:
    """Measure predicted classes.

    Args:
        known: the right classes, int64 ``[rows]``, or bool ``[rows, classes]`` if a row may have
            several.
        scores: probabilities, ``[rows, classes]``. Each row adds up to 1; with several labels, each
            class has its own, and 0.5 or more predicts it.
        names: the names of the classes.
        resamples: samples of the bootstrap.
        seed: its seed.
    """
    with needing_tasks():
        from sklearn import metrics as sk
    scores = np.asarray(scores, np.float64)
    several = known.ndim == 2
    places = np.arange(len(names))
    predicted = scores >= 0.5 if several else scores.argmax(axis=1)
    right = (predicted == known).all(axis=1) if several else predicted == known
    chosen = np.where(predicted, scores, 1 - scores) if several else scores.max(axis=1)
    hits = predicted == known
    values = {"accuracy": float(right.mean())}
    for average in ("micro", "macro", "weighted"):
        found = sk.precision_recall_fscore_support(
            known, predicted, labels=places, average=average, zero_division=0.0
        )
        for kind, value in zip(("precision", "recall", "f1"), found, strict=False):
            values[f"{average}_{kind}"] = float(value)
    losses = log_losses(known, scores)
    calibration = calibration_bins(chosen.ravel(), hits.ravel())
    values["log_loss"] = float(losses.mean())
    values["calibration_error"] = calibration_error(calibration)
    if len(names) == 2 and not several and len(np.unique(known)) == 2:
        values["roc_auc"] = float(sk.roc_auc_score(known == 1, scores[:, 1]))
    qualities = {
        name: Quality(float(p), float(r), float(f), int(s))
        for name, p, r, f, s in zip(
            names,
            *sk.precision_recall_fscore_support(known, predicted, labels=places, zero_division=0.0),
            strict=True,
        )
    }
    matrix = None if several else sk.confusion_matrix(known, predicted, labels=places).tolist()
    bounds = intervals({"accuracy": right.astype(float), "log_loss": losses}, resamples, seed)
    bounds |= _f1_intervals(known, predicted, len(names), resamples, seed)
    return ClassMetrics(len(known), values, bounds, qualities, matrix, calibration)


def log_losses(known: npt.NDArray[Any], scores: npt.NDArray[Any]) -> Floats:
    """Return each row's log loss; several labels count as the mean of their own losses."""
    least = np.finfo(np.float64).eps
    if known.ndim == 1:
        given = scores[np.arange(len(known)), known][:, None]
    else:
        given = np.where(known, scores, 1 - scores)
    losses: Floats = -np.log(np.clip(given, least, 1)).mean(axis=1)
    return losses


def calibration_bins(confidence: Floats, right: npt.NDArray[np.bool_]) -> tuple[Bin, ...]:
    """Return the bins of scores of labels, and of whether each label is right."""
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    rows = np.bincount(place, minlength=BINS)
    sums = np.bincount(place, confidence, BINS), np.bincount(place, right, BINS)
    return tuple(
        Bin(float(c / n), float(r / n), int(n)) for c, r, n in zip(*sums, rows, strict=True) if n
    )


def calibration_error(bins: Sequence[Bin]) -> float:
    """Return the expected calibration error.

    Source: Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks (ICML 2017).
    """
    gaps = sum(each.rows * abs(each.confidence - each.accuracy) for each in bins)
    return gaps / sum(each.rows for each in bins)


def _f1_intervals(
    known: npt.NDArray[Any], predicted: npt.NDArray[Any], classes: int, resamples: int, seed: int
) -> dict[str, Interval]:
    """Return the intervals of the averaged F1s."""
    # A row and a class for each known, each predicted, and each right label.
    if known.ndim == 2:
        pairs = [np.nonzero(each) for each in (known & predicted, predicted, known)]
    else:
        rows, right = np.arange(len(known)), known == predicted
        pairs = [(rows[right], known[right]), (rows, predicted), (rows, known)]

    def f1s(weights: Floats) -> list[float]:
        hits, found, right = (np.bincount(at, weights[row], classes) for row, at in pairs)
        total = found + right
        each = np.divide(2 * hits, total, out=np.zeros(classes), where=total > 0)
        micro = 2 * hits.sum() / max(total.sum(), 1)
        return [micro, each.mean(), (each * right).sum() / max(right.sum(), 1)]

    bounds = resampled(f1s, len(known), resamples, seed)
    return dict(zip(("micro_f1", "macro_f1", "weighted_f1"), bounds, strict=True))
