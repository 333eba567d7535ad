"""Changed copies of training texts: words swapped, deleted, or replaced by near ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
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
_WORD = re.compile(r"\S+")

Neighbours = Mapping[str, Sequence[str]]


def augment(
    texts: Sequence[str], ways: Sequence[str], seed: Sequence[int], near: Neighbours
) -> list[str]:
    """Return a changed copy of each text; equal seeds give equal copies.

    A text of one word keeps it. White space between words becomes one blank.

    Args:
        texts: the texts.
        ways: some of `head_options.AUGMENTATIONS`, applied in this order.
        seed: the numbers that decide what changes.
        near: the words that may replace a word, for ``synonym``.
    """
    rng = np.random.default_rng(list(seed))
    changes: dict[str, Callable[[list[str]], list[str]]] = {
        "swap": lambda words: _swap(words, rng),
        "delete": lambda words: _delete(words, rng),
        "case": lambda words: change_case(words, rng),
        "synonym": lambda words: _replace(words, rng, near),
    }
    made = []
    for text in texts:
        words = _WORD.findall(text)
        for way in ways:
            words = changes[way](words)
        made.append(" ".join(words))
    return made


def chosen(words: Sequence[object], rng: np.random.Generator) -> list[int]:
    """Return the places of the words to change: each with the same chance."""
    return np.flatnonzero(rng.random(len(words)) < _SHARE).tolist()


def _swap(words: list[str], rng: np.random.Generator) -> list[str]:
    """Exchange some words with the next one."""
    words = list(words)
    for place in chosen(words[1:], rng):
        words[place], words[place + 1] = words[place + 1], words[place]
    return words


def _delete(words: list[str], rng: np.random.Generator) -> list[str]:
    gone = set(chosen(words, rng))
    return [word for place, word in enumerate(words) if place not in gone] or words[:1]


def change_case(words: list[str], rng: np.random.Generator) -> list[str]:
    """Return words of which some are in capitals, or no longer in capitals."""
    words = list(words)
    for place in chosen(words, rng):
        words[place] = words[place].lower() if words[place].isupper() else words[place].upper()
    return words


def _replace(words: list[str], rng: np.random.Generator, near: Neighbours) -> list[str]:
    words = list(words)
    for place in chosen(words, rng):
        choices = near.get(words[place].lower(), ())
        if choices:
            words[place] = choices[int(rng.integers(len(choices)))]
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
