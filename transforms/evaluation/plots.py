"""Charts as SVG files of their own: the curves of a training, and recall against latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from transforms.evaluation.svg import (
    HEIGHT,
    WIDTH,
    Axis,
    Series,
    axis,
    line_chart,
    trade_off_chart,
)

_TITLE = 24
_COLOURS = 6
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #5c5a57; }
.title { font-weight: 600; fill: #1c1b1a; }
.page { fill: #ffffff; }
.grid { stroke: #dedbd5; } .base { stroke: #5c5a57; }
.line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; }
.dot { fill: #ffffff; stroke: currentColor; stroke-width: 1.5; }
.chosen { fill: currentColor; }
.s0 { color: #0063a6; } .s1 { color: #c24e00; } .s2 { color: #007a5a; }
.s3 { color: #a03b80; } .s4 { color: #7a6200; } .s5 { color: #4f6d8f; }
"""


def training_curves(history: Sequence[Mapping[str, float]]) -> str:
    """Draw each metric of a training's history over its steps, one panel each.

    Args:
        history: one mapping for each evaluation, with ``step`` and the metrics measured there.
    """
    names = [name for name in dict.fromkeys(n for each in history for n in each) if name != "step"]
    panels = []
    for number, name in enumerate(names):
        points = [(each["step"], each[name]) for each in history if name in each]
        values = [value for _, value in points]
        title = f"{name}: {values[0]:.4f} to {values[-1]:.4f}"
        series = Series(name, number % _COLOURS, points)
        y = axis("", min(values), max(values))
        panels.append((title, line_chart(title, [series], _step_axis(points), y)))
    return _document(panels)


def latency_plot(rows: Sequence[Mapping[str, float]]) -> str:
    """Draw recall@10 against milliseconds, one point for each setting, the chosen one filled.

    A line joins the settings of `best_rows`.

    Args:
        rows: ``setting``, ``recall_at_10``, ``milliseconds`` and ``chosen`` of each setting.
    """
    points = [(row["milliseconds"], row["recall_at_10"]) for row in rows]
    times = [time for time, _ in points]
    title = "recall@10 against milliseconds a query, by setting"
    chart = trade_off_chart(
        title,
        [
            (point, f"{row['setting']:g}", bool(row["chosen"]))
            for point, row in zip(points, rows, strict=True)
        ],
        [points[number] for number in best_rows(rows)],
        axis("milliseconds a query", min(times), max(times)),
        axis("", min(0.9, *(recall for _, recall in points)), 1.0),
    )
    return _document([(title, chart)])


def best_rows(rows: Sequence[Mapping[str, float]]) -> list[int]:
    """Return the settings that no faster one equals in recall@10, fastest first."""
    order = sorted((row["milliseconds"], -row["recall_at_10"], n) for n, row in enumerate(rows))
    kept: list[int] = []
    least = 1.0
    for _, missed, n in order:
        if missed < least:
            kept.append(n)
            least = missed
    return kept


def _step_axis(points: Sequence[tuple[float, float]]) -> Axis:
    steps = [step for step, _ in points]
    if min(steps) < max(steps):
        return axis("step", min(steps), max(steps))
    # A dot is drawn at a tick, and one point makes no line.
    return Axis("step", steps[0] - 1, steps[0] + 1, ((steps[0], f"{steps[0]:g}"),))


def _document(panels: Sequence[tuple[str, str]]) -> str:
    """Return an SVG document of titled charts, one below the other."""
    height = (_TITLE + HEIGHT) * max(1, len(panels))
    drawn = []
    for number, (title, chart) in enumerate(panels):
        top = number * (_TITLE + HEIGHT)
        placed = chart.replace(
            "<svg ", f'<svg y="{top + _TITLE}" width="{WIDTH}" height="{HEIGHT}" ', 1
        )
        drawn.append(f'<text class="title" x="8" y="{top + 17}">{escape(title)}</text>{placed}')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{2 * WIDTH}" height="{2 * height}">\n<style>{_STYLE}</style>\n'
        f'<rect class="page" width="{WIDTH}" height="{height}"/>\n'
        + "\n".join(drawn)
        + "\n</svg>\n"
    )
