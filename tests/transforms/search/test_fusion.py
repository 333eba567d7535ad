"""Two rankings become one."""

import numpy as np

from transforms.search.fusion import combine, reciprocal_ranks, unlike


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


def test_what_is_nearly_identical_to_a_better_one_is_left_out() -> None:
    vectors = np.array([[1, 0], [0.999, 0.01], [0, 3], [0.7, 0.7], [0, 1]], np.float32)
    assert unlike(vectors, [0, 1, 2, 3, 4], 9) == [0, 2, 3]
    assert unlike(vectors, [1, 0, 4, 3], 2) == [1, 4]
    assert unlike(vectors[:0], [], 2) == []
