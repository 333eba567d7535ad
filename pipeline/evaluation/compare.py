"""``albeam compare``: whether one run is better than another, and for which questions."""

from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.options import CompareOptions
from transforms.errors import BadInput
from transforms.evaluation.metrics import by_question, first_ranks, found_ids
from transforms.evaluation.questions import Question, load_questions
from transforms.evaluation.run_files import Run, check_questions, questions_of, read_run
from transforms.evaluation.significance import Difference, differences
from transforms.search.questions import name_of

#: Values that differ by no more are equal.
_EQUAL = 1e-9
_LEAST_DEPTH = 10


@dataclass(frozen=True)
class QuestionDifference:
    """A question that the runs answer differently.

    Attributes:
        question_id, question: the question's id and text.
        difference: the metric of B minus that of A.
        rank_a, rank_b: rank of the first relevant document; None if it was not found.
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
        questions: number of questions; a question that a run lacks counts as not found.
        answered_a, answered_b: number of questions that each run has.
        metrics: the difference of each metric.
        metric: the metric by which questions are won and lost.
        wins, losses, ties: questions that B answers better than, worse than and as well as A.
        largest: the questions with the largest differences in either direction.
        relevant_ids: number of relevant ids, each counted once.
        found_ids_a, found_ids_b: how many of these each run has for any question.
        notice: what else the user should know; often empty.
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
    largest: tuple[QuestionDifference, ...]
    relevant_ids: int
    found_ids_a: int
    found_ids_b: int
    notice: str


def run(options: CompareOptions) -> Comparison:
    """Compare two runs question by question.

    Raises:
        BadInput: a run or the questions can't be used, the runs have different questions, or the
            metric needs a greater depth.
    """
    names = (options.a, options.b)
    found = [read_run(name) for name in names]
    asked, source = _questions(options)
    ids = [question.question_id for question in asked]
    # The depth ends where a run ends: its search asked for no more documents.
    deepest = min(max(map(len, each.values()), default=0) for each in found)
    depth = min(options.k, max(deepest, _LEAST_DEPTH))
    runs = []
    for name, whole in zip(names, found, strict=True):
        check_questions(name, whole, ids, source)
        runs.append({question: ranked[:depth] for question, ranked in whole.items()})
    a, b = (by_question(asked, each, depth) for each in runs)
    if options.metric not in a:
        problem = f"is unknown, or needs more than {depth} documents for each question"
        raise BadInput("metric", options.metric, problem, f"Give one of {', '.join(a)}")
    difference = b[options.metric] - a[options.metric]
    rank_a, rank_b = (first_ranks(asked, each) for each in runs)
    order = np.argsort(-np.abs(difference), kind="stable")[: options.largest]
    relevant = list(dict.fromkeys(name for each in asked for name in each.relevant))
    met_a, met_b = (_count_met(relevant, whole) for whole in found)
    return Comparison(
        a=options.a,
        b=options.b,
        questions=len(asked),
        answered_a=len(runs[0]),
        answered_b=len(runs[1]),
        metrics=differences(a, b, seed=options.seed),
        metric=options.metric,
        wins=int((difference > _EQUAL).sum()),
        losses=int((difference < -_EQUAL).sum()),
        ties=int((np.abs(difference) <= _EQUAL).sum()),
        largest=tuple(
            QuestionDifference(
                asked[place].question_id,
                asked[place].question,
                float(difference[place]),
                int(rank_a[place]) or None,
                int(rank_b[place]) or None,
            )
            for place in order
            if abs(difference[place]) > _EQUAL
        ),
        relevant_ids=len(relevant),
        found_ids_a=met_a,
        found_ids_b=met_b,
        notice=" ".join(
            f"None of the {len(relevant):,} relevant ids is in {name}, such as {relevant[0]!r}. "
            "Their form may differ."
            for name, met in ((options.a, met_a), (options.b, met_b))
            if not met
        ),
    )


def _count_met(relevant: list[str], run: Run) -> int:
    """Return how many relevant ids a run has, for any question."""
    return len(found_ids(run).keys() & {*relevant})


def _questions(options: CompareOptions) -> tuple[list[Question], str]:
    """Return the questions and the file that has them."""
    if options.questions is not None:
        return load_questions(options.questions), name_of(options.questions)
    known = [(asked, name) for name in (options.a, options.b) if (asked := questions_of(name))]
    if not known:
        problem = f"has no relevant documents, and {options.b} has none either"
        remedy = "Give --questions FILE, or a run of evaluate --per-question"
        raise BadInput("run file", options.a, problem, remedy)
    if len(known) == 2:
        _check_equal(options, *(asked for asked, _ in known))
    return known[0]


def _check_equal(options: CompareOptions, a: list[Question], b: list[Question]) -> None:
    """Raise BadInput if two runs were made with different questions."""
    right_a, right_b = ({q.question_id: set(q.relevant) for q in asked} for asked in (a, b))
    different = sorted(name for name in right_a | right_b if right_a.get(name) != right_b.get(name))
    if different:
        problem = (
            f"has other questions than {options.b}: {len(different):,} are only in one run or have "
            f"other relevant documents, such as {different[0]!r}"
        )
        remedy = "Give --questions FILE to compare by, or measure both with the same questions"
        raise BadInput("run file", options.a, problem, remedy)
