"""Products of bytes: what they compute, and that no text depends on its neighbours."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.models import make_model
from transforms.encoder import int8_products
from transforms.encoder.backends import FusedBackend, load_backend
from transforms.encoder.batching import Batch
from transforms.encoder.int8_products import (
    CENTRED,
    NEARLY_POSITIVE,
    Int8Product,
    Rows,
    quantize_rows,
    round_weights,
)
from transforms.encoder.network import pool
from transforms.encoder.probes import smallest_cosine
from transforms.encoder.reference import reference_vectors
from transforms.models.options import ModelOptions
from transforms.models.resolve import Model, find_model
from transforms.runtime.devices import supports_int8

needs_int8 = pytest.mark.skipif(not supports_int8(), reason="this CPU has no units for bytes")


def numbers(rows: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def restore(rows: Rows, zero: int) -> torch.Tensor:
    return (rows.values.float() - zero) * rows.scales


@given(st.integers(1, 9), st.integers(1, 70), st.floats(1e-6, 1e6), st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_rows_are_rounded_to_the_nearest_step_of_their_own_scale(
    rows: int, width: int, size: float, seed: int
) -> None:
    states = numbers(rows, width, seed) * size
    found = quantize_rows(states, CENTRED)
    assert found.values.dtype == torch.uint8
    torch.testing.assert_close(found.scales, states.abs().amax(1, keepdim=True) / 127)
    assert bool(((restore(found, CENTRED) - states).abs() <= 0.5001 * found.scales).all())


@given(st.integers(1, 9), st.integers(1, 70), st.floats(1e-3, 1e3), st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_results_of_an_activation_have_finer_steps(
    rows: int, width: int, size: float, seed: int
) -> None:
    states = torch.nn.functional.gelu(numbers(rows, width, seed) * size)
    found = quantize_rows(states, NEARLY_POSITIVE)
    assert bool(((restore(found, NEARLY_POSITIVE) - states).abs() <= 0.5001 * found.scales).all())
    largest = states.amax(1, keepdim=True)
    assert bool((found.scales <= torch.clamp(largest / 223, min=0.0054)).all())


@pytest.mark.parametrize("zero", [CENTRED, NEARLY_POSITIVE])
def test_rows_of_zeros_stay_zeros(zero: int) -> None:
    assert bool((restore(quantize_rows(torch.zeros(3, 5), zero), zero) == 0).all())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_stays_so_in_its_row_alone(bad: float) -> None:
    states = numbers(3, 8)
    good = quantize_rows(states, CENTRED)
    states[1, 4] = bad
    found = quantize_rows(states, CENTRED)
    assert not bool(torch.isfinite(restore(found, CENTRED)[1]).any())
    assert torch.equal(found.values[[0, 2]], good.values[[0, 2]])


@needs_int8
@pytest.mark.parametrize("peaked", [False, True])
@pytest.mark.parametrize("zero", [CENTRED, NEARLY_POSITIVE])
def test_a_product_is_that_of_the_linear_layers_within_the_steps(zero: int, peaked: bool) -> None:
    torch.manual_seed(1)
    linears = [torch.nn.Linear(48, width) for width in (16, 32)]
    states = numbers(64, 48)
    states[:, 5] *= 20
    if zero == NEARLY_POSITIVE:
        states = torch.relu(states)
    peaks = states.abs().amax(0) if peaked else None
    product = Int8Product(linears, zero, peaks)
    with torch.inference_mode():
        expected = torch.cat([linear(states) for linear in linears], 1)
        rows = product.quantize(states, torch.empty_like(states))
        error = (product(rows) - expected).abs().max()
        assert error <= (0.1 if peaked else 0.3) * expected.std()
        summed = product.add_to(torch.ones_like(expected), rows)
        torch.testing.assert_close(summed, product(rows) + 1)


@given(st.integers(1, 6), st.integers(1, 40), st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_rounded_weights_are_near_and_their_pairs_fit_in_16_bits(
    rows: int, width: int, seed: int
) -> None:
    weight = numbers(rows, width, seed)
    rounded, scales = round_weights(weight, in_pairs=True)
    assert rounded.dtype == torch.int8
    pairs = torch.nn.functional.pad(rounded.int(), (0, width % 2)).view(rows, -1, 2)
    for sign in (1, -1):
        assert int((sign * pairs).clamp(min=0).sum(-1).max()) <= 128
    wide, wide_scales = round_weights(weight, in_pairs=False)
    assert int(wide.abs().max()) == 127
    error = (weight - rounded * scales[:, None]).square().sum(1)
    # With the bound 64 no pair is too large: at most twice the step.
    assert bool((error <= width * (scales.new_tensor(127 / 64) * wide_scales).square() / 4).all())


@needs_int8
def test_products_of_the_largest_bytes_do_not_overflow() -> None:
    linear = torch.nn.Linear(64, 3)
    with torch.inference_mode():
        linear.weight[0], linear.weight[1] = 1, -1
        linear.weight[2] = torch.tensor([1.0, 0.01, -1.0, -0.5]).repeat(16)
        product = Int8Product([linear], CENTRED)
        largest = Rows(torch.full((5, 64), 255, dtype=torch.uint8), torch.ones(5, 1))
        expected = linear(torch.full((5, 64), 127.0))
        torch.testing.assert_close(product(largest), expected, rtol=0.02, atol=20)


def test_products_that_overflow_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_products, "has_byte_units", lambda: False)
    monkeypatch.setattr(Int8Product, "sums", lambda self, _: self._scales[None] * 32_767)
    with pytest.raises(RuntimeError, match="overflow"):
        Int8Product([torch.nn.Linear(512, 2)], CENTRED)


def framed(count: int, longest: int, seed: int) -> list[list[int]]:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, longest, count)
    # Many have the same length, as in a real batch.
    lengths[::2] = lengths[0]
    return [random.integers(5, 60, length).tolist() for length in lengths]


def run(
    backend: FusedBackend, ids: list[list[int]], order: npt.NDArray[np.int64], pooling: str
) -> npt.NDArray[np.float32]:
    """Return the vectors of the texts at ``order``, in one batch."""
    batch = Batch.take(pa.array(ids, pa.list_(pa.int32())), order)
    with torch.inference_mode():
        return pool(backend(batch), torch.from_numpy(batch.lengths), pooling).numpy()


def load(folder: Path) -> tuple[Model, FusedBackend]:
    model = find_model(ModelOptions(str(folder), max_tokens=128))
    backend = load_backend(model, "cpu", "int8", "int8")
    assert isinstance(backend, FusedBackend)
    return model, backend


@pytest.fixture(scope="module", params=["albert", "bert"])
def loaded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> FusedBackend:
    folder = make_model(tmp_path_factory.mktemp("models") / request.param, request.param)
    return load(folder)[1]


@needs_int8
@pytest.mark.parametrize("family", ["albert", "bert"])
def test_vectors_are_close_to_those_of_the_plain_network(tmp_path: Path, family: str) -> None:
    model, backend = load(make_model(tmp_path / family, family))
    ids = framed(40, 128, 3)
    order = np.argsort([-len(one) for one in ids], kind="stable")
    expected = reference_vectors(model, ids)[order]
    assert smallest_cosine(run(backend, ids, order, "mean"), expected) >= 0.99


@needs_int8
@given(
    seed=st.integers(0, 10_000), threads=st.integers(1, 4), longest=st.sampled_from([9, 70, 128])
)
@settings(deadline=None, max_examples=30)
def test_the_bits_of_a_vector_do_not_depend_on_its_batch(
    loaded: FusedBackend, seed: int, threads: int, longest: int
) -> None:
    ids = framed(12, longest, seed)
    random = np.random.default_rng(seed)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = np.concatenate([run(loaded, ids, np.array([row]), "mean") for row in range(12)])
        torch.set_num_threads(threads)
        some = random.permutation(12)[: random.integers(1, 13)]
        # Sequences of equal length lie side by side, as an encoder sorts them, or anyhow.
        if seed % 2:
            some = some[np.argsort([-len(ids[row]) for row in some], kind="stable")]
        together = run(loaded, ids, some, "mean")
    finally:
        torch.set_num_threads(before)
    assert together.tobytes() == alone[some].tobytes()
