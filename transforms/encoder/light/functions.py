"""The functions of a network's layers in numpy, in float32: activations, softmax and norm."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

#: The error function is ``x * P(x * x) / Q(x * x)`` in float32, with these coefficients of P and Q,
#: the highest power first; beyond the bound it is 1. They are those of the library Eigen.
_P = np.array(
    [2.2905065861e-4, 3.4082910107e-3, 5.0955695062e-2, 1.8520832240e-1, 1.1283791435], np.float32
)
_Q = np.array(
    [
        *(-1.1791602954e-7, 2.3547966471e-5, 1.0179625279e-3, 1.4070470171e-2),
        *(1.1098505178e-1, 4.9746925111e-1, 1.0),
    ],
    np.float32,
)
_BOUND = np.float32(3.7439211628)
_HALF, _ONE = np.float32(0.5), np.float32(1)
_SQRT_HALF = np.float32(0.5**0.5)
_TANH_SCALE, _TANH_CUBE = np.float32((2 / np.pi) ** 0.5), np.float32(0.044715)


def erf(values: Floats) -> Floats:
    """Return the error function; its error is below 4e-7."""
    bounded = np.clip(values, -_BOUND, _BOUND)
    square = bounded * bounded
    found = _polynomial(_P, square)
    found *= bounded
    found /= _polynomial(_Q, square)
    return found


def _polynomial(coefficients: Floats, values: Floats) -> Floats:
    found = np.full_like(values, coefficients[0])
    for each in coefficients[1:]:
        found *= values
        found += each
    return found


def gelu(values: Floats) -> Floats:
    """Return the Gaussian error linear unit."""
    gate = erf(values * _SQRT_HALF)
    gate += _ONE
    gate *= values
    gate *= _HALF
    return gate


def gelu_tanh(values: Floats) -> Floats:
    """Return the Gaussian error linear unit, approximated by the hyperbolic tangent."""
    gate = np.tanh(_TANH_SCALE * (values + _TANH_CUBE * (values * values * values)))
    gate += _ONE
    gate *= values
    gate *= _HALF
    return gate


def relu(values: Floats) -> Floats:
    """Return the values, and 0 for negative ones."""
    return np.maximum(values, 0)


#: The activations by transformers' names.
ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "gelu": gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": relu,
}


def softmax(scores: Floats) -> Floats:
    """Return the softmax over the last axis; the scores are overwritten."""
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores


def normalized(states: Floats, weight: Floats, bias: Floats, epsilon: float) -> Floats:
    """Return states ``[tokens, width]`` after a layer norm; the given ones are overwritten."""
    states -= states.mean(axis=1, keepdims=True)
    # One pass, and no array of squares.
    variance = np.einsum("tw,tw->t", states, states) / np.float32(states.shape[1])
    states /= np.sqrt(variance + np.float32(epsilon))[:, None]
    states *= weight
    states += bias
    return states
