"""The questions with the worst answers in all modes, and what was found for them."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from transforms.evaluation.questions import Question
from transforms.evaluation.results import Evaluation
from transforms.search.options import RankOptions
from transforms.search.store import Store


@dataclass(frozen=True)
class FirstHit:
    """The document that a mode put first.

    Attributes:
        mode: the mode, or the name of another system's run.
        document_id: the document; "" if nothing was found.
        score: the document's score.
        text: its best passage; "" if another system found it.
        rank: the rank of the first right document; None if none was found.
    """

    mode: str
    document_id: str
    score: float
    text: str
    rank: int | None


@dataclass(frozen=True)
class HardQuestion:
    """A question, its right documents with a passage of each, and the first hit of each mode."""

    question: Question
    right: tuple[tuple[str, str], ...]
    first_hits: tuple[FirstHit, ...]


def hardest_questions(evaluation: Evaluation, most: int = 10) -> list[int]:
    """Return the places of the questions with the least mean reciprocal rank over the modes.

    Questions with a mean of 1 are left out. Of equal questions the first is the one with the most
    confident mistake: a wrong first hit with a high score for its mode.
    """
    ranks = np.stack([found.ranks for found in evaluation.modes.values()])
    good = np.where(ranks > 0, 1 / np.maximum(ranks, 1), 0).mean(axis=0)
    confidence = np.zeros(len(evaluation.questions))
    for found in evaluation.modes.values():
        firsts = [found.runs.get(question.question_id) for question in evaluation.questions]
        scores = np.array([hits[0][1] if hits else np.nan for hits in firsts])
        spread = np.nanstd(scores) if np.isfinite(scores).any() else 0.0
        if spread > 0:
            confidence += np.nan_to_num((scores - np.nanmean(scores)) / spread)
    order = np.lexsort((-confidence, good))
    return [int(place) for place in order[:most] if good[place] < 1]


def inspect_questions(
    store: Store,
    evaluation: Evaluation,
    places: Sequence[int],
    modes: Sequence[str],
    rank: RankOptions,
) -> list[HardQuestion]:
    """Return questions with the texts of their right documents and of their first hits.

    Args:
        store: the store that has the texts.
        evaluation: what was found.
        places: the places of the questions in the evaluation.
        modes: the evaluation's modes without the runs of other systems.
        rank: how the evaluation searched; its mode is ignored.
    """
    asked = [evaluation.questions[place] for place in places]
    if not asked:
        return []
    passages: dict[tuple[str, str], str] = {}
    for mode in modes:
        texts = [question.question for question in asked]
        found = store.search(texts, **asdict(replace(rank, mode=mode)))
        for question, hits in zip(asked, found, strict=True):
            for hit in hits:
                passages.setdefault((question.question_id, hit.document_id), hit.text)
    firsts = first_passages(store, {name for question in asked for name in question.relevant})
    return [
        HardQuestion(
            question,
            tuple(
                (name, passages.get((question.question_id, name), firsts.get(name, "")))
                for name in question.relevant
            ),
            tuple(_first_hits(evaluation, place, passages)),
        )
        for place, question in zip(places, asked, strict=True)
    ]


def first_passages(store: Store, documents: set[str]) -> dict[str, str]:
    """Return the first live passage of each document that the store has."""
    found: dict[str, str] = {}
    for table in store.documents(["document_id", "text"]):
        if documents <= set(found):
            break
        names = table.column("document_id").to_pylist()
        for row, name in enumerate(names):
            if name in documents and name not in found:
                found[name] = table.column("text")[row].as_py()
    return found


def _first_hits(
    evaluation: Evaluation, place: int, passages: dict[tuple[str, str], str]
) -> Iterable[FirstHit]:
    question = evaluation.questions[place]
    for mode, found in evaluation.modes.items():
        hits = found.runs.get(question.question_id)
        if hits:
            document, score = hits[0]
            text = passages.get((question.question_id, document), "")
            yield FirstHit(mode, document, score, text, int(found.ranks[place]) or None)
        else:
            yield FirstHit(mode, "", 0.0, "", None)
