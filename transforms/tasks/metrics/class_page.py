"""The report page of a classifier: bars by class, the confusion matrix, the calibration curve."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from markupsafe import Markup

from transforms.evaluation import svg
from transforms.evaluation.report_charts import Card
from transforms.evaluation.report_page import shortened
from transforms.tasks.data.labels import Classes, Codes
from transforms.tasks.metrics.class_metrics import ClassMetrics
from transforms.tasks.metrics.task_page import (
    WORST,
    Example,
    Page,
    Section,
    calibration_card,
    quality_section,
)
from transforms.tasks.vector_heads.vector_head import Scores

#: The most classes of a confusion matrix.
_MOST_CLASSES = 40


def class_page(metrics: ClassMetrics, worst: Sequence[Example]) -> Page:
    """Return the page of a classifier.

    Args:
        metrics: what was measured.
        worst: the worst examples.
    """
    return Page(
        title="How well classes are predicted",
        measured=f"{metrics.rows:,} labelled documents, {len(metrics.classes)} classes",
        headline=("accuracy", "macro_f1", "log_loss", "calibration_error"),
        values=metrics.values,
        intervals=metrics.intervals,
        unit="documents",
        sections=[
            Section(
                "Errors and confidence",
                "Which classes are taken for which others, and whether the score of a label says "
                "how often it is right.",
                [*_confusion_cards(metrics), calibration_card(metrics.calibration, "labels")],
            ),
            quality_section(metrics.classes, "class", "documents"),
        ],
        examples=worst,
        order="Wrong labels with the highest scores come first.",
    )


def worst_examples(
    classes: Classes, known: Codes, scores: Scores, texts: Sequence[str]
) -> list[Example]:
    """Return the documents with wrong labels, those with the highest wrong scores first."""
    if classes.several:
        wrong = np.where(known, 1 - scores, scores).max(axis=1)
        rows = np.flatnonzero(((scores >= 0.5) != known).any(axis=1))
    else:
        wrong = scores.max(axis=1)
        rows = np.flatnonzero(scores.argmax(axis=1) != known)
    names = classes.names
    found = []
    for row in rows[np.argsort(-wrong[rows], kind="stable")][:WORST].tolist():
        if classes.several:
            right = ", ".join(names[at] for at in np.flatnonzero(known[row]))
            given = ", ".join(names[at] for at in np.flatnonzero(scores[row] >= 0.5))
        else:
            right, given = names[known[row]], names[int(scores[row].argmax())]
        predicted = f"{given or 'none'} ({wrong[row]:.3f})"
        facts = [("right", right or "none"), ("predicted", predicted)]
        found.append(Example(shortened(texts[row]), facts))
    return found


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
                f"{escape(svg.shortened(name, 10))}</text>"
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
        f'<svg viewBox="0 -8 {svg.WIDTH} {size * len(names) + 14:.0f}" role="img" '
        f'aria-label="confusion matrix">{"".join(marks)}</svg>'
    )
