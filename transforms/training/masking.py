"""Masked tokens: which ones a network has to guess, and what it sees in their place."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]

#: The share of a text's tokens that are masked.
SHARE = 0.15
#: The most words of an n-gram; n has a probability in proportion to 1/n (Lan et al., 2019).
LONGEST = 3
#: A longer word is cut, so that scripts without spaces have words too.
MOST_PIECES = 6
#: The shares of masked tokens that become [MASK], and that become a random token.
_MASKED, _RANDOM = 0.8, 0.1
_SPACE = "▁"


@dataclass(frozen=True)
class MaskingRules:
    """What is masked, and in which vocabulary.

    Attributes:
        kind: ``ngram`` (n-grams of whole words), ``whole-word`` or ``token``.
        word_starts: bool ``[vocabulary]``, whether a piece begins a word.
        special: bool ``[vocabulary]``, the pieces that are never masked and never put in.
        mask: the number of ``[MASK]``.
    """

    kind: str
    word_starts: npt.NDArray[np.bool_]
    special: npt.NDArray[np.bool_]
    mask: int

    @classmethod
    def of(
        cls, kind: str, pieces: Sequence[str], special: Collection[int], mask: int
    ) -> MaskingRules:
        """Return the rules for a SentencePiece vocabulary.

        Args:
            kind: ``ngram``, ``whole-word`` or ``token``.
            pieces: the vocabulary in order.
            special: the numbers of special pieces.
            mask: the number of ``[MASK]``.
        """
        starts = np.fromiter(
            (p.startswith(_SPACE) or not any(map(str.isalnum, p)) for p in pieces),
            dtype=np.bool_,
            count=len(pieces),
        )
        flags = np.zeros(len(pieces), np.bool_)
        flags[list(special)] = True
        return cls(kind, starts, flags, mask)


@dataclass(frozen=True)
class Masked:
    """Texts with masked tokens.

    Attributes:
        ids: what the network sees, int64 ``[rows, tokens]``, padded with -1.
        places: the masked tokens' places in ``ids.ravel()``, ascending, int64 ``[masked]``.
        targets: the tokens that stood there, int64 ``[masked]``.
    """

    ids: Int64
    places: Int64
    targets: Int64


def mask_tokens(ids: Int64, rules: MaskingRules, seed: Sequence[int]) -> Masked:
    """Mask `SHARE` of each row's tokens; equal seeds mask equal tokens.

    Of the masked tokens 80 % become ``[MASK]``, 10 % a random token, and 10 % stay as they are.
    At least one word of a row is masked, unless all its tokens are special.

    Args:
        ids: int64 ``[rows, tokens]``, padded with -1. They are not changed.
        rules: what is masked.
        seed: numbers of at least 0, for example a seed and a step.
    """
    dice = np.random.default_rng(list(seed))
    width = ids.shape[1]
    found = [row * width + _choose(ids[row], rules, dice) for row in range(len(ids))]
    places = np.concatenate([np.zeros(0, np.int64), *found])
    targets = ids.ravel()[places]
    ordinary = np.flatnonzero(~rules.special)
    fate = dice.random(len(places))
    drawn = ordinary[dice.integers(len(ordinary), size=len(places))]
    shown = np.where(fate < _MASKED + _RANDOM, drawn, targets)
    seen = ids.copy()
    seen.ravel()[places] = np.where(fate < _MASKED, rules.mask, shown)
    return Masked(seen, places, targets)


def budget(tokens: int) -> int:
    """Return how many of a row's ordinary tokens are masked."""
    return min(tokens, max(1, round(SHARE * tokens)))


def _choose(row: Int64, rules: MaskingRules, dice: np.random.Generator) -> Int64:
    """Return the places in a row that are masked, ascending."""
    places = np.flatnonzero((row >= 0) & ~rules.special[row])
    most = budget(len(places))
    if rules.kind == "token" or not most:
        return np.sort(dice.permutation(places)[:most])
    first, run = words(row, places, rules.word_starts)
    counts = _draw_counts(len(run), rules.kind, dice)
    taken = np.zeros(len(places), np.bool_)
    left = most
    for word, count in zip(dice.permutation(len(run)).tolist(), counts.tolist(), strict=True):
        end = min(word + count, len(run))
        while end > word and (run[end - 1] != run[word] or first[end] - first[word] > left):
            end -= 1
        if end == word or taken[first[word] : first[end]].any():
            continue
        taken[first[word] : first[end]] = True
        left -= int(first[end] - first[word])
        if not left:
            break
    if left == most:
        # Each word is longer than the share.
        shortest = int(np.argmin(np.diff(first)))
        taken[first[shortest] : first[shortest + 1]] = True
    return places[taken]


def words(row: Int64, places: Int64, word_starts: npt.NDArray[np.bool_]) -> tuple[Int64, Any]:
    """Return the words of a row.

    Args:
        row: token ids.
        places: where its ordinary tokens are, ascending.
        word_starts: whether a piece begins a word, by its number.

    Returns:
        The first token of each word as an index of ``places``, and at the end the number of places,
        int64 ``[words + 1]``; and the run of each word, int64 ``[words]``. Between two runs is a
        special token.
    """
    gap = np.diff(places, prepend=-2) > 1
    starts = gap | word_starts[row[places]]
    numbers = np.arange(len(places))
    begun = np.maximum.accumulate(np.where(starts, numbers, 0))
    first = np.flatnonzero((numbers - begun) % MOST_PIECES == 0)
    return np.append(first, len(places)), np.cumsum(gap)[first]


def _draw_counts(size: int, kind: str, dice: np.random.Generator) -> Int64:
    """Draw how many words an n-gram has, for each of `size` words."""
    if kind == "whole-word":
        return np.ones(size, np.int64)
    chances = 1 / np.arange(1, LONGEST + 1)
    return dice.choice(np.arange(1, LONGEST + 1), size=size, p=chances / chances.sum())
