"""Linear layers in small products against plain ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.encoder.light.products import Linear


@given(
    st.integers(0, 70), st.integers(1, 60), st.sampled_from([1, 24, 384, 1_100]), st.integers(0, 9)
)
@settings(deadline=None)
def test_a_layer_is_a_product_and_a_sum(tokens: int, out: int, width: int, seed: int) -> None:
    numbers = np.random.default_rng(seed)
    states, weight = (
        numbers.standard_normal((rows, width), dtype=np.float32) for rows in (tokens, out)
    )
    bias = numbers.standard_normal(out, dtype=np.float32)
    given_states = states.copy()
    found = Linear.of(weight, bias)(states)
    assert found.dtype == np.float32
    exact = states.astype(np.float64) @ weight.T.astype(np.float64) + bias
    np.testing.assert_allclose(found, exact, atol=1e-5 * width)
    assert np.array_equal(states, given_states)


@pytest.mark.parametrize(("out", "width"), [(1_152, 384), (384, 768), (768, 3_072), (50, 70)])
def test_weights_are_not_copied_unless_they_need_rows(out: int, width: int) -> None:
    weight = np.ones((out, width), np.float32)
    layer = Linear.of(weight, np.zeros(out, np.float32))
    assert np.shares_memory(layer.blocks, weight) == (out % layer.blocks.shape[1] == 0)
