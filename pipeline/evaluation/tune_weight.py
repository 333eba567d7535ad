"""``albeam evaluate --tune``: learn the weight of the cosine in hybrid scores."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.errors import BadInput
from transforms.evaluation.checks import check_evaluation
from transforms.evaluation.questions import Question, load_questions
from transforms.index.top_k import best_of_each
from transforms.search.fusion import Units, combine
from transforms.search.options import RankOptions
from transforms.search.questions import name_of
from transforms.search.ranking import Ranked
from transforms.search.store import Store
from transforms.storage.probe import probe_exclusive
from transforms.transactions.commits import commit_weight

Floats = npt.NDArray[np.float64]

_AT_ONCE = 512
_DEPTH = 10
_CANDIDATES = 100
#: The weights that are tried.
WEIGHTS = np.linspace(0, 1, 21).round(2)


@dataclass(frozen=True)
class WeightReport:
    """The learnt weight.

    Attributes:
        store: the store.
        snapshot: the new snapshot, which has the weight.
        questions: number of training questions.
        weight: the weight of the cosine.
        mrr_at_10: MRR@10 by weight, for each weight that was tried.
        relevant_ids: number of relevant ids, each counted once.
        unknown_ids: number of relevant ids that the store lacks.
        cut_questions: number of questions that are longer than what the model reads.
        unknown_questions: number of questions that are mostly unknown to the model.
        notice: what else the user should know; often empty.
    """

    store: str
    snapshot: int
    questions: int
    weight: float
    mrr_at_10: dict[float, float]
    relevant_ids: int
    unknown_ids: int
    cut_questions: int
    unknown_questions: int
    notice: str


def run(store: Store, questions: str) -> WeightReport:
    """Rank the candidates of training questions with each weight, and commit the best weight.

    Args:
        store: the newest snapshot of a store with a lexical index.
        questions: a file as ``albeam evaluate`` reads it.

    Raises:
        BadInput: the questions can't be used or find nothing, or the store has no lexical index.
        Conflict: other writers were faster.
    """
    probe_exclusive(store.url)
    store.mode("hybrid")
    asked = load_questions(questions)
    file = name_of(questions)
    if not asked:
        raise BadInput("questions", file, "has no questions", "Give a file with some")
    # Each candidate is scored once; a weight only changes the order.
    units = store.ranker.units()
    ranks = [reciprocal_ranks(store, *each, WEIGHTS, units) for each in candidates(store, asked)]
    means = np.mean(ranks, axis=0)
    checks = check_evaluation(store, asked, ("hybrid",))
    if not means.any():
        why = "".join(f". {note.rstrip('.')}" for note in checks.notes)
        problem = f"has no question that finds a relevant document with any weight{why}"
        remedy = "Give questions that have relevant documents in the store"
        raise BadInput("questions", file, problem, remedy)
    # The middle one of equally good weights, because its neighbours are good too.
    best = np.flatnonzero(means >= means.max() - 1e-12)
    weight = float(WEIGHTS[best[len(best) // 2]])
    snapshot = commit_weight(store.url, weight, "evaluate --tune")
    curve = {float(w): round(float(mean), 4) for w, mean in zip(WEIGHTS, means, strict=True)}
    return WeightReport(
        store=store.url,
        snapshot=snapshot.number,
        questions=len(asked),
        weight=weight,
        mrr_at_10=curve,
        relevant_ids=checks.relevant_ids,
        unknown_ids=checks.unknown_ids,
        cut_questions=checks.cut_questions,
        unknown_questions=checks.unknown_questions,
        notice=" ".join(checks.notes),
    )


def candidates(store: Store, asked: Sequence[Question]) -> Iterator[tuple[Question, Ranked]]:
    """Yield each question with its candidates of a hybrid search."""
    options = RankOptions(_DEPTH, "hybrid")
    for start in range(0, len(asked), _AT_ONCE):
        some = asked[start : start + _AT_ONCE]
        texts = [question.question for question in some]
        vectors = store.encoder.encode_texts(texts, store.snapshot.identity.query_prompt)
        every = store.ranker.candidates(texts, vectors, options, _CANDIDATES)
        yield from zip(some, every, strict=True)


def reciprocal_ranks(
    store: Store, question: Question, found: Ranked, weights: Floats, units: Units
) -> Floats:
    """Return the reciprocal rank at 10 of a question's candidates with each weight."""
    assert found.dense is not None
    assert found.lexical is not None
    [names] = store.document_ids(found.rows[None])
    values = np.zeros(len(weights))
    for number, weight in enumerate(weights):
        scores = combine(found.dense, found.lexical, units, float(weight))
        ranked = [names[place] for place in np.lexsort((found.rows, -scores))]
        for rank, place in enumerate(best_of_each(ranked, _DEPTH), 1):
            if ranked[place] in question.relevant:
                values[number] = 1 / rank
                break
    return values
