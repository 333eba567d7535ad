"""The report page of a tagger: bars by type and by kind of error, and the calibration curve."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from transforms.evaluation import svg
from transforms.evaluation.report_charts import Card
from transforms.evaluation.report_page import shortened
from transforms.tasks.data.bio import Span
from transforms.tasks.metrics.entity_metrics import Rows, SpanMetrics, entity_errors
from transforms.tasks.metrics.task_page import (
    WORST,
    Example,
    Page,
    Section,
    calibration_card,
    quality_section,
)

#: The characters of a text that an example has on each side of its entities.
_BESIDE = 60


def entity_page(metrics: SpanMetrics, worst: Sequence[Example]) -> Page:
    """Return the page of a tagger.

    Args:
        metrics: what was measured.
        worst: the worst examples.
    """
    known = sum(each.support for each in metrics.types.values())
    most = max(1, *metrics.errors.values())
    rows = [(kind, float(count), f"{count:,}") for kind, count in metrics.errors.items()]
    bars = Markup(svg.bars("entities by kind of error", rows, 1, most, left=168))
    cards = [Card("Kinds of errors", "Entities that are wrong or missed", bars)]
    if metrics.calibration:
        cards.append(calibration_card(metrics.calibration, "entities"))
    return Page(
        title="How well entities are found",
        measured=f"{metrics.rows:,} texts, {known:,} entities of {len(metrics.types)} types",
        headline=("micro_f1", "micro_precision", "micro_recall", "macro_f1"),
        values=metrics.values,
        intervals=metrics.intervals,
        unit="texts",
        sections=[
            Section(
                "Errors and confidence",
                "An entity is right if its type and both edges are.",
                cards,
            ),
            quality_section(metrics.types, "type", "entities"),
        ],
        examples=worst,
        order="Wrong entities with the highest scores come first, then missed ones.",
    )


def worst_entities(
    texts: Sequence[str], known: Rows, predicted: Rows, scores: Sequence[Sequence[float]]
) -> list[Example]:
    """Return the errors with the highest scores, each in its sentence."""
    ranked = []
    for row, (right, found) in enumerate(zip(known, predicted, strict=True)):
        score_of = dict(zip(found, scores[row], strict=True))
        for kind, wanted, given in entity_errors(right, found):
            score = score_of[given] if given is not None else 0.0
            ranked.append((-score, row, kind, wanted, given))
    ranked.sort(key=lambda each: each[:2])
    return [
        _example(texts[row], kind, wanted, given, -minus)
        for minus, row, kind, wanted, given in ranked[:WORST]
    ]


def _example(
    text: str, kind: str, wanted: Span | None, given: Span | None, score: float
) -> Example:
    some = [each for each in (wanted, given) if each is not None]
    start, end = min(each.start for each in some), max(each.end for each in some)
    begin, stop = max(0, start - _BESIDE), min(len(text), end + _BESIDE)
    shown = shortened(text[begin:stop])
    before, after = "… " if begin else "", " …" if stop < len(text) else ""
    facts = [("error", kind)]
    if wanted is not None:
        facts.append(("right", f"{wanted.type}: {shortened(text[wanted.start : wanted.end])}"))
    if given is not None:
        what = shortened(text[given.start : given.end])
        facts.append(("found", f"{given.type}: {what} ({score:.3f})"))
    return Example(before + shown + after, facts)
