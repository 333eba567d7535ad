"""The report of ``albeam evaluate-task`` on one page of HTML, from ``task.html.j2``.

The template escapes every text. Only charts are marked as safe HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from markupsafe import Markup

from transforms.evaluation import svg
from transforms.evaluation.report_charts import Card
from transforms.evaluation.report_page import environment, shortened
from transforms.tasks.data.labels import Classes, Codes
from transforms.tasks.metrics.class_metrics import ClassMetrics, Quality
from transforms.tasks.vector_heads.vector_head import Scores

_HEADLINE = ("accuracy", "macro_f1", "log_loss", "calibration_error")
_WORST = 24
#: The most classes of a confusion matrix, and of the bars.
_MOST_CLASSES = 40
_BARS = 30


@dataclass(frozen=True)
class Worst:
    """A document whose label is wrong."""

    text: str
    known: str
    predicted: str
    score: str


def task_page(
    metrics: ClassMetrics, worst: Sequence[Worst], identity: Sequence[tuple[str, str]]
) -> str:
    """Return the page as HTML.

    Args:
        metrics: what was measured.
        worst: the worst examples.
        identity: names and values that say what was measured: head, data, encoder.
    """
    ordered = sorted(metrics.classes.items(), key=lambda each: (each[1].f1, each[0]))
    values = metrics.values
    template = environment().get_template("task.html.j2")
    return template.render(
        rows=metrics.rows,
        classes=len(metrics.classes),
        headline=[(f"{values[name]:.3f}", title(name)) for name in _HEADLINE],
        metrics=[(title(name), f"{value:.4f}", _interval(metrics, name))
                 for name, value in values.items()],
        charts=[*_confusion_cards(metrics), _calibration_card(metrics)],
        bars=[_bar_card(ordered)],
        qualities=[
            (name, f"{each.precision:.3f}", f"{each.recall:.3f}", f"{each.f1:.3f}",
             f"{each.support:,}")
            for name, each in ordered
        ],
        worst=worst,
        identity=identity,
    )  # fmt: skip


def worst_examples(
    classes: Classes, known: Codes, scores: Scores, texts: Sequence[str]
) -> list[Worst]:
    """Return the documents with wrong labels, those with the highest wrong scores first."""
    if classes.several:
        wrong = np.where(known, 1 - scores, scores).max(axis=1)
        rows = np.flatnonzero(((scores >= 0.5) != known).any(axis=1))
    else:
        wrong = scores.max(axis=1)
        rows = np.flatnonzero(scores.argmax(axis=1) != known)
    names = classes.names
    found = []
    for row in rows[np.argsort(-wrong[rows], kind="stable")][:_WORST].tolist():
        if classes.several:
            right = ", ".join(names[at] for at in np.flatnonzero(known[row]))
            given = ", ".join(names[at] for at in np.flatnonzero(scores[row] >= 0.5))
        else:
            right, given = names[known[row]], names[int(scores[row].argmax())]
        found.append(
            Worst(shortened(texts[row]), right or "none", given or "none", f"{wrong[row]:.3f}")
        )
    return found


def title(name: str) -> str:
    """Return the name of a metric in words, such as ``Macro F1`` for ``macro_f1``."""
    words = name.replace("_", " ").replace("f1", "F1").replace("roc auc", "ROC AUC")
    return words[:1].upper() + words[1:]


def _interval(metrics: ClassMetrics, name: str) -> str:
    if name not in metrics.intervals:
        return "–"
    low, high = metrics.intervals[name]
    return f"{low:.4f}–{high:.4f}"


def _bar_card(ordered: Sequence[tuple[str, Quality]]) -> Card:
    rows = [(name, each.f1, f"{each.f1:.2f}") for name, each in ordered[:_BARS]]
    about = "F1 of each class" if len(ordered) <= _BARS else f"F1 of the {_BARS} hardest classes"
    return Card("F1 by class", about, Markup(svg.bars(about, rows, 0, 1.0, left=168)))


def _calibration_card(metrics: ClassMetrics) -> Card:
    points = [(each.confidence, each.accuracy) for each in metrics.calibration]
    axis = svg.axis("score of the label", 0.0, 1.0)
    series = [
        svg.Series("a score that says how often it is right", 7, [(0.0, 0.0), (1.0, 1.0)]),
        svg.Series("this head", 0, points),
    ]
    chart = svg.line_chart("calibration", series, axis, svg.axis("", 0.0, 1.0, percent=True))
    return Card(
        "Calibration",
        "How often labels are right, by their score",
        Markup(chart),
        [(each.name, each.number) for each in series],
    )


def _confusion_cards(metrics: ClassMetrics) -> list[Card]:
    if metrics.confusion is None:
        return []
    counts = np.array(metrics.confusion)
    names = list(metrics.classes)
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    about = "Rows are the right classes, columns the predicted ones"
    kept = np.arange(len(names))
    if len(names) > _MOST_CLASSES:
        kept = np.sort(np.argsort(-wrong, kind="stable")[:_MOST_CLASSES])
        about += f"; the {_MOST_CLASSES} classes with the most errors"
    chart = confusion_chart([names[at] for at in kept], counts[np.ix_(kept, kept)])
    pairs = [
        (int(counts[row, column]), names[row], names[column])
        for row, column in zip(*np.nonzero(counts), strict=True)
        if row != column
    ]
    pairs.sort(key=lambda each: (-each[0], each[1:]))
    most = "; ".join(f"{right} taken for {given}: {n}" for n, right, given in pairs[:5])
    return [Card("Confusion matrix", about, Markup(chart), note=most)]


def confusion_chart(names: Sequence[str], counts: np.ndarray) -> str:
    """Draw a confusion matrix: the darker a cell, the larger its share of the right class."""
    size = (svg.WIDTH - 90) / len(names)
    totals = np.maximum(counts.sum(axis=1), 1)
    marks = []
    for row, name in enumerate(names):
        if size >= 9 or row % 2 == 0:
            marks.append(
                f'<text class="tick" x="84" y="{(row + 0.5) * size + 4:.1f}" text-anchor="end">'
                f"{escape(svg.shortened(name, 12))}</text>"
            )
        for column in np.flatnonzero(counts[row]).tolist():
            share = counts[row, column] / totals[row]
            colour = 6 if row == column else 1
            marks.append(
                f'<g class="s{colour}"><rect fill="currentColor" '
                f'fill-opacity="{0.15 + 0.85 * share:.2f}" x="{90 + column * size:.1f}" '
                f'y="{row * size:.1f}" width="{size - 0.5:.1f}" height="{size - 0.5:.1f}">'
                f"<title>{escape(name)} taken for {escape(names[column])}: "
                f"{int(counts[row, column])}</title></rect></g>"
            )
    return (
        f'<svg viewBox="0 0 {svg.WIDTH} {size * len(names) + 2:.0f}" role="img" '
        f'aria-label="confusion matrix">{"".join(marks)}</svg>'
    )
