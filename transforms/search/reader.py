"""Readers: cross-encoders that find the answer to a question in a passage."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.encoder.answer_spans import best_span, window_overlap, without_blanks
from transforms.errors import BadInput
from transforms.models.model_files import read_object
from transforms.models.options import Placement
from transforms.search.cross_encoders import Pair, PairModel, naming
from transforms.search.results import Hit

#: What `albeam finetune read` writes beside a reader.
_HEAD = "head.json"


@dataclass(frozen=True)
class Answer:
    """An answer: a span of a passage.

    Attributes:
        text: ``passage[start:end]``.
        score: the sum of the logits of its first and last token. Unlike probabilities within one
            passage, these can be compared between passages.
        start, end: the span in the passage's text, in Unicode code points.
    """

    text: str
    score: float
    start: int
    end: int


class Reader(PairModel):
    """An extractive question answering model."""

    option, head = "reader", "QuestionAnswering"

    def __init__(self, name: str, placement: Placement) -> None:
        """Load the reader, and its threshold; see `PairModel`."""
        super().__init__(name, placement)
        with naming(self.option):
            self.threshold = _read_threshold(self.folder, name)

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
        if no_answer and self.tokenizer.cls_token_id is None:
            problem = "has no first token that can mean that there is no answer"
            raise BadInput(self.option, self.name, problem, "Leave --no-answer out")
        if not pairs:
            return []
        framed = self._windows(pairs)
        logits = self.forward(framed, ["start_logits", "end_logits"])
        best: list[Answer | None] = [None] * len(pairs)
        nothing = np.full(len(pairs), np.inf)
        for window, values in enumerate(logits):
            pair = int(framed["overflow_to_sample_mapping"][window])
            encoding = framed.encodings[window]
            start, end = values.astype(np.float64)
            if no_answer:
                first = encoding.ids.index(self.tokenizer.cls_token_id)
                nothing[pair] = min(nothing[pair], start[first] + end[first])
            found = _best_span(start, end, encoding, pairs[pair][1])
            known = best[pair]
            if found is not None and (known is None or found.score > known.score):
                best[pair] = found
        if no_answer:
            return [
                answer if answer is not None and null - answer.score <= self.threshold else None
                for answer, null in zip(best, nothing, strict=True)
            ]
        return best

    def _windows(self, pairs: Sequence[Pair]) -> Any:
        special = self.tokenizer.num_special_tokens_to_add(pair=True)
        return self.frame(
            pairs,
            stride=window_overlap(self.limit, special),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )


def read_answers(
    hits: Sequence[Hit], question: str, model: Reader, no_answer: bool = False
) -> list[Answer | None]:
    """Return the best span of each hit's passage; see `Reader.spans`."""
    return model.spans([(question, hit.text) for hit in hits], no_answer)


def best_answer(answers: Sequence[Answer | None]) -> int | None:
    """Return the place of the answer with the highest score; None if there is no answer."""
    places = [place for place, answer in enumerate(answers) if answer is not None]
    return max(places, key=lambda place: answers[place].score, default=None)  # type: ignore[union-attr]


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
    found = read_object(folder, _HEAD, name).get("threshold", 0.0)
    if type(found) not in (int, float) or not math.isfinite(found):
        problem = f"has a {_HEAD} whose threshold is {str(found)[:40]!r}"
        raise BadInput("model", name, problem, "Restore its files, or train it again")
    return float(found)
