"""Every backend of the encoder against the unmodified network, one text at a time."""

import logging
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tests.support.models import make_model, make_texts
from tests.support.raising import raises
from transforms.encoder.backends import Backend, FusedBackend, backends_for, load_backend
from transforms.encoder.batching import Batch, Budget
from transforms.encoder.encoder import Encoder, load_encoder
from transforms.encoder.network import load_network, make_layout, packed_attention, pool
from transforms.encoder.placement import expected_rate, resolve_placement
from transforms.encoder.reference import reference_vectors
from transforms.errors import BadInput
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import Model, find_model

#: Whether this CPU can multiply bfloat16 with oneDNN.
BFLOAT16_PRODUCTS = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
needs_bfloat16_products = pytest.mark.skipif(
    not BFLOAT16_PRODUCTS, reason="oneDNN has no bfloat16 products on this CPU"
)
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """So many cores as an encoder that is loaded now will use."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def cosines(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    x, y = a.astype(np.float64), b.astype(np.float64)
    return (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)


def framed(encoder: Encoder, texts: list[str]) -> list[list[int]]:
    return encoder.tokenizer.encode_framed(texts, encoder.identity.max_tokens)


def embed(encoder: Encoder, ids: list[list[int]]) -> npt.NDArray[np.float32]:
    return encoder.encode(pa.array(ids, pa.list_(pa.int32()))).vectors


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
@pytest.mark.parametrize("layer", [-1, 0, 2, -2])
def test_float32_vectors_are_those_of_the_plain_network(
    albert: Path, pooling: str, layer: int, device: str
) -> None:
    model = find_model(ModelOptions(str(albert), pooling=pooling, layer=layer, max_tokens=64))
    encoder = load_encoder(model, Placement(device, "float32"))
    assert encoder.backend_name == ("fused" if device == "cpu" else "packed")
    ids = framed(encoder, make_texts(60, seed=1))
    assert cosines(embed(encoder, ids), reference_vectors(model, ids)).min() >= 0.999999


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "mpnet"])
def test_other_families_are_exact_packed_only_where_that_is_exact(
    tmp_path: Path, family: str
) -> None:
    model = find_model(ModelOptions(str(make_model(tmp_path / family, family)), max_tokens=64))
    encoder = load_encoder(model, Placement("cpu", "float32"))
    assert encoder.backend_name == ("fused" if family == "bert" else "padded")
    ids = framed(encoder, make_texts(40, seed=2))
    assert cosines(embed(encoder, ids), reference_vectors(model, ids)).min() >= 0.999999


def test_vectors_keep_their_length_without_normalization(albert: Path) -> None:
    model = find_model(ModelOptions(str(albert), normalize=False))
    encoder = load_encoder(model, Placement("cpu", "float32"))
    ids = framed(encoder, ["river", "stone window music"])
    np.testing.assert_allclose(embed(encoder, ids), reference_vectors(model, ids), atol=1e-4)


@pytest.mark.parametrize("family", ["albert", "bert"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("layer", [-1, 1])
@pytest.mark.parametrize("device", DEVICES)
def test_every_backend_gives_the_plain_network_s_states(
    tmp_path: Path, family: str, dtype: str, layer: int, device: str
) -> None:
    folder = make_model(tmp_path / family, family)
    model = find_model(ModelOptions(str(folder), max_tokens=128, layer=layer))
    random = np.random.default_rng(7)
    lengths = [*random.integers(1, 12, 20), 70, 70, 128]
    ids = [random.integers(5, 60, length).tolist() for length in lengths]
    expected = reference_vectors(model, ids)
    names = backends_for(model, device, dtype)
    assert names[-2:] == ["packed", "padded"]
    assert ("fused" in names) is (device == "cpu")
    for name in names:
        own = name in ("products", "fused")
        if own and (dtype == "float16" or (dtype == "bfloat16" and not BFLOAT16_PRODUCTS)):
            continue
        backend = load_backend(model, device, dtype, name)
        order = np.argsort([-len(one) for one in ids], kind="stable")
        batch = Batch.take(pa.array(ids, pa.list_(pa.int32())), order)
        with torch.inference_mode():
            states = backend(batch)
            assert states.shape == (sum(lengths), model.identity.dim)
            of_each = torch.from_numpy(batch.lengths).to(states.device)
            vectors = pool(states.float(), of_each, "mean").cpu().numpy()
        least = 0.999999 if dtype == "float32" else 0.9995
        assert cosines(vectors, expected[order]).min() >= least, name


@needs_bfloat16_products
@pytest.mark.parametrize("name", ["products", "fused"])
@pytest.mark.parametrize("family", ["albert", "bert"])
def test_own_layers_are_exact_with_either_attention(tmp_path: Path, family: str, name: str) -> None:
    model = find_model(ModelOptions(str(make_model(tmp_path / family, family)), max_tokens=128))
    random = np.random.default_rng(7)
    lengths = [*random.integers(1, 12, 40), *[70] * 9, 128]
    ids = [random.integers(5, 60, length).tolist() for length in lengths]
    batch = Batch.take(pa.array(ids, pa.list_(pa.int32())), np.argsort(lengths, kind="stable"))
    with torch.inference_mode():
        states = load_backend(model, "cpu", "bfloat16", name)(batch)
    vectors = pool(states.float(), torch.from_numpy(batch.lengths), "mean").numpy()
    expected = reference_vectors(model, ids)[np.argsort(lengths, kind="stable")]
    assert cosines(vectors, expected).min() >= 0.9995


@pytest.mark.parametrize("family", ["albert", "bert", "distilbert", "roberta"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_layer_norms_get_states_of_their_own_dtype_which_cuda_insists_on(
    tmp_path: Path, family: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, seen = functional.layer_norm, []

    def strict(states: torch.Tensor, shape: object, weight: torch.Tensor, *rest: object) -> object:
        seen.append((states.dtype, weight.dtype))
        return plain(states, shape, weight, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(functional, "layer_norm", strict)
    model = find_model(ModelOptions(str(make_model(tmp_path / family, family)), max_tokens=64))
    batch = Batch.take(pa.array([[5, 6, 7], [8, 9]], pa.list_(pa.int32())), np.array([0, 1]))
    for name in backends_for(model, "cuda", dtype):
        with torch.inference_mode():
            load_backend(model, "cpu", dtype, name)(batch)
    assert set(seen) == {(torch.float32, torch.float32)}


def test_torch_has_the_attention_that_is_used_on_cuda() -> None:
    schema = torch.ops.aten._flash_attention_forward.default._schema
    names = [argument.name for argument in schema.arguments]
    assert names[:10] == [
        *("query", "key", "value", "cum_seq_q", "cum_seq_k", "max_q", "max_k"),
        *("dropout_p", "is_causal", "return_debug_mask"),
    ]
    assert "scale" in names
    assert schema.returns[0].name == "output"


def test_a_family_with_another_activation_is_not_fused(tmp_path: Path) -> None:
    model = find_model(ModelOptions(str(make_model(tmp_path / "albert"))))
    assert backends_for(model, "cuda", "float32") == ["packed", "padded"]
    for dtype in ("float32", "bfloat16"):
        assert backends_for(replace(model, activation="silu"), "cpu", dtype) == ["packed", "padded"]
        assert backends_for(replace(model, model_type="mpnet"), "cpu", dtype) == ["padded"]


@needs_bfloat16_products
def test_attention_by_products_gives_way_to_torch_s_where_it_is_off(
    albert: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("transforms.encoder.backends.is_quicker_by_products", lambda: True)
    model = find_model(ModelOptions(str(albert), max_tokens=64))
    encoder = load_encoder(model, Placement("cpu", "bfloat16"))
    assert encoder.backend_name == "products"
    # A vector that is not finite is made again in float32, with torch's attention.
    ids = framed(encoder, ["river", "stone"])
    encoder.backend = Failing(encoder.backend, 0, error=MemoryError())
    encoder.encode(pa.array(ids, pa.list_(pa.int32())))
    assert isinstance(encoder._exact_backend(), FusedBackend)
    monkeypatch.setattr(
        "transforms.encoder.fused_layers.attend_by_products",
        lambda parts, out, _: out.copy_(parts[2]),
    )
    with caplog.at_level(logging.WARNING):
        encoder = load_encoder(model, Placement("cpu", "bfloat16"))
    assert (encoder.backend_name, encoder.dtype) == ("fused", "bfloat16")
    assert "products vectors in bfloat16 are off" in caplog.text
    assert backends_for(model, "cpu", "float32")[0] == "fused"


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12))
@settings(deadline=None, max_examples=40)
def test_packed_attention_is_attention_within_each_sequence(lengths: list[int]) -> None:
    generator = torch.Generator().manual_seed(sum(lengths))
    total = sum(lengths)
    query, key, value = torch.randn(3, 1, 2, total, 8, generator=generator)
    layout = make_layout(np.array(lengths), torch.device("cpu"))
    found, _ = packed_attention(torch.nn.Identity(), query, key, value, None, 0.3, layout)
    assert found.shape == (1, total, 2, 8)
    start = 0
    for length in lengths:
        q, k, v = (states[:, :, start : start + length] for states in (query, key, value))
        expected = torch.softmax(q @ k.transpose(2, 3) * 0.3, -1) @ v
        torch.testing.assert_close(found[:, start : start + length], expected.transpose(1, 2))
        start += length


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12))
@settings(deadline=None, max_examples=40)
def test_pooling_against_loops(lengths: list[int]) -> None:
    states = torch.randn(sum(lengths), 5, generator=torch.Generator().manual_seed(len(lengths)))
    pieces = states.split(lengths)
    for pooling, expected in {
        "mean": [piece.mean(0) for piece in pieces],
        "cls": [piece[0] for piece in pieces],
        "max": [piece.max(0).values for piece in pieces],
    }.items():
        torch.testing.assert_close(
            pool(states, torch.tensor(lengths), pooling), torch.stack(expected)
        )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "apart"), [("float32", 2e-6), ("bfloat16", 2e-2)])
def test_a_vector_does_not_depend_on_its_batch(
    albert: Path, device: str, dtype: str, apart: float
) -> None:
    encoder = load_encoder(find_model(ModelOptions(str(albert))), Placement(device, dtype))
    assert encoder.dtype == dtype
    ids = framed(encoder, make_texts(50, seed=3))
    alone = np.concatenate([embed(encoder, [one]) for one in ids])
    for together in (embed(encoder, ids), embed(encoder, ids[::-1])[::-1]):
        np.testing.assert_allclose(together, alone, atol=apart)
        assert cosines(together, alone).min() >= 1 - apart**2


class Failing:
    """A backend that runs out of memory above a number of tokens, or on one id."""

    def __init__(
        self, backend: Backend, most_tokens: int, poison: int = -1, error: Exception | None = None
    ) -> None:
        self.network = backend.network
        self._backend, self._most, self._poison = backend, most_tokens, poison
        self._error = error or torch.OutOfMemoryError("CUDA out of memory")
        self.calls: list[int] = []

    def __call__(self, batch: Batch) -> torch.Tensor:
        self.calls.append(len(batch.ids))
        if len(batch.ids) > self._most or (batch.ids == self._poison).any():
            raise self._error
        return self._backend(batch)


#: What torch and oneDNN raised where the address space was limited (``ulimit -v``).
NO_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError("std::bad_alloc"),
    RuntimeError(
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 12582912 bytes"
    ),
    RuntimeError("could not create a memory object"),
    RuntimeError("could not create a primitive"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA driver error: out of memory"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
)


@pytest.mark.parametrize("error", NO_MEMORY, ids=str)
def test_out_of_memory_halves_the_batches_and_changes_nothing(
    albert: Path, caplog: pytest.LogCaptureFixture, error: Exception, threads: int
) -> None:
    encoder = load_encoder(find_model(ModelOptions(str(albert))), Placement("cpu", "float32"))
    ids = framed(encoder, make_texts(40, seed=4))
    expected = embed(encoder, ids)
    encoder.backend = Failing(encoder.backend, most_tokens=200, error=error)
    with caplog.at_level(logging.WARNING):
        found = encoder.encode(pa.array(ids, pa.list_(pa.int32())))
    assert not found.failed
    assert "out of memory" in caplog.text
    np.testing.assert_allclose(found.vectors, expected, atol=2e-6)
    assert encoder.cores.count == threads
    assert encoder.budget <= 200
    if threads == 1:
        # Batches that come later are made to the new measure.
        failed = [calls > 200 for calls in encoder.backend.calls]
        assert not any(failed[failed.index(False) :])


def test_batches_that_overlap_as_on_a_gpu_give_the_same_vectors(albert: Path) -> None:
    encoder = load_encoder(find_model(ModelOptions(str(albert))), Placement("cpu", "float32"))
    ids = framed(encoder, make_texts(40, seed=4))
    expected = embed(encoder, ids)
    encoder.overlaps, done = True, []
    encoder.backend = Failing(encoder.backend, most_tokens=200)
    encoder._budget = Budget(400)
    found = encoder.encode(
        pa.array(ids, pa.list_(pa.int32())), lambda rows, tokens: done.append((rows, tokens))
    )
    assert not found.failed
    np.testing.assert_allclose(found.vectors, expected, atol=2e-6)
    assert encoder.budget <= 200
    assert min(encoder.backend.calls) <= 200 < max(encoder.backend.calls)
    assert tuple(map(sum, zip(*done, strict=True))) == (40, sum(map(len, ids)))


def test_what_the_failed_batch_held_is_free_when_its_halves_are_tried(albert: Path) -> None:
    # Another thread's failed batch may still be there.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    encoder = load_encoder(find_model(ModelOptions(str(albert))), Placement("cpu", "float32"))
    ids = framed(encoder, make_texts(40, seed=4))
    backend, held = encoder.backend, []

    def crowded(batch: Batch) -> torch.Tensor:
        states = backend(batch)
        if len(batch.lengths) > 2:
            held.append(weakref.ref(states))
            raise torch.OutOfMemoryError("CUDA out of memory")
        assert all(states() is None for states in held)
        return states

    encoder.backend = crowded
    try:
        assert not encoder.encode(pa.array(ids, pa.list_(pa.int32()))).failed
    finally:
        torch.set_num_threads(before)
    assert held


def test_a_text_that_fails_alone_is_reported_and_the_others_are_done(albert: Path) -> None:
    encoder = load_encoder(find_model(ModelOptions(str(albert))), Placement("cpu", "float32"))
    ids = framed(encoder, ["river", "stone", "window"])
    poison = 50
    ids[1][1] = poison
    encoder.backend = Failing(encoder.backend, 10_000, poison)
    found = encoder.encode(pa.array(ids, pa.list_(pa.int32())))
    assert found.failed == {1: "out of memory"}
    assert np.isfinite(found.vectors[[0, 2]]).all()


def test_a_text_for_which_others_left_no_memory_is_tried_alone(albert: Path, threads: int) -> None:
    assert torch.get_num_threads() == threads
    encoder = load_encoder(find_model(ModelOptions(str(albert))), Placement("cpu", "float32"))
    ids = framed(encoder, make_texts(40, seed=4))
    expected = embed(encoder, ids)
    backend, seen = encoder.backend, set()

    def crowded(batch: Batch) -> torch.Tensor:
        asked = tuple(batch.ids.tolist())
        if asked not in seen:
            seen.add(asked)
            raise RuntimeError("could not create a primitive")
        return backend(batch)

    encoder.backend = crowded
    found = encoder.encode(pa.array(ids, pa.list_(pa.int32())))
    assert not found.failed
    np.testing.assert_allclose(found.vectors, expected, atol=2e-6)


def test_another_device_error_is_not_swallowed(albert: Path) -> None:
    encoder = load_encoder(find_model(ModelOptions(str(albert))), Placement("cpu", "float32"))

    for said in (
        "CUDA error: an illegal memory access was encountered",
        "could not create a primitive descriptor for a matmul primitive",
    ):
        encoder.backend = Failing(encoder.backend, 0, error=RuntimeError(said))
        with pytest.raises(RuntimeError, match=said):
            embed(encoder, [[2, 7, 3], [2, 3]])


def test_a_non_finite_vector_is_tried_in_float32_and_reported_if_it_stays(albert: Path) -> None:
    model = find_model(ModelOptions(str(albert)))
    encoder = load_encoder(model, Placement("cpu", "float32"))
    ids = framed(encoder, ["river", "stone"])
    good = embed(encoder, ids)

    class Overflowing(Failing):
        def __call__(self, batch: Batch) -> torch.Tensor:
            states = super().__call__(batch)
            states[:3] = float("inf")
            return states

    encoder.backend = Overflowing(encoder.backend, 10_000)
    encoder.dtype = "bfloat16"
    np.testing.assert_allclose(embed(encoder, ids), good, atol=1e-6)
    encoder.dtype = "float32"
    found = encoder.encode(pa.array(ids[:1], pa.list_(pa.int32())))
    assert found.failed == {0: "non-finite vector"}

    # No memory for the exact backend either.
    encoder.dtype = "bfloat16"
    encoder._exact = Failing(encoder.backend, 0)
    found = encoder.encode(pa.array(ids[:1], pa.list_(pa.int32())))
    assert found.failed == {0: "out of memory"}


def test_a_backend_that_is_off_falls_back_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # RoBERTa offsets its positions, so that packing it would give wrong vectors.
    folder = make_model(tmp_path / "roberta", "roberta")
    monkeypatch.setattr("transforms.encoder.backends.PACKABLE", frozenset({"roberta"}))
    model = find_model(ModelOptions(str(folder), max_tokens=64))
    with caplog.at_level(logging.WARNING):
        encoder = load_encoder(model, Placement("cpu", "float32"))
    assert encoder.backend_name == "padded"
    assert "using the padded backend" in caplog.text
    ids = framed(encoder, make_texts(20, seed=5))
    assert cosines(embed(encoder, ids), reference_vectors(model, ids)).min() >= 0.999999


def test_an_encoder_that_is_never_exact_is_refused_by_name(
    albert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(model: Model, ids: list[list[int]]) -> npt.NDArray[np.float32]:
        return -reference_vectors(model, ids)

    monkeypatch.setattr("transforms.encoder.encoder.reference_vectors", elsewhere)
    model = find_model(ModelOptions(str(albert)))
    with pytest.raises(BadInput) as caught:
        load_encoder(model, Placement("cpu", "float32"))
    assert (caught.value.option, caught.value.value) == ("model", model.identity.name)
    assert caught.value.problem.startswith("(albert) can't be embedded exactly: fused vectors in")


def test_a_torch_without_the_fused_operators_falls_back_with_a_warning(
    albert: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", torch.ops.albeam_has_no_such_operators)
    with caplog.at_level(logging.WARNING):
        encoder = load_encoder(find_model(ModelOptions(str(albert))), Placement("cpu", "float32"))
    assert encoder.backend_name == "packed"
    assert "fused in float32 failed: " in caplog.text
    assert "_reorder_linear_weight" in caplog.text
    assert "using the packed backend in float32" in caplog.text


def test_an_error_without_a_message_is_named_by_its_type(
    albert: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr("transforms.encoder.backends.FusedNetwork", fail)
    with caplog.at_level(logging.WARNING):
        encoder = load_encoder(find_model(ModelOptions(str(albert))), Placement("cpu", "float32"))
    assert encoder.backend_name == "packed"
    assert "fused in float32 failed: NotImplementedError" in caplog.text


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = make_model(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights.pop("encoder.embedding_hidden_mapping_in.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    model = find_model(ModelOptions(str(folder)))
    with pytest.raises(BadInput) as caught:
        load_network(model, "cpu", "float32", "sdpa")
    assert (caught.value.option, caught.value.value) == ("model", model.identity.name)
    assert "1 of its weights" in caught.value.problem
    assert "encoder.embedding_hidden_mapping_in.weight" in caught.value.problem


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_cuda_that_is_not_there_is_refused(albert: Path) -> None:
    with raises(BadInput, "device", "cuda"):
        resolve_placement(Placement("cuda"), find_model(ModelOptions(str(albert))))


def test_auto_chooses_what_the_machine_has(albert: Path) -> None:
    found = resolve_placement(Placement(), find_model(ModelOptions(str(albert))))
    assert found.device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert found.dtype in ("float32", "bfloat16", "float16")
    model = find_model(ModelOptions(str(albert)))
    slow, fast = (expected_rate(model, Placement("cpu", d)) for d in ("float32", "bfloat16"))
    assert 0 < slow < fast


def test_auto_without_bfloat16_hardware_is_float32_and_says_why(
    albert: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    model = find_model(ModelOptions(str(albert)))
    with caplog.at_level(logging.INFO, "transforms"):
        assert resolve_placement(Placement("cpu"), model).dtype == "float32"
    assert "embedded in float32: this cpu has no fast bfloat16" in caplog.text


@pytest.mark.parametrize("threads", [1, 3])
def test_vectors_do_not_depend_on_the_number_of_cores(albert: Path, threads: int) -> None:
    before = torch.get_num_threads()
    model = find_model(ModelOptions(str(albert)))
    try:
        torch.set_num_threads(threads)
        encoder = load_encoder(model, Placement("cpu", "float32"))
        assert encoder.cores.count == threads
        assert torch.get_num_threads() == threads
        ids = framed(encoder, make_texts(60, seed=8))
        assert cosines(embed(encoder, ids), reference_vectors(model, ids)).min() >= 0.999999
    finally:
        torch.set_num_threads(before)


def test_small_inputs_are_shared_evenly_among_the_cores(albert: Path) -> None:
    encoder = load_encoder(find_model(ModelOptions(str(albert))), Placement("cpu", "float32"))
    lengths = np.full(40, 10)
    order = np.arange(40)
    encoder._budget, encoder.cores.count = Budget(300), 2
    assert [len(rows) for rows in encoder._batches(order, lengths)] == [20, 20]
    encoder.cores.count = 1
    assert [len(rows) for rows in encoder._batches(order, lengths)] == [30, 10]


def test_auto_is_what_the_model_asks_for(albert: Path) -> None:
    model = replace(find_model(ModelOptions(str(albert))), dtype="float32")
    assert resolve_placement(Placement("cpu"), model).dtype == "float32"
    assert resolve_placement(Placement("cpu", "bfloat16"), model).dtype == "bfloat16"


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_trained_model_on_a_real_corpus(
    trained_model: str, data_folder: Path, dtype: str, device: str
) -> None:
    import pyarrow.parquet as pq

    passages = pq.read_table(data_folder / "squad_dev" / "passages.parquet")["text"].to_pylist()
    questions = pq.read_table(data_folder / "squad_dev" / "questions.parquet")["question"]
    model = find_model(ModelOptions(trained_model))
    encoder = load_encoder(model, Placement(device, dtype))
    assert encoder.dtype == dtype
    # A CPU that emulates bfloat16 takes minutes for as many as others do in seconds.
    fast = dtype == "float32" or device == "cuda" or BFLOAT16_PRODUCTS
    step = 20 if fast else 200
    ids = framed(encoder, passages[::step] + questions.to_pylist()[:: 5 * step])
    found = cosines(embed(encoder, ids), reference_vectors(model, ids))
    if dtype == "float32":
        assert found.min() >= 0.999999
    else:
        assert np.percentile(found, 1) >= 0.9999
        assert found.min() >= 0.9995
