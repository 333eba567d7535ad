"""One question, one answer: the best span of all hits, how sure it is, and where it stands."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transforms.errors import BadInput
from transforms.search.options import RankOptions
from transforms.search.reader import Answer, best_answer
from transforms.search.reading import Reading
from transforms.search.results import Hit

if TYPE_CHECKING:
    from transforms.search.store import Store

#: Metadata columns that name a document for people, and that say where it is; the first counts.
_TITLES = ("title", "heading", "name", "subject")
_URIS = ("uri", "url", "link", "href", "source", "path")


@dataclass(frozen=True)
class FoundAnswer:
    """An answer with its source.

    Attributes:
        text: the answer, a span of its document.
        probability: that it is right; null if the reader was not calibrated.
        score: the reader's score of the span.
        retrieval: the score of the hit that it stands in.
        document_id: the document.
        title, uri: its title and address, by its metadata; null where it has none.
        start, end: the answer in the document's text, in Unicode code points.
        passage: the passage's text.
        passage_start: where the passage starts in the document, in code points.
        metadata: the document's metadata columns.
    """

    text: str
    probability: float | None
    score: float
    retrieval: float
    document_id: str
    title: str | None
    uri: str | None
    start: int
    end: int
    passage: str
    passage_start: int
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Answered:
    """What was found for a question.

    Attributes:
        question: the question.
        answer: the best answer; null if there is none that is sure enough.
        others: the best answers of the other hits, best first, each text once.
        hits: what was read, best first.
    """

    question: str
    answer: FoundAnswer | None
    others: list[FoundAnswer]
    hits: list[Hit]


def ask(
    store: "Store",
    questions: Sequence[str],
    options: RankOptions,
    models: Reading,
    threshold: float = 0.0,
) -> Iterator[Answered]:
    """Search for questions, rerank and read the hits, and yield what is found for each.

    Args:
        store: the store.
        questions: the questions.
        options: how to search; ``k`` documents are read.
        models: the models that rerank and read; without a reader there is no answer.
        threshold: an answer with a lower probability is not given.

    Raises:
        BadInput: what `Store.search` raises, or the reader was not calibrated for a threshold.
    """
    found = models.search(store, questions, options)
    for question, (hits, spans) in zip(questions, found, strict=True):
        yield choose(question, hits, spans, threshold)


def choose(
    question: str, hits: Sequence[Hit], spans: Sequence[Answer | None], threshold: float = 0.0
) -> Answered:
    """Return the best of the answers that the hits have; see `ask`.

    Raises:
        BadInput: a threshold is given, and an answer has no probability.
    """
    waiting = {place: span for place, span in enumerate(spans) if span is not None}
    found: dict[str, FoundAnswer] = {}
    while waiting:
        places = list(waiting)
        best = places[best_answer([waiting[place] for place in places]) or 0]
        answer = locate(hits[best], waiting.pop(best))
        found.setdefault(answer.text.casefold(), answer)
    answers = [each for each in found.values() if is_sure(each, threshold)]
    first = answers[0] if answers else None
    return Answered(question, first, answers[1:], list(hits))


def locate(hit: Hit, span: Answer) -> FoundAnswer:
    """Return the answer that a span of a hit's passage is, in its document."""
    return FoundAnswer(
        text=span.text,
        probability=span.probability,
        score=span.score,
        retrieval=hit.score,
        document_id=hit.document_id,
        title=_named(hit.metadata, _TITLES),
        uri=_named(hit.metadata, _URIS),
        start=hit.start + span.start,
        end=hit.start + span.end,
        passage=hit.text,
        passage_start=hit.start,
        metadata=hit.metadata,
    )


def is_sure(answer: FoundAnswer | Answer, threshold: float) -> bool:
    """Return whether an answer's probability reaches a threshold; 0 asks for none.

    Raises:
        BadInput: a threshold is given, and the answer has no probability.
    """
    if not threshold:
        return True
    if answer.probability is None:
        problem = "needs probabilities, and the reader was not calibrated for these hits"
        remedy = "Calibrate it with albeam evaluate --calibrate, or leave the threshold out"
        raise BadInput("threshold", threshold, problem, remedy)
    return answer.probability >= threshold


def _named(metadata: dict[str, Any], names: Sequence[str]) -> str | None:
    """Return the first text among some columns, whatever their case."""
    known = {name.lower(): value for name, value in metadata.items()}
    for name in names:
        if isinstance(known.get(name), str) and known[name].strip():
            return str(known[name])
    return None
