"""Readers: cross-encoders that find the answer to a question in a passage."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.encoder.answer_spans import best_span, window_overlap, without_blanks
from transforms.errors import BadInput
from transforms.models.model_files import read_object
from transforms.models.options import Placement
from transforms.search.answer_scales import ANY, read_scales
from transforms.search.pair_model import HEAD, Pair, PairModel, naming
from transforms.search.results import Hit


@dataclass(frozen=True)
class Answer:
    """An answer: a span of a passage.

    Attributes:
        text: ``passage[start:end]``.
        score: the sum of the logits of its first and last token. Unlike probabilities within one
            passage, these can be compared between passages.
        start, end: the span in the passage's text, in Unicode code points.
        no_answer: the score of there being no answer in the passage; null if the reader has none.
        probability: that the answer is right, by all scores; null if the reader was not calibrated.
    """

    text: str
    score: float
    start: int
    end: int
    no_answer: float | None = None
    probability: float | None = None


class Reader(PairModel):
    """An extractive question answering model.

    Attributes:
        threshold: by how much no answer must score higher than an answer to be taken.
        scales: how sure its answers are; see `transforms.search.answer_scales`.
    """

    option, head, task = "reader", "QuestionAnswering", "read"

    def __init__(self, name: str, placement: Placement) -> None:
        """Load the reader, its threshold and its scales; see `PairModel`."""
        super().__init__(name, placement)
        with naming(self.option):
            self.threshold = _read_threshold(self.folder, name)
            self.scales = read_scales(self.folder, name)

    def spans(self, pairs: Sequence[Pair], no_answer: bool = False) -> list[Answer | None]:
        """Return the best span of each passage, of at most 30 tokens.

        A passage without a token gives None.

        Args:
            pairs: questions and passages. Long passages are read in windows that share 128 tokens.
            no_answer: also return None for a passage in which the first token scores higher in
                every window, by more than the model's threshold. Models trained on SQuAD 2 mean by
                this that there is no answer.

        Raises:
            BadInput: ``no_answer`` is set, and the model's tokenizer has no such first token.
        """
        model = self.model
        if no_answer and model.cls is None:
            problem = "has no first token that can mean that there is no answer"
            raise BadInput(self.option, self.name, problem, "Leave --no-answer out")
        if not pairs:
            return []
        framed, logits = self.read(pairs, window_overlap(model.limit, model.special))
        best: list[Answer | None] = [None] * len(pairs)
        nothing = [math.inf] * len(pairs)
        for pair, encoding, values in zip(framed.owners, framed.encodings, logits, strict=True):
            start, end = values.astype(np.float64)
            if model.cls is not None:
                first = encoding.ids.index(model.cls)
                nothing[pair] = min(nothing[pair], float(start[first] + end[first]))
            found = _best_span(start, end, encoding, pairs[pair][1])
            known = best[pair]
            if found is not None and (known is None or found.score > known.score):
                best[pair] = found
        told = [_with_nothing(*each) for each in zip(best, nothing, strict=True)]
        return [self._sure(each) for each in told] if no_answer else told

    def _sure(self, answer: Answer | None) -> Answer | None:
        """Return an answer; None if no answer scores higher by more than the threshold."""
        if answer is None or answer.no_answer is None:
            return None
        return None if answer.no_answer - answer.score > self.threshold else answer


def read_answers(
    hits: Sequence[Hit], question: str, model: Reader, no_answer: bool = False, ranking: str = ANY
) -> list[Answer | None]:
    """Return the best span of each hit's passage, with its probability; see `Reader.spans`.

    Args:
        hits: the hits.
        question: the question.
        model: the reader.
        no_answer: whether it may find none.
        ranking: what gave the hits their scores; see `transforms.search.answer_scales.Scales`.
    """
    answers = model.spans([(question, hit.text) for hit in hits], no_answer)
    scale = model.scales.of(ranking)
    if scale is None:
        return answers

    def scaled(hit: Hit, answer: Answer) -> Answer:
        score = scale.score(hit.score, answer.score, answer.no_answer)
        return replace(answer, probability=scale.probability(score))

    return [answer and scaled(hit, answer) for hit, answer in zip(hits, answers, strict=True)]


def best_answer(answers: Sequence[Answer | None]) -> int | None:
    """Return the place of the best answer, None if there is no answer.

    It is the one with the highest probability, or score if the reader was not calibrated. Of equal
    ones it is that of the better hit.
    """
    places = [place for place, answer in enumerate(answers) if answer is not None]
    return max(places, key=lambda place: _order(answers[place]), default=None)


def _order(answer: Answer | None) -> tuple[float, float]:
    assert answer is not None
    return -1.0 if answer.probability is None else answer.probability, answer.score


def _with_nothing(answer: Answer | None, nothing: float) -> Answer | None:
    return answer and replace(answer, no_answer=nothing if math.isfinite(nothing) else None)


def _best_span(
    start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], encoding: Any, passage: str
) -> Answer | None:
    """Return the best span that lies in the passage and is short enough."""
    inside = np.array([number == 1 for number in encoding.sequence_ids], np.bool_)
    places = np.flatnonzero(inside)
    if not len(places):
        return None
    # A window's passage has no gap; only padding may follow.
    first, last, score = best_span(start[places], end[places])
    begins, ends = encoding.offsets[places[first]][0], encoding.offsets[places[last]][1]
    begins, ends = without_blanks(passage, begins, ends)
    return Answer(passage[begins:ends], score, begins, ends)


def _read_threshold(folder: str, name: str) -> float:
    """Return by how much no answer must score higher than an answer: 0 if the model has none."""
    found = read_object(folder, HEAD, name).get("threshold", 0.0)
    if type(found) not in (int, float) or not math.isfinite(found):
        problem = f"has a {HEAD} whose threshold is {str(found)[:40]!r}"
        raise BadInput("model", name, problem, "Restore its files, or train it again")
    return float(found)
