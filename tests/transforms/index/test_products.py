"""Scores are the same for equal vectors, wherever these stand."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.index.products import cosines, lengths, products


@given(st.integers(1, 700), st.integers(1, 40), st.integers(1, 5), st.integers(0, 9_999))
@settings(max_examples=80, deadline=None)
def test_a_pair_has_one_score_whatever_is_scored_with_it(
    dim: int, rows: int, queries: int, seed: int
) -> None:
    dice = np.random.default_rng(seed)
    vectors = dice.normal(size=(queries, rows, dim)).astype(np.float32)
    asked = dice.normal(size=(queries, dim)).astype(np.float32)
    vectors[:, dice.integers(rows)] = vectors[0, 0]
    query, row = int(dice.integers(queries)), int(dice.integers(rows))
    every = products(vectors, asked)
    alone = products(vectors[query, row].copy()[None, None], asked[query][None])
    assert every[query, row] == alone[0, 0]
    # The rows of a matrix that lies otherwise in memory.
    across = np.asfortranarray(vectors[query])
    np.testing.assert_array_equal(products(across[None], asked[query][None])[0], every[query])
    expected = np.einsum("qnd,qd->qn", vectors.astype(float), asked.astype(float))
    scale = lengths(vectors.reshape(-1, dim)).max() * lengths(asked).max()
    np.testing.assert_allclose(every, expected, atol=3e-6 * scale)
    near = cosines(vectors[query], asked[query])
    assert near[row] == cosines(vectors[query, row : row + 1], asked[query])[0]
    assert np.abs(near).max() <= 1 + 1e-6


def test_noise_of_the_last_bits_is_rounded_away() -> None:
    dice = np.random.default_rng(1)
    vectors = dice.normal(size=(400, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    noisy = vectors + dice.normal(size=vectors.shape).astype(np.float32) * 1e-9
    query = vectors[:1] + vectors[1:2]
    same = products(vectors[None], query) == products(noisy[None], query)
    assert same.mean() > 0.95


def test_scores_of_any_size_are_kept() -> None:
    vectors = np.array([[[3, 4], [-3, 4], [0, 0], [1, 0]]], np.float32)
    for scale in (1e-18, 1e-6, 1.0, 1e6, 1e15):
        found = products(vectors * np.float32(scale), np.array([[1, 0]], np.float32))
        np.testing.assert_allclose(found[0] / scale, [3, -3, 0, 1], rtol=1e-5)
    assert cosines(vectors[0], np.zeros(2, np.float32)).tolist() == [0, 0, 0, 0]
