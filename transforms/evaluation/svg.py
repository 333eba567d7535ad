"""Charts as SVG, 360 pixels wide, so that their texts are readable on a phone.

Charts have no colours: a mark has the class ``s0``, ``s1``, … of its series, and the page's style
gives each class a colour, in light and in dark. All texts are escaped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 360, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 12, 44
_BAR = 22

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """An axis.

    Attributes:
        label: the text below the axis.
        low, high: the values at its ends.
        ticks: value and text of each tick.
        log: whether the axis is logarithmic.
    """

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Return the place of a value, from 0 to 1."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low) if high > low else 0.5


@dataclass(frozen=True)
class Series:
    """Named points or bars; ``number`` is that of their colour."""

    name: str
    number: int
    points: Sequence[Point]


def axis(label: str, low: float, high: float, percent: bool = False) -> Axis:
    """Return a linear axis with three to six round ticks; its ends are ticks."""
    least = 1e-3 * max(abs(low), abs(high)) or 1.0
    if high - low < least:
        low, high = low - least / 2, high + least / 2
    step = _round_step((high - low) / 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, -math.floor(math.log10(step * (100 if percent else 1)) + 1e-9))
    ticks = []
    for count in range(first, last + 1):
        value = count * step
        ticks.append((value, f"{100 * value:.{digits}f} %" if percent else _count(value, digits)))
    return Axis(label, first * step, last * step, tuple(ticks))


def depth_axis(label: str, depth: int) -> Axis:
    """Return a logarithmic axis from 1 to ``depth``."""
    ticks = [value for value in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if value <= depth]
    return Axis(label, 1, max(depth, 2), tuple((value, str(value)) for value in ticks), log=True)


def line_chart(about: str, series: Sequence[Series], x: Axis, y: Axis) -> str:
    """Draw a line for each series; a dot at each tick of ``x`` shows its value as a tooltip."""
    marks = []
    ticks = {value for value, _ in x.ticks}
    for each in series:
        path = " ".join(f"{_x(x, a)},{_y(y, b)}" for a, b in each.points)
        marks.append(f'<g class="s{each.number}"><polyline class="line" points="{path}"/>')
        marks += [
            f'<circle class="dot" cx="{_x(x, a)}" cy="{_y(y, b)}" r="3.5">'
            f"<title>{escape(each.name)}: {b:.3f} at {a:g}</title></circle>"
            for a, b in each.points
            if a in ticks
        ]
        marks.append("</g>")
    return _framed(about, x, y, "".join(marks))


def trade_off_chart(
    about: str,
    points: Sequence[tuple[Point, str, bool]],
    front: Sequence[Point],
    x: Axis,
    y: Axis,
) -> str:
    """Draw labelled points with a line through the best of them.

    Args:
        about: what the chart shows, for screen readers.
        points: place and label of each, and whether to fill it.
        front: the points that the line joins.
        x: the horizontal axis.
        y: the vertical axis.
    """
    path = " ".join(f"{_x(x, a)},{_y(y, b)}" for a, b in front)
    marks = [f'<g class="s0"><polyline class="line" points="{path}"/></g><g class="s1">']
    for (a, b), label, filled in points:
        left, top = float(_x(x, a)), float(_y(y, b))
        kind = "dot chosen" if filled else "dot"
        marks.append(
            f'<circle class="{kind}" cx="{left}" cy="{top}" r="4"><title>{escape(label)}: {b:.4f} '
            f'at {a:.4g}</title></circle><text class="tick" x="{left + 6:.1f}" '
            f'y="{top + 14:.1f}">{escape(label)}</text>'
        )
    marks.append("</g>")
    return _framed(about, x, y, "".join(marks))


def points_chart(about: str, series: Sequence[Series], x: Axis, y: Axis) -> str:
    """Draw many points between axes, without tooltips."""
    marks = []
    for each in series:
        dots = (f'<circle class="point" cx="{_x(x, a)}" cy="{_y(y, b)}" r="2"/>'
                for a, b in each.points)  # fmt: skip
        marks.append(f'<g class="s{each.number}">{"".join(dots)}</g>')
    return _framed(about, x, y, "".join(marks))


def histogram(about: str, series: Sequence[Series], x: Axis, y: Axis, width: float) -> str:
    """Draw a bar from each point, ``width`` units wide; later series cover earlier ones."""
    marks = []
    for each in series:
        marks.append(f'<g class="s{each.number}">')
        for start, height in each.points:
            if height > 0:
                left, right = float(_x(x, start)), float(_x(x, start + width))
                top, bottom = float(_y(y, height)), float(_y(y, y.low))
                marks.append(
                    f'<rect class="bar" x="{left:.1f}" y="{top:.1f}" '
                    f'width="{max(right - left - 1, 0.6):.1f}" height="{bottom - top:.1f}">'
                    f"<title>{escape(each.name)}: {height:,.4g} from {start:,.4g} to "
                    f"{start + width:,.4g}</title></rect>"
                )
        marks.append("</g>")
    return _framed(about, x, y, "".join(marks))


def bars(
    about: str,
    rows: Sequence[tuple[str, float, str]],
    number: int,
    longest: float,
    left: int = 78,
) -> str:
    """Draw horizontal bars.

    Args:
        about: what the chart shows, for screen readers.
        rows: name, value and text of each bar.
        number: the number of the bars' colour.
        longest: the value of a bar of full length.
        left: the room for the names, in pixels.
    """
    right = 56
    room = WIDTH - left - right
    marks = []
    for place, (name, value, text) in enumerate(rows):
        top = place * _BAR
        length = room * value / longest
        marks.append(
            f'<text class="tick" x="{left - 8}" y="{top + 15}" text-anchor="end">'
            f"{escape(shortened(name, left // 7))}</text>"
            f'<rect class="bar solid s{number}" x="{left}" y="{top + 3}" width="{length:.1f}" '
            f'height="{_BAR - 6}" rx="2"/>'
            f'<text class="value" x="{left + length + 6:.1f}" y="{top + 15}">{escape(text)}</text>'
        )
    return _svg(about, _BAR * len(rows) + 4, "".join(marks))


def whiskers(about: str, rows: Sequence[tuple[str, int, float, float, float]], x: Axis) -> str:
    """Draw a dot with an interval for each row: name, number of the colour, low, middle, high."""
    left, step = 100, 34
    bottom = step * len(rows) + 6

    def across(value: float) -> float:
        return left + x.place(value) * (WIDTH - left - _RIGHT - 12)

    marks = []
    for value, text in x.ticks:
        marks.append(
            f'<line class="grid" x1="{across(value):.1f}" x2="{across(value):.1f}" y1="0" '
            f'y2="{bottom}"/><text class="tick" text-anchor="middle" x="{across(value):.1f}" '
            f'y="{bottom + 16}">{escape(text)}</text>'
        )
    for place, (name, number, low, middle, high) in enumerate(rows):
        y = step * place + step // 2
        marks.append(
            f'<text class="tick" x="{left - 12}" y="{y + 4}" text-anchor="end">'
            f"{escape(shortened(name, 11))}</text>"
            f'<g class="s{number}"><line class="line" x1="{across(low):.1f}" '
            f'x2="{across(high):.1f}" y1="{y}" y2="{y}"/><circle class="dot" '
            f'cx="{across(middle):.1f}" cy="{y}" r="5"><title>{escape(name)}: {middle:.4f} '
            f"[{low:.4f}, {high:.4f}]</title></circle></g>"
        )
    marks.append(
        f'<text class="label" text-anchor="middle" x="{(left + WIDTH) / 2:.0f}" '
        f'y="{bottom + 36}">{escape(x.label)}</text>'
    )
    return _svg(about, bottom + 42, "".join(marks))


def scatter(about: str, series: Sequence[Series], names: Sequence[Sequence[str]]) -> str:
    """Draw points on equal scales without axes; ``names`` are their tooltips."""
    every = [point for each in series for point in each.points]
    size = WIDTH - 16
    lows = [min((point[side] for point in every), default=0.0) for side in (0, 1)]
    highs = [max((point[side] for point in every), default=1.0) for side in (0, 1)]
    scale = (size - 16) / max(highs[0] - lows[0], highs[1] - lows[1], 1e-9)
    middle = [(low + high) / 2 for low, high in zip(lows, highs, strict=True)]
    height = int(scale * (highs[1] - lows[1])) + 24
    marks = []
    for each, mine in zip(series, names, strict=True):
        marks.append(f'<g class="s{each.number}">')
        for (a, b), name in zip(each.points, mine, strict=True):
            x, y = WIDTH / 2 + scale * (a - middle[0]), height / 2 - scale * (b - middle[1])
            marks.append(
                f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="2.6">'
                f"<title>{escape(name)}</title></circle>"
            )
        marks.append("</g>")
    return _svg(about, height, "".join(marks))


def _framed(about: str, x: Axis, y: Axis, marks: str) -> str:
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    drawn = []
    for value, text in y.ticks:
        at = _y(y, value)
        drawn.append(
            f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{at}" y2="{at}"/>'
            f'<text class="tick" text-anchor="end" x="{_LEFT - 6}" y="{float(at) + 4:.1f}">'
            f"{escape(text)}</text>"
        )
    drawn.append(f'<line class="base" x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    for value, text in x.ticks:
        drawn.append(
            f'<text class="tick" text-anchor="middle" x="{_x(x, value)}" y="{bottom + 20}">'
            f"{escape(text)}</text>"
        )
    drawn.append(
        f'<text class="label" text-anchor="middle" x="{(_LEFT + right) // 2}" y="{HEIGHT - 6}">'
        f"{escape(x.label)}</text>"
    )
    return _svg(about, HEIGHT, "".join(drawn) + marks)


def _svg(about: str, height: int, content: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(about)}">'
        f"{content}</svg>"
    )


def _x(x: Axis, value: float) -> str:
    return f"{_LEFT + x.place(value) * (WIDTH - _LEFT - _RIGHT):.1f}"


def _y(y: Axis, value: float) -> str:
    return f"{_TOP + (1 - y.place(value)) * (HEIGHT - _TOP - _BOTTOM):.1f}"


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * times for times in (1, 2, 5, 10) if power * times >= step * 0.999)


def _count(value: float, digits: int) -> str:
    """Return a number in few characters: 20,000 as 20k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * size:
            return f"{value / size:.6g}{letter}"
    return f"{value:,.{digits}f}"


def shortened(text: str, most: int) -> str:
    """Return the beginning of a text, with an ellipsis if it has more characters than ``most``."""
    return text if len(text) <= most else text[: most - 1] + "…"
