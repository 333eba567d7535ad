"""The frame of the reports of ``albeam evaluate-task``: one page of HTML, from ``task.html.j2``.

The template escapes every text. Only charts are marked as safe HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from transforms.evaluation import svg
from transforms.evaluation.report_charts import Card
from transforms.evaluation.report_page import environment
from transforms.tasks.metrics.class_metrics import Bin, Quality
from transforms.tasks.metrics.resampling import Interval

#: The most examples of a page.
WORST = 24
_BARS = 30


@dataclass(frozen=True)
class Section:
    """A section of a page: charts, then a table.

    Attributes:
        title, about: its heading, and a sentence below it.
        cards: its charts.
        table: the rows of its table, the first of which has the headings; empty for none.
    """

    title: str
    about: str
    cards: Sequence[Card] = ()
    table: Sequence[Sequence[str]] = ()


@dataclass(frozen=True)
class Example:
    """A row that went wrong: its text, and names with values that say what did."""

    text: str
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: the heading.
        measured: how much was measured, in words.
        headline: the names of the leading metrics.
        values: the metrics by name.
        intervals: the intervals of some of them.
        unit: what the bootstrap draws, such as ``documents``.
        sections: further sections.
        examples: the worst examples.
        order: which of them come first, in a sentence.
    """

    title: str
    measured: str
    headline: Sequence[str]
    values: Mapping[str, float]
    intervals: Mapping[str, Interval]
    unit: str
    sections: Sequence[Section]
    examples: Sequence[Example]
    order: str

    def html(self, identity: Sequence[tuple[str, str]]) -> str:
        """Return the page.

        Args:
            identity: names and values that say what was measured: head, data, encoder.
        """
        return (
            environment()
            .get_template("task.html.j2")
            .render(
                page=self,
                tiles=[
                    (f"{self.values[n]:.3f}", title(n)) for n in self.headline if n in self.values
                ],
                metrics=[
                    (title(name), f"{value:.4f}", self._interval(name))
                    for name, value in self.values.items()
                ],
                identity=identity,
            )
        )

    def _interval(self, name: str) -> str:
        if name not in self.intervals:
            return "–"
        low, high = self.intervals[name]
        return f"{low:.4f}–{high:.4f}"


def title(name: str) -> str:
    """Return the name of a metric in words, such as ``Macro F1`` for ``macro_f1``."""
    words = name.replace("_", " ").replace("f1", "F1").replace("roc auc", "ROC AUC")
    return words[:1].upper() + words[1:]


def quality_section(qualities: Mapping[str, Quality], kind: str, rows: str) -> Section:
    """Return the section of what each class or type reaches, the hardest first.

    Args:
        qualities: precision, recall and F1 by name.
        kind: what the names name, such as ``class``.
        rows: what the support counts, such as ``documents``.
    """
    ordered = sorted(qualities.items(), key=lambda each: (each[1].f1, each[0]))
    plural = f"{kind}es" if kind.endswith("s") else f"{kind}s"
    about = f"F1 of each {kind}" if len(ordered) <= _BARS else f"F1 of the {_BARS} hardest {plural}"
    bars = [(name, each.f1, f"{each.f1:.2f}") for name, each in ordered[:_BARS]]
    chart = Markup(svg.bars(about, bars, 0, 1.0, left=168))
    table = [
        (kind, "precision", "recall", "F1", rows),
        *(
            (name, f"{each.precision:.3f}", f"{each.recall:.3f}", f"{each.f1:.3f}",
             f"{each.support:,}")
            for name, each in ordered
        ),
    ]  # fmt: skip
    return Section(
        plural.capitalize(),
        f"The {plural} with the lowest F1 come first.",
        [Card(f"F1 by {kind}", about, chart)],
        table,
    )


def calibration_card(bins: Sequence[Bin], what: str) -> Card:
    """Draw how often labels are right, by their score.

    Args:
        bins: the bins of the scores.
        what: what has a score, such as ``labels``.
    """
    points = [(each.confidence, each.accuracy) for each in bins]
    series = [
        svg.Series("a score that says how often it is right", 7, [(0.0, 0.0), (1.0, 1.0)]),
        svg.Series("this head", 0, points),
    ]
    chart = svg.line_chart(
        "calibration", series, svg.axis("score", 0.0, 1.0), svg.axis("", 0.0, 1.0, percent=True)
    )
    about = f"How often {what} are right, by their score"
    legend = [(each.name, each.number) for each in series]
    return Card("Calibration", about, Markup(chart), legend)
