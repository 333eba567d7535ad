"""``report.html``: an evaluation to look at, on one page."""

import textwrap
from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from transforms.evaluation import html, svg
from transforms.evaluation.corpus_sample import OTHER, Portrait
from transforms.evaluation.hard_questions import Hard, Instead
from transforms.evaluation.metrics import means, success_curve
from transforms.evaluation.results import CURVE, Evaluation, Measured

_COLOURS, _RIGHT, _WRONG = 6, 6, 7
_BINS = 24
_RANKS = ((1, 1), (2, 2), (3, 3), (4, 5), (6, 10), (11, 20), (21, 50), (51, 100))
_LEAD = ("mrr@10", "ndcg@10", "success@1")


def evaluation_page(
    evaluation: Evaluation,
    portrait: Portrait,
    hard: Sequence[Hard],
    identity: Sequence[tuple[str, str]],
    timed: str,
) -> str:
    """The page as HTML.

    Args:
        evaluation: what was measured.
        portrait: of the store.
        hard: the hardest questions.
        identity: names and values that say what was measured: store, model, versions.
        timed: how searches were timed.
    """
    modes = evaluation.modes
    colours = {mode: number % _COLOURS for number, mode in enumerate(modes)}
    shown = ", ".join(modes)
    sections = [
        _headline(evaluation),
        html.section(
            "Metrics",
            "Means over all questions, with 95 % intervals by bootstrap over the questions. "
            "The best of each row is coloured.",
            _metrics_table(evaluation),
        ),
        html.section(
            "How deep one has to look",
            "Each question counts by the first right document that is found for it.",
            html.cards(
                [
                    _success(evaluation, colours),
                    _intervals(evaluation, colours),
                    *_ranks(evaluation, colours),
                ]
            ),
        ),
        html.section(
            "What scores tell",
            "The first hit's score, for questions where that hit is right and where it is wrong. "
            "The less the two overlap, the more a score can be relied on.",
            html.cards([_scores(evaluation, mode) for mode in modes]),
        ),
        html.section(
            "The corpus",
            f"A seeded sample of {portrait.passages:,} passages.",
            html.cards(_corpus(portrait)),
        ),
    ]
    if any(found.latency for found in modes.values()):
        about = f"Milliseconds by stage: {timed}."
        sections.append(html.section("Latency", about, _latency(evaluation)))
    sections.append(
        html.section(
            "The hardest questions",
            "Those that all modes answer worst, the surest mistakes first: what was to be found, "
            "and what came first instead.",
            html.cards([_hard(each) for each in hard])
            if hard
            else "<p>None: each question's first hit is right in every mode.</p>",
        )
    )
    rows = [(name, escape(value)) for name, value in identity]
    sections.append(
        html.section("What was measured", "", f'<div class="card">{html.pairs(rows)}</div>')
    )
    about = f"{len(evaluation.questions):,} questions, {evaluation.k} documents deep: {shown}"
    return html.page("How well questions are answered", about, sections)


def _headline(evaluation: Evaluation) -> str:
    items = []
    for name in _LEAD:
        values = {m: means(f.values).get(name) for m, f in evaluation.modes.items()}
        known = {mode: value for mode, value in values.items() if value is not None}
        if known:
            best = max(known, key=lambda mode: known[mode])
            items.append((f"{known[best]:.3f}", f"{_title(name)}, {best}"))
    missed = np.all([found.ranks == 0 for found in evaluation.modes.values()], axis=0).mean()
    items.append((f"{100 * missed:.1f} %", "of questions no mode finds"))
    return html.tiles(items)


def _metrics_table(evaluation: Evaluation) -> str:
    modes = evaluation.modes
    rows: list[list[str | tuple[str, str, bool]]] = []
    for name in dict.fromkeys(name for found in modes.values() for name in found.values):
        values = [
            float(f.values[name].mean()) if name in f.values else None for f in modes.values()
        ]
        best = max(value for value in values if value is not None)
        row: list[str | tuple[str, str, bool]] = [_title(name)]
        for found, value in zip(modes.values(), values, strict=True):
            if value is None:
                row.append("–")
                continue
            low, high = found.intervals[name]
            row.append((f"{value:.3f}", f"{low:.3f}–{high:.3f}", value == best))
        rows.append(row)
    return html.table(["", *modes], rows)


def _success(evaluation: Evaluation, colours: dict[str, int]) -> str:
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
    names = html.legend(list(colours.items()))
    about = "Questions with a right document among the first k"
    return html.card("Success@k", about, names + chart)


def _intervals(evaluation: Evaluation, colours: dict[str, int]) -> str:
    found = evaluation.modes
    name = next(n for n in ("mrr@10", "success@1") if all(n in f.values for f in found.values()))
    rows = [
        (mode, colours[mode], each.intervals[name][0], float(each.values[name].mean()),
         each.intervals[name][1])
        for mode, each in found.items()
    ]  # fmt: skip
    x = svg.axis(_title(name), min(row[2] for row in rows), max(row[4] for row in rows))
    about = "The mean and its 95 % interval"
    return html.card(_title(name), about, svg.whiskers(f"{name} by mode", rows, x))


def _ranks(evaluation: Evaluation, colours: dict[str, int]) -> list[str]:
    """A card a mode, all on one scale."""
    shares = {mode: _rank_shares(found) for mode, found in evaluation.modes.items()}
    longest = max(share for rows in shares.values() for _, share in rows)
    return [
        html.card(
            f"Ranks, {mode}",
            "Where the first right document stands",
            svg.bars(
                f"ranks of the first right document, {mode}",
                [(name, share, f"{100 * share:.1f} %") for name, share in rows],
                colours[mode],
                longest,
            ),
        )
        for mode, rows in shares.items()
    ]


def _rank_shares(found: Measured) -> list[tuple[str, float]]:
    ranks = found.ranks
    shares = [
        (str(low) if low == high else f"{low}–{high}", ((ranks >= low) & (ranks <= high)).mean())
        for low, high in _RANKS
    ]
    deeper = (ranks > _RANKS[-1][1]).mean()
    shares += [("deeper", deeper)] if deeper else []
    return [(name, float(share)) for name, share in [*shares, ("not found", (ranks == 0).mean())]]


def _scores(evaluation: Evaluation, mode: str) -> str:
    found = evaluation.modes[mode]
    scores, right = [], []
    for question, rank in zip(evaluation.questions, found.ranks, strict=True):
        hits = found.runs.get(question.question_id)
        if hits:
            scores.append(hits[0][1])
            right.append(rank == 1)
    values, is_right = np.array(scores, np.float64), np.array(right, np.bool_)
    parts = [
        ("right", _RIGHT, values[is_right]),
        ("wrong", _WRONG, values[~is_right]),
    ]
    chart = _histogram(f"scores of first hits, {mode}", parts, "score of the first hit", False)
    names = html.legend(
        [(f"{name} ({len(each):,})", number) for name, number, each in reversed(parts)]
    )
    return html.card(mode, "", names + chart)


def _corpus(portrait: Portrait) -> list[str]:
    if not portrait.passages:
        return [html.card("Passages", "", "<p>The store holds none.</p>")]
    made = []
    for title, unit, lengths in (
        ("Tokens a passage", "tokens, special ones counted", portrait.tokens),
        ("Characters a passage", "characters", portrait.characters),
    ):
        low, middle, high = (int(np.percentile(lengths, at)) for at in (5, 50, 95))
        about = f"median {middle:,}, nine in ten from {low:,} to {high:,}"
        parts = [("passages", 0, lengths.astype(np.float64))]
        made.append(html.card(title, about, _histogram(title, parts, unit, True)))
    return [*made, _map(portrait)]


def _map(portrait: Portrait) -> str:
    groups = sorted(set(portrait.groups), key=lambda name: (name == OTHER, name))
    series, names = [], []
    for number, group in enumerate(groups):
        mine = [place for place, each in enumerate(portrait.groups) if each == group]
        colour = _WRONG if group == OTHER else number % _COLOURS
        points = [(float(a), float(b)) for a, b in portrait.places[mine]]
        series.append(svg.Series(group, colour, points))
        names.append([portrait.names[place] for place in mine])
    # What has no colour of its own lies below what has.
    order = sorted(range(len(series)), key=lambda place: series[place].name != OTHER)
    chart = svg.scatter(
        "map of the vectors", [series[place] for place in order], [names[place] for place in order]
    )
    shares = " and ".join(f"{100 * share:.0f} %" for share in portrait.explained)
    about = (
        f"The first two principal components of {len(portrait.names):,} vectors, "
        f"{shares} of their variance"
    )
    shown = html.legend([(each.name, each.number) for each in series]) if groups != [""] else ""
    return html.card("Map of the vectors", about, shown + chart)


def _histogram(
    about: str,
    parts: Sequence[tuple[str, int, npt.NDArray[np.float64]]],
    label: str,
    whole: bool,
) -> str:
    """Shares by value, each part of its own total; ``whole`` numbers get whole bins."""
    every = np.concatenate([values for _, _, values in parts])
    if not len(every):
        return "<p>Nothing was found.</p>"
    low, high = float(every.min()), float(every.max())
    x = svg.axis(label, min(low, 0.0) if whole else low, high)
    width = (x.high - x.low) / _BINS
    if whole:
        width = float(max(1, round(width)))
    count = int(np.ceil((x.high - x.low) / width - 1e-9))
    edges = x.low + width * np.arange(count + 1)
    # The last bar may not stand out over the axis.
    x = svg.Axis(label, x.low, float(edges[-1]), x.ticks)
    made, top = [], 0.0
    for name, number, values in parts:
        if len(values):
            shares = np.histogram(values, edges)[0] / len(values)
            top = max(top, float(shares.max()))
            points = list(zip(edges[:-1].tolist(), shares.tolist(), strict=True))
            made.append(svg.Series(name, number, points))
    # What is wrong lies behind what is right.
    made.reverse()
    return svg.histogram(about, made, x, svg.axis("", 0.0, top, percent=True), width)


def _latency(evaluation: Evaluation) -> str:
    rows = [
        (mode, stage, *(f"{value:.1f}" for value in each.values()))
        for mode, found in evaluation.modes.items()
        for stage, each in found.latency.items()
    ]
    return html.table(("mode", "stage", "median", "95 %", "99 %"), rows)


def _hard(hard: Hard) -> str:
    rows = [("right", _passage(name, text)) for name, text in hard.right]
    told: set[str] = set()
    for each in hard.instead:
        # What several modes put first is quoted once.
        rows.append((each.mode, _said(each, each.document_id not in told)))
        told.add(each.document_id)
    return html.card(hard.question.question, hard.question.question_id, html.pairs(rows))


def _passage(name: str, text: str) -> str:
    words = escape(_short(text)) if text else "not in the store"
    return f'<b>{escape(name)}</b> <span class="soft">{words}</span>'


def _said(found: Instead, quoted: bool) -> str:
    if not found.document_id:
        return "nothing was found"
    place = f"right one at rank {found.rank}" if found.rank else "right one not found"
    words = (
        f' <span class="soft">{escape(_short(found.text))}</span>' if found.text and quoted else ""
    )
    return f"<b>{escape(found.document_id)}</b> ({found.score:.3f}; {place}){words}"


def _short(text: str) -> str:
    return textwrap.shorten(text, 180, placeholder=" …")


def _title(name: str) -> str:
    """``mrr@10`` as people write it."""
    known = {"mrr": "MRR", "ndcg": "nDCG", "f1": "F1", "exact_match": "Exact match"}
    word, at, depth = name.partition("@")
    return known.get(word, word.capitalize()) + at + depth
