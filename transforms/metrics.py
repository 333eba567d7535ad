"""Retrieval metrics by document, computed by ir-measures (pytrec_eval and MS MARCO's)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from transforms.errors import BadInput

#: Our names, and ir-measures' with the rank that each looks down to.
_MEASURES = {
    "success@1": ("Success@1", 1),
    "success@5": ("Success@5", 5),
    "success@20": ("Success@20", 20),
    "recall@100": ("R@100", 100),
    "mrr@10": ("RR@10", 10),
    "ndcg@10": ("nDCG@10", 10),
}


@dataclass(frozen=True)
class Question:
    """A question and the ids of the documents that answer it."""

    question_id: str
    question: str
    relevant: tuple[str, ...]


def measure(
    questions: Sequence[Question], runs: Mapping[str, Sequence[tuple[str, float]]], k: int
) -> dict[str, float]:
    """Means over all questions of the metrics that look no deeper than ``k``.

    Args:
        questions: each with at least one relevant document.
        runs: question id to ``(document id, score)``, best first.
        k: how deep the runs are.

    Raises:
        BadInput: no questions, or a question id that occurs twice.
    """
    import ir_measures
    from ir_measures import Qrel, ScoredDoc

    if not questions:
        raise BadInput("there are no questions to evaluate; give a file with some")
    if len({question.question_id for question in questions}) != len(questions):
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

    wanted = {
        name: ir_measures.parse_measure(measure)
        for name, (measure, depth) in _MEASURES.items()
        if depth <= k
    }
    found = ir_measures.calc_aggregate(list(wanted.values()), qrels(), run())
    return {name: float(found[measure]) for name, measure in wanted.items()}
