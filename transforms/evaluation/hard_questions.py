"""The questions that every mode answers worst, and what was found instead."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from transforms.evaluation.questions import Question
from transforms.evaluation.results import Evaluation
from transforms.search.options import RankOptions
from transforms.search.store import Store


@dataclass(frozen=True)
class Instead:
    """What a mode put first; ``rank`` is that of the right document, None where not found.

    ``text`` is "" where the mode is another system's run.
    """

    mode: str
    document_id: str
    score: float
    text: str
    rank: int | None


@dataclass(frozen=True)
class Hard:
    """A question, its right documents with a passage of each, and what each mode put first."""

    question: Question
    right: tuple[tuple[str, str], ...]
    instead: tuple[Instead, ...]


def hardest_questions(evaluation: Evaluation, most: int = 10) -> list[int]:
    """Places of the questions whose reciprocal rank is least on average over the modes, below 1.

    Among equals those come first whose wrong first hit stands higher than is usual in its mode.
    """
    ranks = np.stack([found.ranks for found in evaluation.modes.values()])
    good = np.where(ranks > 0, 1 / np.maximum(ranks, 1), 0).mean(axis=0)
    sure = np.zeros(len(evaluation.questions))
    for found in evaluation.modes.values():
        firsts = [found.runs.get(question.question_id) for question in evaluation.questions]
        scores = np.array([hits[0][1] if hits else np.nan for hits in firsts])
        spread = np.nanstd(scores) if np.isfinite(scores).any() else 0.0
        if spread > 0:
            sure += np.nan_to_num((scores - np.nanmean(scores)) / spread)
    order = np.lexsort((-sure, good))
    return [int(place) for place in order[:most] if good[place] < 1]


def look_at(
    store: Store,
    evaluation: Evaluation,
    places: Sequence[int],
    modes: Sequence[str],
    rank: RankOptions,
) -> list[Hard]:
    """Those questions with the texts that were found and that were to be found.

    Args:
        store: to fetch texts from.
        evaluation: with what was found.
        places: of the questions.
        modes: those of the evaluation's modes that the store itself has.
        rank: how the evaluation searched; its mode is not looked at.
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
        Hard(
            question,
            tuple(
                (name, passages.get((question.question_id, name), firsts.get(name, "")))
                for name in question.relevant
            ),
            tuple(_instead(evaluation, place, passages)),
        )
        for place, question in zip(places, asked, strict=True)
    ]


def first_passages(store: Store, documents: set[str]) -> dict[str, str]:
    """The first live passage of each of some documents; one that is not there is left out."""
    found: dict[str, str] = {}
    for table in store.documents(["document_id", "text"]):
        if documents <= set(found):
            break
        names = table.column("document_id").to_pylist()
        for row, name in enumerate(names):
            if name in documents and name not in found:
                found[name] = table.column("text")[row].as_py()
    return found


def _instead(
    evaluation: Evaluation, place: int, passages: dict[tuple[str, str], str]
) -> Iterable[Instead]:
    question = evaluation.questions[place]
    for mode, found in evaluation.modes.items():
        hits = found.runs.get(question.question_id)
        if hits:
            document, score = hits[0]
            text = passages.get((question.question_id, document), "")
            yield Instead(mode, document, score, text, int(found.ranks[place]) or None)
        else:
            yield Instead(mode, "", 0.0, "", None)
