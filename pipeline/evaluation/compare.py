"""``albeam compare``: whether one run is better than another, and for which questions."""

from dataclasses import dataclass

import numpy as np

from transforms.errors import BadInput
from transforms.evaluation.metrics import by_question, first_ranks
from transforms.evaluation.questions import Question, load_questions
from transforms.evaluation.run_files import check_questions, questions_of, read_run
from transforms.evaluation.significance import Difference, differences

#: Values that differ by less are equal.
_EQUAL = 1e-9
_LEAST_DEPTH = 10


@dataclass(frozen=True)
class CompareOptions:
    """What to compare.

    Attributes:
        a, b: two runs; see `read_run`.
        questions: ``.parquet`` or ``.jsonl`` with question_id, question, relevant; None takes those
            of a run that knows them, which is that of ``evaluate --per-question``.
        k: how deep to look; no deeper than either run goes, nor less than ten for that.
        metric: by which a question is won or lost.
        largest: how many of the questions with the largest differences are named.
        seed: of the resampling.
    """

    a: str
    b: str
    questions: str | None = None
    k: int = 100
    metric: str = "mrr@10"
    largest: int = 10
    seed: int = 0


@dataclass(frozen=True)
class Apart:
    """A question that the runs answer differently.

    Attributes:
        question_id, question: the question.
        difference: of the metric, B minus A.
        rank_a, rank_b: of the first relevant document, or None where it was not found.
    """

    question_id: str
    question: str
    difference: float
    rank_a: int | None
    rank_b: int | None


@dataclass(frozen=True)
class Comparison:
    """Two runs over the same questions.

    Attributes:
        a, b: the runs, as they were given.
        questions: how many there are; one that a run has not answered counts as not found.
        answered_a, answered_b: how many of them each run has.
        metrics: how each metric differs.
        metric: by which questions are won and lost.
        wins, losses, ties: questions that B answers better, worse and as well as A.
        largest: the questions that are furthest apart, in either direction.
    """

    a: str
    b: str
    questions: int
    answered_a: int
    answered_b: int
    metrics: dict[str, Difference]
    metric: str
    wins: int
    losses: int
    ties: int
    largest: tuple[Apart, ...]


def run(options: CompareOptions) -> Comparison:
    """Compare two runs question by question.

    Raises:
        BadInput: a run or the questions can't be used, the runs were made with different questions,
            or there is no such metric at this depth.
    """
    if options.k < 1:
        raise BadInput(f"k is {options.k}; give 1 or more")
    names = (options.a, options.b)
    found = [read_run(name) for name in names]
    asked, source = _asked(options)
    ids = [question.question_id for question in asked]
    # Beyond its end a run has found nothing, which says nothing of what it would have found.
    deepest = min(max(map(len, each.values()), default=0) for each in found)
    depth = min(options.k, max(deepest, _LEAST_DEPTH))
    runs = []
    for name, whole in zip(names, found, strict=True):
        check_questions(name, whole, ids, source)
        runs.append({question: ranked[:depth] for question, ranked in whole.items()})
    a, b = (by_question(asked, each, depth) for each in runs)
    if options.metric not in a:
        raise BadInput(
            f"metric {options.metric!r} is not one of {', '.join(a)}, which a depth of {depth} "
            "allows"
        )
    apart = b[options.metric] - a[options.metric]
    rank_a, rank_b = (first_ranks(asked, each) for each in runs)
    order = np.argsort(-np.abs(apart), kind="stable")[: options.largest]
    return Comparison(
        a=options.a,
        b=options.b,
        questions=len(asked),
        answered_a=len(runs[0]),
        answered_b=len(runs[1]),
        metrics=differences(a, b, seed=options.seed),
        metric=options.metric,
        wins=int((apart > _EQUAL).sum()),
        losses=int((apart < -_EQUAL).sum()),
        ties=int((np.abs(apart) <= _EQUAL).sum()),
        largest=tuple(
            Apart(
                asked[place].question_id,
                asked[place].question,
                float(apart[place]),
                int(rank_a[place]) or None,
                int(rank_b[place]) or None,
            )
            for place in order
            if abs(apart[place]) > _EQUAL
        ),
    )


def _asked(options: CompareOptions) -> tuple[list[Question], str]:
    """The questions, and where they come from."""
    if options.questions is not None:
        return load_questions(options.questions), options.questions
    known = [(asked, name) for name in (options.a, options.b) if (asked := questions_of(name))]
    if not known:
        raise BadInput(
            f"neither {options.a!r} nor {options.b!r} says which documents are right, as runs of "
            "evaluate --per-question do: give --questions FILE"
        )
    if len(known) == 2:
        _check_alike(options, *(asked for asked, _ in known))
    return known[0]


def _check_alike(options: CompareOptions, a: list[Question], b: list[Question]) -> None:
    """Raise BadInput where two runs were not asked the same."""
    right_a, right_b = ({q.question_id: set(q.relevant) for q in asked} for asked in (a, b))
    apart = sorted(name for name in right_a | right_b if right_a.get(name) != right_b.get(name))
    if apart:
        raise BadInput(
            f"{options.a!r} and {options.b!r} were made with different questions: {len(apart):,} "
            f"are in one alone or have other right documents, {apart[0]!r} among them; give "
            "--questions FILE with those to compare, or measure both with the same"
        )
