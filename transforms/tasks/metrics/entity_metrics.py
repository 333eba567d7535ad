"""The metrics of taggers: precision, recall and F1 of entities, by type, with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from transforms.tasks.libraries import needing_tasks
from transforms.tasks.metrics.class_metrics import Quality
from transforms.tasks.metrics.resampling import RESAMPLES, Floats, Interval, resampled


@dataclass(frozen=True)
class SpanMetrics:
    """Precision, recall and F1 of entities: all, and by type; an interval of the F1 of all."""

    all: Quality
    f1_interval: Interval
    types: dict[str, Quality]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return asdict(self)


def entity_metrics(
    known: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> SpanMetrics:
    """Measure entities: right are those whose type, first and last token are.

    Args:
        known: the right BIO tags of each row's tokens; an ``I-`` without a ``B-`` begins an entity.
        predicted: the predicted tags, as many.
        resamples: samples of the bootstrap.
        seed: its seed.
    """
    with needing_tasks():
        from nervaluate.loaders import ListLoader
        from nervaluate.strategies import StrictEvaluation
    loader, strict = ListLoader(), StrictEvaluation()
    right_rows = loader.load([list(tags) for tags in known])
    found_rows = loader.load([list(tags) for tags in predicted])
    types = sorted({each.label for row in (*right_rows, *found_rows) for each in row})
    counts = np.zeros((len(right_rows), len(types), 3))
    for row, (right, found) in enumerate(zip(right_rows, found_rows, strict=True)):
        for kind in {each.label for each in (*right, *found)}:
            result, _ = strict.evaluate(
                [each for each in right if each.label == kind],
                [each for each in found if each.label == kind],
                [kind],
            )
            counts[row, types.index(kind)] = result.correct, result.actual, result.possible
    totals = counts.sum(axis=1)

    def f1(weights: Floats) -> list[float]:
        return [_quality(*(weights @ totals)).f1]

    low, high = resampled(f1, len(totals), resamples, seed)[0]
    by_type = {kind: _quality(*counts[:, at].sum(axis=0)) for at, kind in enumerate(types)}
    return SpanMetrics(_quality(*totals.sum(axis=0)), (low, high), by_type)


def _quality(right: float, found: float, known: float) -> Quality:
    precision, recall = right / max(found, 1), right / max(known, 1)
    both = found + known
    return Quality(precision, recall, 2 * right / both if both else 0.0, int(known))
