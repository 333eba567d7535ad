"""Two rankings become one."""

import numpy as np

from transforms.search.fusion import combine, is_alike, reciprocal_ranks


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_a_combination_weighs_the_cosine_and_bm25_over_the_best() -> None:
    fused = combine(floats(1, 0.5, 0), floats(0, 4, 2), 8.0, 0.6)
    np.testing.assert_allclose(fused, [0.6, 0.3 + 0.2, 0.1], rtol=1e-6)
    # No passage shares a word with the question: the cosines alone are left.
    np.testing.assert_allclose(combine(floats(1, 0.5), floats(0, 0), 0.0, 0.6), [0.6, 0.3])


def test_reciprocal_ranks_are_summed_and_ties_share_a_rank() -> None:
    fused = reciprocal_ranks(floats(0.9, 0.1, 0.1, 0.5), floats(0, 7, 7, 9))
    expected = [1 / 61, 1 / 63 + 1 / 62, 1 / 63 + 1 / 62, 1 / 62 + 1 / 61]
    np.testing.assert_allclose(fused, expected, rtol=1e-6)


def test_vectors_of_nearly_the_same_direction_are_alike() -> None:
    vectors = np.array([[1, 0], [0, 3]], np.float32)
    for vector, alike in (((0.999, 0.01), True), ((0, 1), True), ((0.7, 0.7), False)):
        assert is_alike(vectors, floats(*vector)) is alike
    assert not is_alike(vectors[:0], floats(1, 0))
