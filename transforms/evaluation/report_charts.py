"""The charts of ``report.html``, each in a card with its title, legend and explanation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from transforms.evaluation import svg
from transforms.evaluation.corpus_sample import OTHER, CorpusSample
from transforms.evaluation.metrics import success_curve
from transforms.evaluation.results import CURVE, Evaluation, Measured

COLOURS = 6
_RIGHT, _WRONG = 6, 7
_BINS = 24
_RANKS = ((1, 1), (2, 2), (3, 3), (4, 5), (6, 10), (11, 20), (21, 50), (51, 100))


@dataclass(frozen=True)
class Card:
    """A titled chart.

    Attributes:
        title, about: texts above the chart.
        chart: SVG that `svg` drew, so that it is safe as HTML.
        legend: names with the numbers of their colours.
        note: a text in place of a chart.
    """

    title: str
    about: str = ""
    chart: Markup = Markup()
    legend: Sequence[tuple[str, int]] = ()
    note: str = ""


def metric_title(name: str) -> str:
    """Return a metric's usual spelling, such as ``MRR@10`` for ``mrr@10``."""
    known = {"mrr": "MRR", "ndcg": "nDCG", "f1": "F1", "exact_match": "Exact match"}
    word, at, depth = name.partition("@")
    return known.get(word, word.capitalize()) + at + depth


def success_card(evaluation: Evaluation, colours: dict[str, int]) -> Card:
    """Draw success@k against k, one line for each mode."""
    depth = min(evaluation.k, CURVE)
    series = []
    for mode, found in evaluation.modes.items():
        curve = success_curve(found.ranks, depth)
        points = [(float(k), float(share)) for k, share in enumerate(curve, 1)]
        series.append(svg.Series(mode, colours[mode], points))
    low = min(0.8, *(each.points[0][1] for each in series))
    chart = svg.line_chart(
        "success against depth by mode",
        series,
        svg.depth_axis("documents looked at, k", depth),
        svg.axis("", low, 1.0, percent=True),
    )
    about = "Questions with a right document among the first k"
    return Card("Success@k", about, Markup(chart), list(colours.items()))


def interval_card(evaluation: Evaluation, colours: dict[str, int]) -> Card:
    """Draw the mean of the leading metric with its interval, one row for each mode."""
    found = evaluation.modes
    name = next(n for n in ("mrr@10", "success@1") if all(n in f.values for f in found.values()))
    rows = [
        (mode, colours[mode], each.intervals[name][0], float(each.values[name].mean()),
         each.intervals[name][1])
        for mode, each in found.items()
    ]  # fmt: skip
    title = metric_title(name)
    x = svg.axis(title, min(row[2] for row in rows), max(row[4] for row in rows))
    chart = svg.whiskers(f"{name} by mode", rows, x)
    return Card(title, "The mean and its 95 % interval", Markup(chart))


def rank_cards(evaluation: Evaluation, colours: dict[str, int]) -> list[Card]:
    """Draw the ranks of the first right documents, one card for each mode, on one scale."""
    shares = {mode: _rank_shares(found) for mode, found in evaluation.modes.items()}
    longest = max(share for rows in shares.values() for _, share in rows)
    cards = []
    for mode, rows in shares.items():
        chart = svg.bars(
            f"ranks of the first right document, {mode}",
            [(name, share, f"{100 * share:.1f} %") for name, share in rows],
            colours[mode],
            longest,
        )
        cards.append(Card(f"Ranks, {mode}", "Rank of the first right document", Markup(chart)))
    return cards


def _rank_shares(found: Measured) -> list[tuple[str, float]]:
    ranks = found.ranks
    shares = [
        (str(low) if low == high else f"{low}–{high}", ((ranks >= low) & (ranks <= high)).mean())
        for low, high in _RANKS
    ]
    deeper = (ranks > _RANKS[-1][1]).mean()
    shares += [("deeper", deeper)] if deeper else []
    return [(name, float(share)) for name, share in [*shares, ("not found", (ranks == 0).mean())]]


def score_card(evaluation: Evaluation, mode: str) -> Card:
    """Draw the scores of right and of wrong first hits of a mode."""
    found = evaluation.modes[mode]
    scores, right = [], []
    for question, rank in zip(evaluation.questions, found.ranks, strict=True):
        hits = found.runs.get(question.question_id)
        if hits:
            scores.append(hits[0][1])
            right.append(rank == 1)
    values, is_right = np.array(scores, np.float64), np.array(right, np.bool_)
    parts = [("right", _RIGHT, values[is_right]), ("wrong", _WRONG, values[~is_right])]
    legend = [(f"{name} ({len(each):,})", number) for name, number, each in reversed(parts)]
    if not len(values):
        return Card(mode, legend=legend, note="Nothing was found.")
    x = svg.axis("score of the first hit", float(values.min()), float(values.max()))
    chart = _histogram(f"scores of first hits, {mode}", parts, x, (x.high - x.low) / _BINS)
    return Card(mode, "", chart, legend)


def corpus_cards(sample: CorpusSample) -> list[Card]:
    """Draw the lengths of a store's passages and a map of its vectors."""
    if not sample.passages:
        return [Card("Passages", note="The store holds none.")]
    return [
        _length_card("Tokens a passage", "tokens, special ones counted", sample.tokens),
        _length_card("Characters a passage", "characters", sample.characters),
        _map_card(sample),
    ]


def _length_card(title: str, unit: str, lengths: npt.NDArray[np.int64]) -> Card:
    low, middle, high = (int(np.percentile(lengths, at)) for at in (5, 50, 95))
    about = f"median {middle:,}, nine in ten from {low:,} to {high:,}"
    values = lengths.astype(np.float64)
    x = svg.axis(unit, min(float(values.min()), 0.0), float(values.max()))
    # Whole numbers get bins of whole width.
    width = float(max(1, round((x.high - x.low) / _BINS)))
    return Card(title, about, _histogram(title, [("passages", 0, values)], x, width))


def _map_card(sample: CorpusSample) -> Card:
    groups = sorted(set(sample.groups), key=lambda name: (name == OTHER, name))
    series, names = [], []
    for number, group in enumerate(groups):
        mine = [place for place, each in enumerate(sample.groups) if each == group]
        colour = _WRONG if group == OTHER else number % COLOURS
        points = [(float(a), float(b)) for a, b in sample.places[mine]]
        series.append(svg.Series(group, colour, points))
        names.append([sample.names[place] for place in mine])
    # The grey points are drawn first, below those that have a colour.
    order = sorted(range(len(series)), key=lambda place: series[place].name != OTHER)
    chart = svg.scatter(
        "map of the vectors", [series[place] for place in order], [names[place] for place in order]
    )
    shares = " and ".join(f"{100 * share:.0f} %" for share in sample.explained)
    about = (
        f"The first two principal components of {len(sample.names):,} vectors, "
        f"{shares} of their variance"
    )
    legend = [(each.name, each.number) for each in series] if groups != [""] else []
    return Card("Map of the vectors", about, Markup(chart), legend)


def _histogram(
    about: str,
    parts: Sequence[tuple[str, int, npt.NDArray[np.float64]]],
    x: svg.Axis,
    width: float,
) -> Markup:
    """Draw the shares of each part's values by bin; a part is a name, a colour and values."""
    count = int(np.ceil((x.high - x.low) / width - 1e-9))
    edges = x.low + width * np.arange(count + 1)
    # The axis ends with the last bar.
    x = svg.Axis(x.label, x.low, float(edges[-1]), x.ticks)
    series, top = [], 0.0
    for name, number, values in parts:
        if len(values):
            shares = np.histogram(values, edges)[0] / len(values)
            top = max(top, float(shares.max()))
            points = list(zip(edges[:-1].tolist(), shares.tolist(), strict=True))
            series.append(svg.Series(name, number, points))
    # The first part is drawn last, above the others.
    series.reverse()
    y = svg.axis("", 0.0, top, percent=True)
    return Markup(svg.histogram(about, series, x, y, width))
