"""Retrieval metrics by document, which ir-measures computes."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from transforms.errors import BadInput
from transforms.evaluation.questions import Question

#: Question id to ``(document id, score)``, best first.
Runs = Mapping[str, Sequence[tuple[str, float]]]

#: albeam's name of each metric to that of ir-measures, and the depth that the metric needs.
_MEASURES = {
    "success@1": ("Success@1", 1),
    "success@5": ("Success@5", 5),
    "success@20": ("Success@20", 20),
    "recall@100": ("R@100", 100),
    "mrr@10": ("RR@10", 10),
    "ndcg@10": ("nDCG@10", 10),
}


def found_ids(runs: Runs) -> dict[str, None]:
    """Return the ids of all documents that were found for any question, each once, in order."""
    return dict.fromkeys(name for ranked in runs.values() for name, _ in ranked)


def measure(questions: Sequence[Question], runs: Runs, k: int) -> dict[str, float]:
    """Return the mean of each metric that needs no greater depth than ``k``; see `by_question`."""
    return means(by_question(questions, runs, k))


def means(values: Mapping[str, npt.NDArray[np.float64]]) -> dict[str, float]:
    """Return the mean of each metric over the questions."""
    return {name: float(each.mean()) for name, each in values.items()}


def by_question(
    questions: Sequence[Question], runs: Runs, k: int
) -> dict[str, npt.NDArray[np.float64]]:
    """Return the values of each metric that needs no greater depth than ``k``.

    Args:
        questions: questions with at least one relevant document each.
        runs: what was found for each question; a missing question found nothing.
        k: the depth of the runs.

    Returns:
        The name of each metric to its values, float64 ``[questions]``.

    Raises:
        BadInput: there are no questions, or an id occurs twice.
    """
    import ir_measures
    from ir_measures import Qrel, ScoredDoc

    if not questions:
        raise BadInput("questions", None, "has no questions to evaluate", "Give a file with some")
    places = {question.question_id: place for place, question in enumerate(questions)}
    if len(places) != len(questions):
        remedy = "Give each question its own id"
        raise BadInput("questions", None, "has a question_id more than once", remedy)

    def qrels() -> Iterator[Qrel]:
        for question in questions:
            for document in dict.fromkeys(question.relevant):
                yield Qrel(question.question_id, document, 1)

    def run() -> Iterator[ScoredDoc]:
        for question_id, ranked in runs.items():
            # Ranks instead of scores, as tools break ties by id and these hits are ranked already.
            for rank, (document, _) in enumerate(ranked):
                yield ScoredDoc(question_id, document, float(-rank))

    names = {
        ir_measures.parse_measure(measure): name
        for name, (measure, depth) in _MEASURES.items()
        if depth <= k
    }
    values = {name: np.zeros(len(questions)) for name in names.values()}
    for found in ir_measures.iter_calc(list(names), qrels(), run()):
        values[names[found.measure]][places[found.query_id]] = found.value
    return values


def first_ranks(questions: Sequence[Question], runs: Runs) -> npt.NDArray[np.int64]:
    """Return the rank, from 1, of each question's first relevant document; 0 without one."""
    ranks = np.zeros(len(questions), np.int64)
    for place, question in enumerate(questions):
        relevant = set(question.relevant)
        for rank, (document, _) in enumerate(runs.get(question.question_id, ()), 1):
            if document in relevant:
                ranks[place] = rank
                break
    return ranks


def success_curve(ranks: npt.NDArray[np.int64], depth: int) -> npt.NDArray[np.float64]:
    """Return the share of questions with a relevant document among the first 1, 2, … ``depth``."""
    found = np.bincount(ranks[(ranks > 0) & (ranks <= depth)], minlength=depth + 1)
    return np.cumsum(found[1:]) / len(ranks)
