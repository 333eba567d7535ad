"""Two rankings become one."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from transforms.search.fusion import Units, combine, is_alike, reciprocal_ranks, unit_of_words
from transforms.search.spread import Spread, spread_of


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


PLAIN = Units(Spread(), 1.0)


def test_a_combination_weighs_the_cosine_and_bm25_over_the_best() -> None:
    fused = combine(floats(1, 0.5, 0), floats(0, 4, 8), PLAIN, 0.6)
    np.testing.assert_allclose(fused, [0.6, 0.3 + 0.2, 0.4], rtol=1e-6)
    # No passage shares a word with the question: the cosines alone are left.
    np.testing.assert_allclose(combine(floats(1, 0.5), floats(0, 0), PLAIN, 0.6), [0.6, 0.3])


def test_words_count_less_where_even_the_best_passage_has_few_of_them() -> None:
    units = Units(Spread(), 16.0)
    few = combine(floats(0, 0), floats(2, 4), units, 0.5)
    np.testing.assert_allclose(few, [0.5 * 2 / 16, 0.5 * 4 / 16], rtol=1e-6)
    many = combine(floats(0, 0), floats(20, 40), units, 0.5)
    np.testing.assert_allclose(many, [0.5 * 20 / 40, 0.5], rtol=1e-6)


def test_the_unit_of_words_grows_with_the_corpus() -> None:
    small, large = unit_of_words(1_000), unit_of_words(1_000_000)
    # A word that one passage has is rarer there by the logarithm of the number of passages.
    assert large - small == pytest.approx(4 * np.log(1_000), abs=0.01)
    assert unit_of_words(0) == unit_of_words(10) > 0


@given(
    st.integers(3, 30).flatmap(
        lambda n: st.tuples(
            arrays(np.float32, n, elements=st.integers(-99, 99).map(lambda each: each / 100)),
            arrays(np.float32, n, elements=st.integers(0, 40)),
        )
    ),
    st.floats(0.03125, 4),
    st.floats(-1, 1),
    st.integers(0, 10).map(lambda each: each / 10),
)
def test_scores_stay_where_all_cosines_are_scaled_and_moved(
    halves: tuple[np.ndarray, np.ndarray], scale: float, shift: float, weight: float
) -> None:
    """A model with other cosines of the same meaning ranks alike, with the same weight."""
    similar, bm25 = halves
    sample = similar.astype(np.float64)
    assume(sample.std() > 0.01)
    plain = combine(similar, bm25, Units(spread_of(sample), 8.0), weight)
    other = scale * sample + shift
    moved = combine(other.astype(np.float32), bm25, Units(spread_of(other), 8.0), weight)
    np.testing.assert_allclose(moved, plain, atol=2e-3)


def test_reciprocal_ranks_are_summed_and_ties_share_a_rank() -> None:
    fused = reciprocal_ranks(floats(0.9, 0.1, 0.1, 0.5), floats(0, 7, 7, 9))
    expected = [1 / 61, 1 / 63 + 1 / 62, 1 / 63 + 1 / 62, 1 / 62 + 1 / 61]
    np.testing.assert_allclose(fused, expected, rtol=1e-6)


def test_vectors_of_nearly_the_same_direction_are_alike() -> None:
    vectors = np.array([[1, 0], [0, 3]], np.float32)
    for vector, alike in (((0.999, 0.01), True), ((0, 1), True), ((0.7, 0.7), False)):
        assert is_alike(vectors, floats(*vector)) is alike
    assert not is_alike(vectors[:0], floats(1, 0))
