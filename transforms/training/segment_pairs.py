"""Pairs of segments: which two stretches of the texts a network reads together."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Ids = npt.NDArray[np.int32]

#: The share of rows that are shorter than they could be, as in BERT and ALBERT.
_SHORT = 0.1
_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[.!?][\"'”’)\]])\s+|(?<=[。！？])\s*|\n+")
_TEXTS_AT_ONCE = 4096


@dataclass(frozen=True)
class Documents:
    """Tokenized documents, cut into sentences.

    Attributes:
        tokens: the tokens of all documents, without special ones, int32 ``[tokens]``.
        sentences: where sentences begin in ``tokens``, and the end, int64 ``[sentences + 1]``.
        documents: where documents begin in ``sentences``, and the end, int64 ``[documents + 1]``.
    """

    tokens: Ids
    sentences: Int64
    documents: Int64

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self.documents) - 1

    def counts(self, vocabulary: int, last: int) -> Int64:
        """Return how often each piece occurs in the documents before ``last``."""
        end = self.sentences[self.documents[last]]
        return np.bincount(self.tokens[:end], minlength=vocabulary)


@dataclass(frozen=True)
class Segments:
    """Rows of one or two segments.

    Attributes:
        spans: begin and end in ``Documents.tokens`` of the first and of the second segment, int64
            ``[rows, 4]``. A second segment that is empty is none.
        labels: 0 where the second segment follows the first one, 1 where it does not, int64
            ``[rows]``.
    """

    spans: Int64
    labels: Int64

    @property
    def lengths(self) -> Int64:
        """Return the tokens of each row, special ones included."""
        first, second = (self.spans[:, at + 1] - self.spans[:, at] for at in (0, 2))
        return first + second + 2 + (second > 0)


def split_sentences(text: str) -> list[str]:
    """Split a text after the marks that end sentences, and at line ends."""
    return [sentence for sentence in _SENTENCE.split(text) if sentence]


def tokenize_documents(
    tokenizer: Any, texts: Sequence[str], word_starts: npt.NDArray[np.bool_], longest: int
) -> Documents:
    """Tokenize texts, sentence by sentence.

    A text of one sentence is cut in its middle, so that it has two segments. Cuts are before words.

    Args:
        tokenizer: a fast tokenizer of transformers.
        texts: the documents.
        word_starts: whether a piece begins a word, by its number.
        longest: a sentence of more tokens is cut.
    """
    tokens: list[Ids] = []
    documents = [0]
    for first in range(0, len(texts), _TEXTS_AT_ONCE):
        split = [split_sentences(text) for text in texts[first : first + _TEXTS_AT_ONCE]]
        flat = [sentence for sentences in split for sentence in sentences]
        found = tokenizer(flat, add_special_tokens=False, truncation=False, verbose=False)
        ids = iter(found["input_ids"])
        for sentences in split:
            pieces = [
                piece
                for _ in sentences
                for piece in _cut(np.asarray(next(ids), np.int32), word_starts, longest)
            ]
            if len(pieces) == 1:
                pieces = _halve(pieces[0], word_starts)
            tokens += pieces
            documents.append(len(tokens))
    lengths = [0, *map(len, tokens)]
    everything = np.concatenate([np.zeros(0, np.int32), *tokens])
    return Documents(everything, np.cumsum(lengths), np.asarray(documents, np.int64))


def _cut(ids: Ids, word_starts: npt.NDArray[np.bool_], longest: int) -> Iterator[Ids]:
    """Cut a sentence into stretches of at most ``longest`` tokens."""
    while len(ids) > longest:
        starts = np.flatnonzero(word_starts[ids[1 : longest + 1]])
        end = int(starts[-1]) + 1 if len(starts) else longest
        yield ids[:end]
        ids = ids[end:]
    if len(ids):
        yield ids


def _halve(ids: Ids, word_starts: npt.NDArray[np.bool_]) -> list[Ids]:
    """Cut a sentence before the word nearest to its middle; one word stays whole."""
    starts = np.flatnonzero(word_starts[ids[1:]]) + 1
    if not len(starts):
        return [ids]
    middle = int(starts[np.argmin(np.abs(starts - len(ids) / 2))])
    return [ids[:middle], ids[middle:]]


def plan_segments(
    documents: Documents, numbers: range, sentence: str, max_tokens: int, seed: Sequence[object]
) -> Segments:
    """Choose the rows of a pass over documents. Equal seeds give equal rows.

    A row holds consecutive sentences of a document, as many as fit. In a tenth of the rows fewer
    are wanted. The sentences are parted at random into two segments.

    Args:
        documents: the documents.
        numbers: which of them.
        sentence: ``sop`` swaps the segments of half the rows; ``nsp`` gives half the rows a second
            segment from another document; ``none`` has one segment. A document of one word has
            no row with two segments.
        max_tokens: the most tokens of a row, special ones included; at least 8. No sentence may
            have more than ``(max_tokens - 3) // 2``.
        seed: for example a seed and the number of a pass.
    """
    dice = random.Random(" ".join(map(str, seed)))
    planner = _Planner(documents, numbers, sentence, max_tokens, dice)
    rows = [row for number in numbers for row in planner.rows(number)]
    found = np.asarray(rows, np.int64).reshape(len(rows), 5)
    return Segments(found[:, :4], found[:, 4])


class _Planner:
    """Walks through documents and chooses rows: four places in the tokens, and a label."""

    def __init__(
        self,
        documents: Documents,
        numbers: range,
        sentence: str,
        max_tokens: int,
        dice: random.Random,
    ) -> None:
        self.bounds: list[int] = documents.sentences.tolist()
        self.documents: list[int] = documents.documents.tolist()
        self.numbers, self.sentence, self.dice = numbers, sentence, dice
        self.room = max_tokens - (2 if sentence == "none" else 3)

    def rows(self, number: int) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield the rows of a document."""
        first, last = self.documents[number], self.documents[number + 1]
        least = 1 if self.sentence == "none" else 2
        place = first
        while place < last:
            # The last sentence alone goes with the one before it.
            place = max(first, min(place, last - least))
            if place + least > last:
                return
            end = self._fill(place, last, least)
            start, stop = self.bounds[place], self.bounds[end]
            if self.sentence == "none":
                yield start, stop, stop, stop, 0
                place = end
                continue
            split = self.dice.randrange(place + 1, end)
            middle = self.bounds[split]
            other = self.dice.random() < 0.5
            if not other:
                yield start, middle, middle, stop, 0
            elif self.sentence == "sop":
                yield middle, stop, start, middle, 1
            else:
                yield start, middle, *self._elsewhere(number, self.room - (middle - start)), 1
                end = split  # The rest of the sentences is still to come.
            place = end

    def _fill(self, place: int, last: int, least: int) -> int:
        """Return the sentence after the row that begins at ``place``."""
        wanted = self.room
        if self.dice.random() < _SHORT:
            wanted = self.dice.randint(2, self.room)
        end = place + least
        while end < last and self.bounds[end + 1] - self.bounds[place] <= wanted:
            end += 1
        return end

    def _elsewhere(self, number: int, room: int) -> tuple[int, int]:
        """Return sentences of another document, of at most ``room`` tokens."""
        other = self.dice.randrange(len(self.numbers) - 1)
        if self.numbers[other] >= number:
            other += 1
        first, last = (self.documents[self.numbers[other] + more] for more in (0, 1))
        begin = self.dice.randrange(first, last)
        end = begin + 1
        while end < last and self.bounds[end + 1] - self.bounds[begin] <= room:
            end += 1
        start = self.bounds[begin]
        return start, min(self.bounds[end], start + room)
