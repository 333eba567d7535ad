"""Masked tokens: properties that hold for any texts, and the shares over many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.training.masking import (
    MOST_PIECES,
    SHARE,
    Int64,
    Masked,
    MaskingRules,
    budget,
    mask_tokens,
)

SPECIAL = (0, 1, 2, 3, 4)
#: Five special pieces, then pieces of which every third continues a word, and punctuation.
PIECES = [
    *("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", ",", "."),
    *(f"{'' if n % 3 == 0 else '▁'}w{n}" for n in range(60)),
]
KINDS = ("ngram", "whole-word", "token")


def rules(kind: str) -> MaskingRules:
    return MaskingRules.of(kind, PIECES, SPECIAL, 4)


@st.composite
def batches(draw: st.DrawFn) -> Int64:
    """Rows of any tokens, special ones too, padded with -1."""
    rows = draw(
        st.lists(st.lists(st.integers(0, len(PIECES) - 1), max_size=60), min_size=1, max_size=4)
    )
    ids = np.full((len(rows), max(1, *map(len, rows))), -1, np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
    return ids


def restore(masked: Masked) -> Int64:
    ids = masked.ids.copy()
    ids.ravel()[masked.places] = masked.targets
    return ids


@settings(deadline=None)
@given(ids=batches(), kind=st.sampled_from(KINDS), seed=st.integers(0, 9), step=st.integers(0, 9))
def test_what_is_masked(ids: Int64, kind: str, seed: int, step: int) -> None:
    before = ids.copy()
    masked = mask_tokens(ids, rules(kind), (seed, step))
    assert np.array_equal(ids, before)
    assert np.array_equal(restore(masked), ids)
    assert (np.diff(masked.places) > 0).all()
    assert not np.isin(masked.targets, SPECIAL).any()
    shown = masked.ids.ravel()[masked.places]
    assert not np.isin(shown, [0, 1, 2, 3]).any()
    ordinary = (ids >= 0) & ~np.isin(ids, SPECIAL)
    found = np.zeros(ids.size, np.bool_)
    found[masked.places] = True
    for row, taken in zip(ordinary, found.reshape(ids.shape), strict=True):
        most = budget(int(row.sum()))
        if kind == "token":
            assert taken.sum() == most
        else:
            assert min(1, most) <= taken.sum() <= max(most, MOST_PIECES)
    again = mask_tokens(ids, rules(kind), (seed, step))
    assert np.array_equal(masked.ids, again.ids)
    assert np.array_equal(masked.places, again.places)


@settings(deadline=None)
@given(ids=batches(), kind=st.sampled_from(KINDS[:2]))
def test_words_are_masked_as_a_whole(ids: Int64, kind: str) -> None:
    masked = mask_tokens(ids, rules(kind), (1,))
    found = np.zeros(ids.size, np.bool_)
    found[masked.places] = True
    for row, taken in zip(ids, found.reshape(ids.shape), strict=True):
        for word in whole_words(row):
            if len(word) <= MOST_PIECES:
                assert len(set(taken[word].tolist())) == 1


def whole_words(row: Int64) -> list[list[int]]:
    """Return the places of each word of a row."""
    words: list[list[int]] = []
    inside = False
    for place, token in enumerate(row.tolist()):
        if token < 0 or token in SPECIAL:
            inside = False
        elif inside and PIECES[token].startswith("w"):
            words[-1].append(place)
        else:
            words.append([place])
            inside = True
    return words


@pytest.mark.parametrize("kind", KINDS)
def test_the_shares_over_many_texts(kind: str) -> None:
    dice = np.random.default_rng(3)
    ids = dice.integers(5, len(PIECES), size=(400, 128))
    masked = mask_tokens(ids, rules(kind), (5, 6))
    assert len(masked.places) / ids.size == pytest.approx(SHARE, abs=0.003)
    shown = masked.ids.ravel()[masked.places]
    same = shown == masked.targets
    assert (shown == 4).mean() == pytest.approx(0.8, abs=0.02)
    # A random token is sometimes the same one.
    assert same.mean() == pytest.approx(0.1 + 0.1 / 62, abs=0.02)
    other = mask_tokens(ids, rules(kind), (5, 7))
    assert len(np.intersect1d(masked.places, other.places)) < 0.3 * len(masked.places)


def test_the_distribution_of_n() -> None:
    # Long rows of words of one piece: neighbours are rarely masked by two n-grams.
    ids = np.full((60, 4000), 6 + 2, np.int64)
    masked = mask_tokens(ids, rules("ngram"), (0, 0))
    flags = np.zeros(ids.size, np.bool_)
    flags[masked.places] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    lengths = edges[1::2] - edges[::2]
    counts = np.bincount(lengths)
    # Runs of one word can come from one n-gram alone; longer runs may join two of them.
    assert counts[2] / counts[1] == pytest.approx(1 / 2, abs=0.2)
    assert counts[3] / counts[1] == pytest.approx(1 / 3, abs=0.15)
    assert counts[4:].sum() < counts[3]


def test_scripts_without_spaces_and_long_words_are_masked_too() -> None:
    ids = np.full((1, 100), 7, np.int64)  # pieces that continue a word
    for kind in KINDS:
        masked = mask_tokens(ids, rules(kind), (2,))
        assert 10 <= len(masked.places) <= 15
    only = mask_tokens(np.full((1, 6), 7, np.int64), rules("ngram"), (2,))
    assert len(only.places) == 6
    nothing = mask_tokens(np.asarray([[2, 3, -1]]), rules("ngram"), (2,))
    assert len(nothing.places) == 0
