"""The stages of a search, each in threads of its own, so that a slow request holds no other.

Conditions are evaluated, questions are embedded, passages are ranked, rows are read, and models
read them. Each stage takes what waits for it together, if it fits together.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.serving.core.admission import Admission
from pipeline.serving.core.batcher import Batcher, BatchRules
from pipeline.serving.core.observer import Observer
from pipeline.serving.core.snapshots import ServedSnapshot
from pipeline.serving.core.token_ids import embed_ids
from pipeline.serving.options import Limits
from transforms.search.condition import Condition
from transforms.search.options import RankOptions
from transforms.search.question_check import check_questions
from transforms.search.question_encoder import steady_encoder
from transforms.search.ranking import Ranked
from transforms.search.results import Hit

Vector = npt.NDArray[np.float32]
#: Questions that are ranked together, and questions whose rows are read together.
_RANKED, _READ = 64, 64
#: Characters of a token, about.
_LETTERS = 4


@dataclass(frozen=True, eq=False)
class Text:
    """A text to embed, with the prompt before it; or its token ids, which have no prompt."""

    snapshot: ServedSnapshot
    text: str | Sequence[int]
    prompt: str


@dataclass(frozen=True, eq=False)
class Embedded:
    """A question's vector, and what the client should know of how the model reads it."""

    vector: Vector
    notes: list[str]


@dataclass(frozen=True, eq=False)
class Question:
    """A question to rank, with its vector unless the mode is lexical.

    Attributes:
        limited: whether the client may see only some passages.
    """

    snapshot: ServedSnapshot
    options: RankOptions
    text: str
    vector: Vector | None
    limited: bool = False


@dataclass(frozen=True, eq=False)
class Rows:
    """Ranked passages whose rows are to be read."""

    snapshot: ServedSnapshot
    ranked: Ranked
    offset: int


@dataclass(frozen=True, eq=False)
class Filter:
    """A condition to evaluate on all rows, so that a search finds it evaluated."""

    snapshot: ServedSnapshot
    where: Condition


class Stages:
    """The queues and threads of one store."""

    def __init__(self, limits: Limits, admission: Admission, observer: Observer) -> None:
        """Start the queues."""
        self._observer = observer
        tokens = partial(_tokens, most=limits.batch_tokens)
        together = limits.batch_tokens, limits.batch_seconds, 1, tokens, _of_text
        questions = BatchRules(*together, coming=lambda: admission.inside)
        self.filters: Batcher[Filter, int] = self._batcher("filter", _evaluate, BatchRules(1, 0, 2))
        self.questions: Batcher[Text, Embedded] = self._batcher(
            "encode", _embed_questions, questions
        )
        # Many texts of one request would hold the questions of others.
        self.texts: Batcher[Text, Vector] = self._batcher("embed", _embed, BatchRules(*together))
        ranks = BatchRules(_RANKED, 0, 2, key=_of_question)
        self.ranks: Batcher[Question, Ranked] = self._batcher("search", _rank, ranks)
        reads = BatchRules(_READ, 0, 2, key=_of_rows)
        self.rows: Batcher[Rows, list[Hit]] = self._batcher("fetch", _read, reads)
        calls: BatchRules[Any] = BatchRules()
        self.models: Batcher[Any, Any] = self._batcher("models", _call, calls)
        #: Reads of documents, openings of older snapshots.
        self.others: Batcher[Any, Any] = self._batcher("others", _call, BatchRules(1, 0, 2))

    def _batcher(self, name: str, work: Any, rules: Any) -> Any:
        return Batcher(name, work, rules, partial(self._observer.batch, name))

    @property
    def waiting(self) -> dict[str, int]:
        """How many items wait for each stage."""
        return {name: len(each) for name, each in self._every().items()}

    def close(self) -> None:
        """End the threads."""
        for each in self._every().values():
            each.close()

    def _every(self) -> dict[str, Batcher[Any, Any]]:
        return {
            "filter": self.filters,
            "encode": self.questions,
            "embed": self.texts,
            "search": self.ranks,
            "fetch": self.rows,
            "models": self.models,
            "others": self.others,
        }


def _tokens(text: Text, most: int) -> int:
    given = text.text
    if isinstance(given, str):
        return min(len(given.encode(errors="replace")) // _LETTERS + 2, most)
    return min(len(given) + 2, most)


def _of_text(text: Text) -> Hashable:
    return id(text.snapshot), text.prompt, isinstance(text.text, str)


def _of_question(question: Question) -> Hashable:
    return id(question.snapshot), question.options, question.vector is None


def _of_rows(rows: Rows) -> Hashable:
    return id(rows.snapshot), rows.offset


def _evaluate(filters: Sequence[Filter]) -> list[int]:
    return [each.snapshot.store.live.count(each.where) for each in filters]


def _embed(texts: Sequence[Text]) -> list[Vector]:
    # Whatever comes together, equal texts have equal vectors.
    encoder = steady_encoder(texts[0].snapshot.store.encoder)
    given: list[Any] = [each.text for each in texts]
    if isinstance(given[0], str):
        return list(encoder.encode_texts(given, texts[0].prompt))
    return list(embed_ids(encoder, given))


def _embed_questions(questions: Sequence[Text]) -> list[Embedded]:
    store = questions[0].snapshot.store
    texts = [str(each.text) for each in questions]

    def notes(some: Sequence[str]) -> list[str]:
        return check_questions(some, store.encoder.tokenizer, store.snapshot.identity).notes()

    # Each check takes about as long for one as for all, and mostly finds nothing.
    of_each = [notes([text]) for text in texts] if notes(texts) else [[] for _ in texts]
    return [Embedded(*each) for each in zip(_embed(questions), of_each, strict=True)]


def _rank(questions: Sequence[Question]) -> list[Ranked]:
    first = questions[0]
    vectors = [each.vector for each in questions if each.vector is not None]
    stacked = np.stack(vectors) if vectors else None
    ranker, by_words = first.snapshot.store.ranker, first.options.mode != "dense"
    texts = [
        ranker.shortened(each.text) if each.limited and by_words else each.text
        for each in questions
    ]
    return ranker.rank(texts, stacked, first.options)


def _read(rows: Sequence[Rows]) -> list[list[Hit]]:
    return rows[0].snapshot.store.fetch([each.ranked for each in rows], rows[0].offset)


def _call(calls: Sequence[Any]) -> list[Any]:
    return [call() for call in calls]
