"""The functions of the light encoder against torch's and Python's own."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from transforms.encoder.light.functions import ACTIVATIONS, erf, normalized, softmax

FLOATS = st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=40)


def test_the_error_function_is_exact_to_float32() -> None:
    places = np.linspace(-8, 8, 40_001).astype(np.float32)
    exact = np.array([math.erf(place) for place in places.tolist()])
    assert np.abs(erf(places) - exact).max() < 4e-7
    assert erf(places).dtype == np.float32
    assert erf(np.float32([-np.inf, np.inf, 0])).round(6).tolist() == [-1, 1, 0]
    assert np.isnan(erf(np.float32([np.nan]))).all()


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("gelu", functional.gelu),
        ("gelu_new", lambda values: functional.gelu(values, approximate="tanh")),
        ("gelu_pytorch_tanh", lambda values: functional.gelu(values, approximate="tanh")),
        ("relu", functional.relu),
    ],
)
def test_activations_are_as_exact_as_those_of_torch(name: str, theirs: object) -> None:
    places = np.linspace(-12, 12, 40_001).astype(np.float32)
    given_places = places.copy()
    found = ACTIVATIONS[name](places)
    exact = theirs(torch.from_numpy(places).double()).numpy()  # type: ignore[operator]
    assert np.abs(found - exact).max() < 2e-6
    assert np.array_equal(places, given_places)


@given(FLOATS)
@settings(deadline=None)
def test_softmax_and_norm_are_those_of_torch(values: list[float]) -> None:
    given_values = np.float32([values, values[::-1]])
    tensor = torch.from_numpy(given_values.copy())
    expected = functional.softmax(tensor, dim=-1).numpy()
    np.testing.assert_allclose(softmax(given_values.copy()), expected, rtol=1e-5, atol=1e-7)
    width = len(values)
    weight, bias = np.linspace(-1, 2, width), np.linspace(3, -3, width)
    weight, bias = weight.astype(np.float32), bias.astype(np.float32)
    both = torch.from_numpy(weight), torch.from_numpy(bias)
    exact = functional.layer_norm(tensor.double(), [width], *(each.double() for each in both), 1e-3)
    found = normalized(given_values.copy(), weight, bias, 1e-3)
    np.testing.assert_allclose(found, exact.numpy(), rtol=1e-4, atol=1e-4)
