"""Changed copies of training texts: words swapped, deleted, or replaced by near ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

#: The share of the words that each way changes.
_SHARE = 0.1
#: How near two words must be, by the cosine of their vectors, and how many are near at most.
_NEAR = 0.5
_MOST_NEAR = 5
#: Rows of word vectors that are compared at once.
_AT_ONCE = 1_024
#: Words are parted by white space.
WORD = re.compile(r"\S+")

Neighbours = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Word:
    """A word of a text, and what may happen to it.

    Attributes:
        text: its characters.
        gap: the characters between it and the word before.
        mark: what goes with the word wherever it goes, such as its tag.
        moves: whether it may change places, be left out, or be replaced.
        cased: whether its case may change.
    """

    text: str
    gap: str = ""
    mark: Any = None
    moves: bool = True
    cased: bool = True


def augment(
    texts: Sequence[str], ways: Sequence[str], seed: Sequence[int], near: Neighbours
) -> list[str]:
    """Return a changed copy of each text; equal seeds give equal copies.

    A text of one word keeps it. White space between words becomes one blank.

    Args:
        texts: the texts.
        ways: some of `AUGMENTATIONS`, applied in this order.
        seed: the numbers that decide what changes.
        near: the words that may replace a word, for ``synonym``.
    """
    rng = np.random.default_rng(list(seed))
    made = []
    for text in texts:
        words = change_words([Word(word) for word in WORD.findall(text)], ways, rng, near)
        made.append(" ".join(word.text for word in words))
    return made


def change_words(
    words: list[Word], ways: Sequence[str], rng: np.random.Generator, near: Neighbours
) -> list[Word]:
    """Return the words of a text after some changes; at least one of them, if there are any.

    Args:
        words: the words, in their order.
        ways: some of `AUGMENTATIONS`, applied in this order.
        rng: decides what changes.
        near: the words that may replace a word, for ``synonym``.
    """
    changes: dict[str, Callable[[list[Word], list[int]], list[Word]]] = {
        "swap": _swap,
        "delete": _delete,
        "case": _change_case,
        "synonym": lambda some, chosen: _replace(some, chosen, rng, near),
    }
    for way in ways:
        # The last word has no next one to be swapped with.
        count = len(words) - 1 if way == "swap" else len(words)
        chosen = np.flatnonzero(rng.random(max(0, count)) < _SHARE).tolist()
        words = changes[way](list(words), chosen)
    return words


def joined(words: Sequence[Word]) -> tuple[str, npt.NDArray[np.int64]]:
    """Return words as a text, and the code points ``[words, 2]`` of each."""
    pieces = [piece for word in words for piece in (word.gap, word.text)]
    edges = np.cumsum([0, *map(len, pieces)], dtype=np.int64)[1:]
    return "".join(pieces), edges.reshape(-1, 2)


def _swap(words: list[Word], chosen: list[int]) -> list[Word]:
    """Exchange some words with the next one; the characters between words stay."""
    for place in chosen:
        one, other = words[place : place + 2]
        if one.moves and other.moves:
            words[place : place + 2] = [replace(other, gap=one.gap), replace(one, gap=other.gap)]
    return words


def _delete(words: list[Word], chosen: list[int]) -> list[Word]:
    gone = set(chosen)
    kept = [word for place, word in enumerate(words) if place not in gone or not word.moves]
    return kept or words[:1]


def _change_case(words: list[Word], chosen: list[int]) -> list[Word]:
    """Put some words in capitals, or no longer in capitals."""
    for place in chosen:
        word = words[place]
        text = word.text.lower() if word.text.isupper() else word.text.upper()
        words[place] = replace(word, text=text) if word.cased else word
    return words


def _replace(
    words: list[Word], chosen: list[int], rng: np.random.Generator, near: Neighbours
) -> list[Word]:
    for place in chosen:
        word = words[place]
        choices = near.get(word.text.lower(), ()) if word.moves else ()
        if choices:
            words[place] = replace(word, text=choices[int(rng.integers(len(choices)))])
    return words


def near_words(
    texts: Sequence[str], vocabulary: Mapping[str, int], vectors: npt.NDArray[np.float32]
) -> dict[str, list[str]]:
    """Return the words near each word of some texts, by the word vectors of a model.

    Only words that are one piece of the vocabulary, in lower case, have near words. Near words
    are used alike; they need not mean the same.

    Args:
        texts: the texts.
        vocabulary: the id of each piece.
        vectors: the vector of each piece, ``[pieces, width]``.
    """
    mark = "▁" if any(piece.startswith("▁") for piece in vocabulary) else ""
    words = {
        piece.removeprefix(mark): number
        for piece, number in vocabulary.items()
        if piece.startswith(mark) and piece.removeprefix(mark).isalpha() and piece.islower()
    }
    known = list(words)
    matrix = np.asarray([vectors[words[word]] for word in known], np.float32)
    if not known:
        return {}
    matrix /= np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-6)
    used = {word for text in texts for word in text.lower().split()}
    asked = [place for place, word in enumerate(known) if word in used]
    found: dict[str, list[str]] = {}
    for start in range(0, len(asked), _AT_ONCE):
        some = asked[start : start + _AT_ONCE]
        scores = matrix[some] @ matrix.T
        scores[np.arange(len(some)), some] = -1
        for place, row in zip(some, scores, strict=True):
            best: Any = np.argsort(-row, kind="stable")[:_MOST_NEAR]
            near = [known[other] for other in best if row[other] >= _NEAR]
            if near:
                found[known[place]] = near
    return found
