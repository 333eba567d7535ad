"""Linear layers in small products against plain ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.encoder.light.products import Group, Linear, groups_of


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
    found = Linear.of(weight, bias)(states, groups_of(np.array([tokens] if tokens else [], int)))
    assert found.dtype == np.float32
    exact = states.astype(np.float64) @ weight.T.astype(np.float64) + bias
    np.testing.assert_allclose(found, exact, atol=1e-5 * width)
    assert np.array_equal(states, given_states)


@pytest.mark.parametrize(("out", "width"), [(1_152, 384), (384, 768), (768, 3_072), (50, 70)])
def test_weights_are_not_copied_unless_they_need_rows(out: int, width: int) -> None:
    weight = np.ones((out, width), np.float32)
    layer = Linear.of(weight, np.zeros(out, np.float32))
    assert np.shares_memory(layer.blocks, weight) == (out % layer.blocks.shape[1] == 0)


@given(st.lists(st.integers(1, 90), min_size=1, max_size=9), st.integers(0, 9))
@settings(deadline=None, max_examples=40)
def test_the_products_of_a_sequence_depend_on_no_other_one(lengths: list[int], seed: int) -> None:
    numbers = np.random.default_rng(seed)
    layer = Linear.of(
        numbers.standard_normal((96, 384), dtype=np.float32), np.zeros(96, np.float32)
    )
    states = numbers.standard_normal((sum(lengths), 384), dtype=np.float32)
    found = layer(states, groups_of(np.array(lengths)))
    first = 0
    for length in lengths:
        some = slice(first, first + length)
        assert np.array_equal(found[some], layer(states[some], [Group(0, 1, length)]))
        first += length


def test_neighbours_of_equal_length_are_one_group() -> None:
    found = groups_of(np.array([5, 5, 3, 5]))
    assert found == [Group(0, 2, 5), Group(10, 1, 3), Group(13, 1, 5)]
    assert groups_of(np.array([], np.int64)) == []
