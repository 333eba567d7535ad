"""Retrieval metrics by document, computed by ir-measures (pytrec_eval and MS MARCO's)."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from transforms.errors import BadInput
from transforms.evaluation.questions import Question

#: Question id to ``(document id, score)``, best first.
Runs = Mapping[str, Sequence[tuple[str, float]]]

#: Our names, and ir-measures' with the rank that each looks down to.
_MEASURES = {
    "success@1": ("Success@1", 1),
    "success@5": ("Success@5", 5),
    "success@20": ("Success@20", 20),
    "recall@100": ("R@100", 100),
    "mrr@10": ("RR@10", 10),
    "ndcg@10": ("nDCG@10", 10),
}


def measure(questions: Sequence[Question], runs: Runs, k: int) -> dict[str, float]:
    """Means over all questions of the metrics that look no deeper than ``k``; see `by_question`."""
    return means(by_question(questions, runs, k))


def means(values: Mapping[str, npt.NDArray[np.float64]]) -> dict[str, float]:
    """Each metric's mean over the questions."""
    return {name: float(each.mean()) for name, each in values.items()}


def by_question(
    questions: Sequence[Question], runs: Runs, k: int
) -> dict[str, npt.NDArray[np.float64]]:
    """The metrics that look no deeper than ``k``, float64 ``[questions]`` each.

    Args:
        questions: each with at least one relevant document.
        runs: what was found for each; a question that is not there found nothing.
        k: how deep the runs are.

    Raises:
        BadInput: no questions, or a question id that occurs twice.
    """
    import ir_measures
    from ir_measures import Qrel, ScoredDoc

    if not questions:
        raise BadInput("there are no questions to evaluate; give a file with some")
    places = {question.question_id: place for place, question in enumerate(questions)}
    if len(places) != len(questions):
        raise BadInput("a question_id occurs more than once; give each question an id of its own")

    def qrels() -> Iterator[Qrel]:
        for question in questions:
            for document in dict.fromkeys(question.relevant):
                yield Qrel(question.question_id, document, 1)

    def run() -> Iterator[ScoredDoc]:
        for question_id, ranked in runs.items():
            # Ranks, not scores: tools break ties by id, and ours are broken already.
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
    """The rank, from 1, of the first relevant document of each question; 0 where none was found."""
    ranks = np.zeros(len(questions), np.int64)
    for place, question in enumerate(questions):
        relevant = set(question.relevant)
        for rank, (document, _) in enumerate(runs.get(question.question_id, ()), 1):
            if document in relevant:
                ranks[place] = rank
                break
    return ranks


def success_curve(ranks: npt.NDArray[np.int64], depth: int) -> npt.NDArray[np.float64]:
    """The share of questions with a relevant document among the first 1, 2, … ``depth``."""
    found = np.bincount(ranks[(ranks > 0) & (ranks <= depth)], minlength=depth + 1)
    return np.cumsum(found[1:]) / len(ranks)
