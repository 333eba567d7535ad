"""Tokens of pairs of texts: framed as BERT frames them, long second texts in windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from tokenizers.processors import TemplateProcessing

from transforms.encoder.answer_spans import question_room, window_overlap
from transforms.errors import BadInput
from transforms.models.tokenizer import Tokenizer
from transforms.tasks.networks.windows import (
    Int32,
    Int64,
    Windows,
    encodings,
    window_starts,
)

#: Special tokens of a pair.
SPECIAL = 3
#: The share of the drawn windows that have a target, where their text has one.
_WITH_TARGET = 0.9

#: A first token of a passage, and a last one.
Span = tuple[int, int]


def frame_pairs(tokenizer: Any, model: str) -> None:
    """Make a tokenizer of transformers frame pairs: ``[CLS] first [SEP] second [SEP]``.

    The tokens of the second text have the type 1.

    Args:
        tokenizer: the fast tokenizer; changed in place.
        model: the name of its model, for errors.

    Raises:
        BadInput: the tokenizer has no such special tokens.
    """
    cls, sep = tokenizer.cls_token, tokenizer.sep_token
    if cls is None or sep is None:
        problem = "has a tokenizer without the special tokens that part a pair of texts"
        raise BadInput("model", model, problem, "Name a model whose tokenizer has CLS and SEP")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=[(cls, tokenizer.cls_token_id), (sep, tokenizer.sep_token_id)],
    )
    names = ["input_ids", "token_type_ids", "attention_mask"]
    tokenizer.model_input_names = tokenizer.init_kwargs["model_input_names"] = names


@dataclass(frozen=True)
class AnsweredWindows(Windows):
    """Windows of training questions.

    Attributes:
        targets: the answers of each question, in tokens of its passage.
    """

    targets: Sequence[Sequence[Span]] = field(default_factory=list)


@dataclass(frozen=True)
class PairTokens:
    """The tokens of questions and of their passages.

    Attributes:
        questions: the ids of each question.
        passages: the ids of each passage.
        offsets: the code points ``[tokens, 2]`` of each passage's tokens.
        places: the passage of each question.
        cls, sep: the ids of the special tokens.
    """

    questions: list[Int32]
    passages: list[Int32]
    offsets: list[Int32]
    places: Int64
    cls: int
    sep: int

    def cover(self, max_tokens: int) -> Windows:
        """Return windows that cover the passage of each question, as readers read it.

        Args:
            max_tokens: tokens of a window at most, with question and special tokens.
        """
        overlap = window_overlap(max_tokens, SPECIAL)
        owners: list[int] = []
        firsts: list[int] = []
        for row, place in enumerate(self.places):
            starts = window_starts(len(self.passages[place]), self._room(row, max_tokens), overlap)
            owners += [row] * len(starts)
            firsts += starts
        return self._windows(owners, firsts, max_tokens)

    def draw(
        self, max_tokens: int, targets: Sequence[Sequence[Span]], seed: list[int]
    ) -> AnsweredWindows:
        """Return one window of each question, at a random place.

        Most have a target; the others teach the network to find nothing.

        Args:
            max_tokens: tokens of a window at most, with question and special tokens.
            targets: the answers of each question in its passage.
            seed: the numbers that decide the places.
        """
        rng = np.random.default_rng(seed)
        firsts = []
        for row, place in enumerate(self.places):
            room = self._room(row, max_tokens)
            last = max(0, len(self.passages[place]) - room)
            low, high = 0, last
            if last and targets[row] and rng.random() < _WITH_TARGET:
                start, end = targets[row][int(rng.integers(len(targets[row])))]
                high = min(start, last)
                low = min(max(0, end + 1 - room), high)
            firsts.append(int(rng.integers(low, high + 1)))
        made = self._windows(range(len(firsts)), firsts, max_tokens)
        return AnsweredWindows(
            **{each.name: getattr(made, each.name) for each in fields(made)}, targets=targets
        )

    def _room(self, row: int, max_tokens: int) -> int:
        question = min(len(self.questions[row]), question_room(max_tokens))
        return max_tokens - SPECIAL - question

    def _windows(self, owners: Sequence[int], firsts: Sequence[int], max_tokens: int) -> Windows:
        cls, sep = np.asarray([self.cls], np.int32), np.asarray([self.sep], np.int32)
        most = question_room(max_tokens)
        ids = []
        for row, first in zip(owners, firsts, strict=True):
            passage = self.passages[self.places[row]]
            part = passage[first : first + self._room(row, max_tokens)]
            ids.append(np.concatenate([cls, self.questions[row][:most], sep, part, sep]))
        asked = np.asarray([len(self.questions[row]) for row in owners], np.int64)
        return Windows(
            ids,
            np.asarray(owners, np.int64),
            np.asarray(firsts, np.int64),
            [],
            1,
            SPECIAL,
            np.minimum(asked, most) + 2,
        )

    def targets(self, spans: Sequence[Sequence[tuple[int, int]]]) -> list[list[Span]]:
        """Return the tokens of each question's answers, by their code points in the passage.

        A span without tokens is left out.
        """
        found = []
        for place, some in zip(self.places, spans, strict=True):
            starts, ends = self.offsets[place].T
            kept = set()
            for begin, end in some:
                first = int(np.searchsorted(ends, begin, side="right"))
                last = int(np.searchsorted(starts, end, side="left")) - 1
                if first <= last:
                    kept.add((first, last))
            found.append(sorted(kept))
        return found


def tokenize_pairs(
    fast: Any,
    tokenizer: Tokenizer,
    questions: Sequence[str],
    passages: Sequence[str],
    places: Int64,
) -> PairTokens:
    """Tokenize questions and passages.

    Args:
        fast: the tokenizer of transformers, after `frame_pairs`.
        tokenizer: the same one as albeam's.
        questions: the questions.
        passages: the passages, each once.
        places: the passage of each question.
    """
    ids: list[Int32] = []
    offsets: list[Int32] = []
    for encoding in encodings(tokenizer.backend, passages):
        ids.append(np.asarray(encoding.ids, np.int32))
        offsets.append(np.asarray(encoding.offsets, np.int32).reshape(-1, 2))
    asked = [
        np.asarray(encoding.ids, np.int32) for encoding in encodings(tokenizer.backend, questions)
    ]
    return PairTokens(asked, ids, offsets, places, fast.cls_token_id, fast.sep_token_id)
