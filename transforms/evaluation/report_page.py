"""``report.html``: an evaluation on one page, from the template ``templates/report.html.j2``.

The template escapes every text. Only the charts that `svg` draws are marked as safe HTML.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from transforms.evaluation.corpus_sample import CorpusSample
from transforms.evaluation.hard_questions import FirstHit, HardQuestion
from transforms.evaluation.metrics import means
from transforms.evaluation.report_charts import (
    COLOURS,
    corpus_cards,
    interval_card,
    metric_title,
    rank_cards,
    score_card,
    success_card,
)
from transforms.evaluation.results import Evaluation

#: The most characters of a text, and of the word at which it ends.
_LONGEST_TEXT, _LONGEST_WORD = 180, 40
_LEAD = ("mrr@10", "ndcg@10", "success@1")


@dataclass(frozen=True)
class _Cell:
    """A metric's mean, its interval, and whether it is the best of all modes."""

    value: str
    interval: str
    best: bool


@dataclass(frozen=True)
class _HardRow:
    """A document that is right, or that a mode put first."""

    label: str
    document_id: str
    result: str
    text: str


@dataclass(frozen=True)
class _HardCard:
    """A question with its documents."""

    question: str
    question_id: str
    rows: Sequence[_HardRow]


def evaluation_page(
    evaluation: Evaluation,
    sample: CorpusSample,
    hard: Sequence[HardQuestion],
    identity: Sequence[tuple[str, str]],
    timed: str,
) -> str:
    """Return the page as HTML.

    Args:
        evaluation: what was measured.
        sample: a sample of the store.
        hard: the hardest questions.
        identity: names and values that say what was measured: store, model, versions.
        timed: how searches were timed.
    """
    modes = list(evaluation.modes)
    colours = {mode: number % COLOURS for number, mode in enumerate(modes)}
    template = environment().get_template("report.html.j2")
    return template.render(
        questions=len(evaluation.questions),
        k=evaluation.k,
        modes=modes,
        headline=_headline(evaluation),
        metrics=_metrics(evaluation),
        depth_cards=[
            success_card(evaluation, colours),
            interval_card(evaluation, colours),
            *rank_cards(evaluation, colours),
        ],
        score_cards=[score_card(evaluation, mode) for mode in modes],
        passages=sample.passages,
        corpus_cards=corpus_cards(sample),
        latency=_latency(evaluation),
        timed=timed,
        hard=[_hard_card(each) for each in hard],
        identity=identity,
    )


@functools.cache
def environment() -> Environment:
    """Return the environment of the templates; it escapes every text."""
    return Environment(
        loader=PackageLoader("transforms.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _headline(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return the leading figures, each with its name."""
    figures = []
    for name in _LEAD:
        values = {m: means(f.values).get(name) for m, f in evaluation.modes.items()}
        known = {mode: value for mode, value in values.items() if value is not None}
        if known:
            best = max(known, key=lambda mode: known[mode])
            figures.append((f"{known[best]:.3f}", f"{metric_title(name)}, {best}"))
    missed = np.all([found.ranks == 0 for found in evaluation.modes.values()], axis=0).mean()
    return [*figures, (f"{100 * missed:.1f} %", "of questions no mode finds")]


def _metrics(evaluation: Evaluation) -> list[tuple[str, list[_Cell | None]]]:
    """Return the name of each metric with a cell for each mode, None where it is not measured."""
    modes = evaluation.modes
    rows: list[tuple[str, list[_Cell | None]]] = []
    for name in dict.fromkeys(name for found in modes.values() for name in found.values):
        values = [
            float(f.values[name].mean()) if name in f.values else None for f in modes.values()
        ]
        best = max(value for value in values if value is not None)
        cells: list[_Cell | None] = []
        for found, value in zip(modes.values(), values, strict=True):
            if value is None:
                cells.append(None)
                continue
            low, high = found.intervals[name]
            cells.append(_Cell(f"{value:.3f}", f"{low:.3f}–{high:.3f}", value == best))
        rows.append((metric_title(name), cells))
    return rows


def _latency(evaluation: Evaluation) -> list[tuple[str, ...]]:
    return [
        (mode, stage, *(f"{value:.1f}" for value in each.values()))
        for mode, found in evaluation.modes.items()
        for stage, each in found.latency.items()
    ]


def _hard_card(hard: HardQuestion) -> _HardCard:
    rows = [
        _HardRow("right", name, "", shortened(text) if text else "not in the store")
        for name, text in hard.right
    ]
    quoted: set[str] = set()
    for each in hard.first_hits:
        # The text of a document that several modes put first is shown once.
        text = shortened(each.text) if each.document_id not in quoted else ""
        quoted.add(each.document_id)
        rows.append(_HardRow(each.mode, each.document_id, _result(each), text))
    return _HardCard(hard.question.question, hard.question.question_id, rows)


def _result(hit: FirstHit) -> str:
    if not hit.document_id:
        return "nothing was found"
    right = f"right one at rank {hit.rank}" if hit.rank else "right one not found"
    return f"({hit.score:.3f}; {right})"


def shortened(text: str) -> str:
    """Return the beginning of a text, cut between characters where no blank is near."""
    words = " ".join(text.split())
    if len(words) <= _LONGEST_TEXT:
        return words
    # At a blank, if the text has one near the end.
    blank = words.rfind(" ", _LONGEST_TEXT - _LONGEST_WORD, _LONGEST_TEXT - 1)
    return words[: blank if blank > 0 else _LONGEST_TEXT - 2] + " …"
