"""The report page of text similarity: cosines against known scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from transforms.evaluation import svg
from transforms.evaluation.report_charts import Card
from transforms.evaluation.report_page import shortened
from transforms.tasks.metrics.correlations import ranks
from transforms.tasks.metrics.resampling import Floats
from transforms.tasks.metrics.task_page import WORST, Example, Page, Section
from transforms.tasks.metrics.text_metrics import MeanMetrics
from transforms.tasks.networks.similarity_training import ScoredPairs

#: The most points of the chart, and the groups of known scores.
_MOST_POINTS = 1_500
_GROUPS = 10


def similarity_page(
    metrics: MeanMetrics, known: Floats, predicted: Floats, worst: Sequence[Example]
) -> Page:
    """Return the page of a similarity.

    Args:
        metrics: what was measured.
        known: the known score of each pair.
        predicted: its cosine.
        worst: the worst examples.
    """
    return Page(
        title="How well similarities are predicted",
        measured=f"{metrics.rows:,} pairs of texts with a known score",
        headline=("spearman", "pearson"),
        values=metrics.values,
        intervals=metrics.intervals,
        unit="pairs",
        sections=[
            Section(
                "Cosines and known scores",
                "The higher the known score of a pair, the higher its cosine should be.",
                [_points_card(known, predicted), _means_card(known, predicted)],
            )
        ],
        examples=worst,
        order="Pairs whose places in the two orders differ most come first.",
    )


def worst_pairs(pairs: ScoredPairs, predicted: Floats) -> list[Example]:
    """Return the pairs whose rank by the cosine is farthest from that by the known score."""
    size = len(pairs)
    right, found = (ranks(values) / size for values in (pairs.scores, predicted))
    made = []
    for row in np.argsort(-np.abs(right - found), kind="stable")[:WORST].tolist():
        facts = [
            ("other text", shortened(pairs.second[row])),
            ("known score", f"{pairs.scores[row]:g}, above {100 * right[row]:.0f} % of the pairs"),
            ("cosine", f"{predicted[row]:.3f}, above {100 * found[row]:.0f} % of the pairs"),
        ]
        made.append(Example(shortened(pairs.first[row]), facts))
    return made


def _axes(known: Floats, predicted: Floats) -> tuple[svg.Axis, svg.Axis]:
    low, high = float(predicted.min()), float(predicted.max())
    x = svg.axis("known score", float(known.min()), float(known.max()))
    return x, svg.axis("", low, high)


def _points_card(known: Floats, predicted: Floats) -> Card:
    rows = np.arange(len(known))
    about = "A point is a pair: known score across, cosine up"
    if len(rows) > _MOST_POINTS:
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:_MOST_POINTS])
        about += f"; {_MOST_POINTS:,} pairs at random"
    points = [(float(known[row]), float(predicted[row])) for row in rows]
    chart = svg.points_chart(
        "cosines against known scores", [svg.Series("pairs", 0, points)], *_axes(known, predicted)
    )
    return Card("Pairs", about, Markup(chart))


def _means_card(known: Floats, predicted: Floats) -> Card:
    """Draw the mean cosine, and the middle half, of groups of pairs with near known scores."""
    edges = np.linspace(known.min(), known.max(), _GROUPS + 1)
    group = np.clip(np.searchsorted(edges, known, side="right") - 1, 0, _GROUPS - 1)
    lines: dict[str, list[svg.Point]] = {"mean": [], "upper quarter": [], "lower quarter": []}
    for number in range(_GROUPS):
        mine = predicted[group == number]
        if len(mine):
            place = float(known[group == number].mean())
            low, high = np.percentile(mine, [25, 75])
            for name, value in (
                ("mean", mine.mean()), ("upper quarter", high), ("lower quarter", low),
            ):  # fmt: skip
                lines[name].append((place, float(value)))
    series = [
        svg.Series(name, number, lines[name])
        for name, number in (("mean", 0), ("upper quarter", 2), ("lower quarter", 1))
    ]
    chart = svg.line_chart("mean cosine by known score", series, *_axes(known, predicted))
    about = f"Cosines of pairs in {_GROUPS} groups by their known score"
    return Card(
        "Cosine by known score", about, Markup(chart), [(each.name, each.number) for each in series]
    )
