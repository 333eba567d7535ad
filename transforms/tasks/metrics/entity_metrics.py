"""The metrics of taggers: precision, recall and F1 of entities, with intervals, and errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from transforms.tasks.data.bio import Span
from transforms.tasks.libraries import needing_tasks
from transforms.tasks.metrics.class_metrics import Bin, Quality, calibration_bins, calibration_error
from transforms.tasks.metrics.resampling import RESAMPLES, Floats, resampled

#: The kinds of wrong and of missed entities, in the order of reports.
ERRORS = ("missed", "not an entity", "other edges", "other type", "other edges and type")
_AVERAGED = tuple(
    f"{average}_{kind}" for average in ("micro", "macro") for kind in ("precision", "recall", "f1")
)

Rows = Sequence[Sequence[Span]]


@dataclass(frozen=True)
class SpanMetrics:
    """How well entities are found.

    Attributes:
        rows: texts that were measured.
        values: precision, recall and F1 of all entities as ``micro_f1`` …, and the means over the
            types as ``macro_f1`` …; ``calibration_error`` if the entities have scores.
        intervals: 95 % intervals of all but the calibration error.
        types: precision, recall and F1 of each type.
        errors: kind of error to number of entities that are wrong or missed in this way.
        calibration: bins of the scores of the entities that were found.
    """

    rows: int
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    types: dict[str, Quality]
    errors: dict[str, int]
    calibration: tuple[Bin, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return asdict(self)


def entity_metrics(
    known: Rows,
    predicted: Rows,
    scores: Sequence[Sequence[float]] = (),
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> SpanMetrics:
    """Measure entities: right are those whose type and both ends are.

    Args:
        known: the right entities of each text; they don't overlap.
        predicted: the entities that were found, in the same unit.
        scores: the scores of these, or nothing.
        resamples: samples of the bootstrap.
        seed: its seed.
    """
    with needing_tasks():
        from nervaluate.entities import Entity
        from nervaluate.strategies import StrictEvaluation
    strict = StrictEvaluation()
    types = sorted({each.type for rows in (known, predicted) for row in rows for each in row})
    counts = np.zeros((len(known), len(types), 3))
    for row, (right, found) in enumerate(zip(known, predicted, strict=True)):
        for kind in {each.type for each in (*right, *found)}:
            ours, theirs = (
                [Entity(kind, each.start, each.end) for each in some if each.type == kind]
                for some in (found, right)
            )
            result, _ = strict.evaluate(theirs, ours, [kind])
            counts[row, types.index(kind)] = result.correct, result.actual, result.possible
    flat = counts.reshape(len(counts), -1)

    def averages(weights: Floats) -> list[float]:
        each = (weights @ flat).reshape(-1, 3)
        macro = _rates(each).mean(axis=0) if len(types) else np.zeros(3)
        return [*_rates(each.sum(axis=0)[None])[0], *macro]

    values = dict(zip(_AVERAGED, map(float, averages(np.ones(len(flat)))), strict=True))
    bounds = resampled(averages, len(flat), resamples, seed)
    bins: tuple[Bin, ...] = ()
    if any(map(len, scores)):
        rows = zip(map(set, known), predicted, strict=True)
        right_ones = [each in right for right, some in rows for each in some]
        bins = calibration_bins(np.concatenate([*map(np.asarray, scores)]), np.array(right_ones))
        values["calibration_error"] = calibration_error(bins)
    by_type = {
        kind: Quality(float(precision), float(recall), float(f1), int(support))
        for kind, (precision, recall, f1), support in zip(
            types, _rates(counts.sum(axis=0)), counts[:, :, 2].sum(axis=0), strict=True
        )
    }
    errors = Counter(
        error for row in zip(known, predicted, strict=True) for error, _, _ in entity_errors(*row)
    )
    return SpanMetrics(
        len(known),
        values,
        dict(zip(_AVERAGED, bounds, strict=True)),
        by_type,
        {kind: errors[kind] for kind in ERRORS},
        bins,
    )


def entity_errors(
    known: Sequence[Span], predicted: Sequence[Span]
) -> list[tuple[str, Span | None, Span | None]]:
    """Return the wrong and missed entities of a text: the kind, the right one, the one found.

    A wrong entity is compared with the first known one that it overlaps and that is left.
    """
    left = sorted(set(known) - set(predicted), key=lambda each: each.start)
    found: list[tuple[str, Span | None, Span | None]] = []
    for each in sorted(set(predicted) - set(known), key=lambda each: each.start):
        near = next((one for one in left if one.start < each.end and each.start < one.end), None)
        if near is None:
            found.append(("not an entity", None, each))
            continue
        left.remove(near)
        edges = (near.start, near.end) != (each.start, each.end)
        kind = "other edges and type" if edges else "other type"
        found.append(("other edges" if near.type == each.type else kind, near, each))
    return [*found, *(("missed", one, None) for one in left)]


def _rates(counts: Floats) -> Floats:
    """Return precision, recall and F1 of ``[types, (right, found, known)]``."""
    right, found, known = counts.T
    return np.stack(
        [
            right / np.maximum(found, 1),
            right / np.maximum(known, 1),
            2 * right / np.maximum(found + known, 1),
        ],
        axis=1,
    )
