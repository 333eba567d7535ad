"""The spread of a model's cosines on a corpus."""

import numpy as np
import pytest

from transforms.search.spread import Spread, measure_spread


def vectors(rows: int, common: float, dim: int = 64) -> np.ndarray:
    """Return vectors that all share a direction, of any lengths."""
    dice = np.random.default_rng(0)
    found = dice.normal(size=(rows, dim)) + common * np.ones(dim)
    return (found * dice.uniform(0.5, 2, (rows, 1))).astype(np.float32)


def test_it_is_that_of_the_cosines_between_different_vectors() -> None:
    made = vectors(5, 0.3)
    units = made / np.linalg.norm(made, axis=1, keepdims=True)
    pairs = [units[i] @ units[j] for i in range(5) for j in range(i)]
    found = measure_spread(made)
    assert found.mean == pytest.approx(np.mean(pairs), abs=1e-6)
    assert found.deviation == pytest.approx(np.std(pairs), abs=1e-6)


def test_a_narrow_cone_of_vectors_is_as_wide_as_any() -> None:
    """Vectors with a large common part have high cosines; standardized, they are like others."""
    wide, narrow = measure_spread(vectors(200, 0)), measure_spread(vectors(200, 3))
    assert abs(wide.mean) < 0.1
    assert narrow.mean > 0.8
    assert narrow.deviation < wide.deviation / 3
    for spread in (wide, narrow):
        high = np.array([spread.mean + 3 * spread.deviation], np.float32)
        assert spread.standardized(high)[0] == pytest.approx(0.3, abs=1e-4)


@pytest.mark.parametrize(
    "made",
    [vectors(0, 0), vectors(1, 0), vectors(2, 0), np.ones((9, 8), np.float32), np.zeros((9, 8))],
)
def test_without_a_spread_cosines_stay_as_they_are(made: np.ndarray) -> None:
    found = measure_spread(made.astype(np.float32))
    assert found == Spread()
    cosines = np.array([-0.5, 0, 0.75], np.float32)
    np.testing.assert_allclose(found.standardized(cosines), cosines, atol=1e-6)
