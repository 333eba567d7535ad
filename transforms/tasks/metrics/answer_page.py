"""The report page of a reader: kinds of answers, F1 by question word, and F1 by score."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from transforms.evaluation import svg
from transforms.evaluation.report_charts import Card
from transforms.evaluation.report_page import shortened
from transforms.tasks.metrics.answer_scores import Floats, score_answers
from transforms.tasks.metrics.task_page import WORST, Example, Page, Section
from transforms.tasks.metrics.text_metrics import AnswerMetrics

#: How many first words of questions have a bar, and how often each occurs at least.
_MOST_WORDS, _FEWEST = 12, 5
#: Points of the curve of F1 by score.
_POINTS = 40

Known = Sequence[Sequence[str]]


def answer_page(
    metrics: AnswerMetrics,
    questions: Sequence[str],
    answers: Sequence[str],
    known: Known,
    scores: Sequence[float],
    worst: Sequence[Example],
) -> Page:
    """Return the page of a reader.

    Args:
        metrics: what was measured.
        questions: the questions.
        answers: the answer of each; "" for none.
        known: the known answers of each.
        scores: the score of each answer.
        worst: the worst examples.
    """
    exact, f1 = score_answers(answers, known)
    cards = [_kinds_card(exact, f1, answers, known)]
    words = _words_card(questions, f1)
    cards += [words] if words is not None else []
    given = np.flatnonzero([bool(each) for each in answers])
    if len(given) > 1:
        cards.append(_scores_card(f1[given], np.asarray(scores, np.float64)[given]))
    counts = [(name.replace("_", " "), f"{count:,}") for name, count in metrics.counts.items()]
    return Page(
        title="How well questions are answered",
        measured=f"{metrics.rows:,} questions with their passages",
        headline=("f1", "exact_match", "f1_answerable", "answerable"),
        values=metrics.values,
        intervals=metrics.intervals,
        unit="questions",
        sections=[
            Section(
                "Answers",
                "F1 is that of the words of an answer and of the nearest known one.",
                cards,
                [("questions", "number"), *counts],
            )
        ],
        examples=worst,
        order="Wrong answers with the highest scores come first.",
    )


def worst_answers(
    questions: Sequence[str],
    passages: Sequence[str],
    answers: Sequence[str],
    known: Known,
    scores: Sequence[float],
) -> list[Example]:
    """Return the questions with answers that share no word with a known one."""
    _, f1 = score_answers(answers, known)
    rows = np.flatnonzero(f1 == 0)
    # A question that stays without an answer comes last.
    order = np.where([bool(each) for each in answers], scores, -np.inf)[rows]
    made = []
    for row in rows[np.argsort(-order, kind="stable")][:WORST].tolist():
        found = f"{shortened(answers[row])} ({scores[row]:.2f})" if answers[row] else "no answer"
        facts = [
            ("right", shortened("; ".join(known[row])) or "no answer"),
            ("found", found),
            ("passage", shortened(passages[row])),
        ]
        made.append(Example(shortened(questions[row]), facts))
    return made


def _kinds_card(exact: Floats, f1: Floats, answers: Sequence[str], known: Known) -> Card:
    kinds: Counter[str] = Counter()
    for match, value, answer, right in zip(exact, f1, answers, known, strict=True):
        if match:
            kinds["right" if right else "rightly none"] += 1
        elif not answer:
            kinds["none, though there is one"] += 1
        elif not right:
            kinds["though there is none"] += 1
        else:
            kinds["partly right" if value else "wrong"] += 1
    names = ("right", "partly right", "wrong", "rightly none", "none, though there is one",
             "though there is none")  # fmt: skip
    rows = [(name, kinds[name] / len(f1), f"{kinds[name]:,}") for name in names if kinds[name]]
    longest = max(value for _, value, _ in rows)
    chart = Markup(svg.bars("questions by kind of answer", rows, 0, longest, left=190))
    return Card("Kinds of answers", "How many questions have which", chart)


def _words_card(questions: Sequence[str], f1: Floats) -> Card | None:
    groups: dict[str, list[float]] = defaultdict(list)
    for question, value in zip(questions, f1, strict=True):
        groups[question.split()[0].lower()].append(float(value))
    most = sorted(groups.items(), key=lambda each: (-len(each[1]), each[0]))[:_MOST_WORDS]
    rows = [
        (
            f"{svg.shortened(word, 10)} ({len(values):,})",
            float(np.mean(values)),
            f"{np.mean(values):.2f}",
        )
        for word, values in most
        if len(values) >= _FEWEST
    ]
    if not rows:
        return None
    chart = svg.bars("F1 by first word of the question", rows, 2, 1.0, left=140)
    about = "Mean F1 by the first word of the question, with how many have it"
    return Card("F1 by question word", about, Markup(chart))


def _scores_card(f1: Floats, scores: Floats) -> Card:
    """Draw the mean F1 of the answers with the highest scores."""
    order = np.argsort(-scores, kind="stable")
    means = np.cumsum(f1[order]) / np.arange(1, len(order) + 1)
    kept = np.unique(np.linspace(1, len(order), min(_POINTS, len(order))).astype(np.int64))
    points = [(float(n / len(order)), float(means[n - 1])) for n in kept]
    x = svg.axis("share of the answers, highest scores first", 0.0, 1.0)
    y = svg.axis("", min(0.0, *(b for _, b in points)), 1.0)
    chart = svg.line_chart("F1 by score", [svg.Series("this head", 0, points)], x, y)
    return Card("F1 by score", "Whether answers with higher scores are better", Markup(chart))
