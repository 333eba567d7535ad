"""The light encoder against the unmodified network in torch."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    AlbertModel,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
)

from tests.support.models import make_model, make_texts, make_tokenizer
from transforms.encoder.light.encoder import LightEncoder, load_light_encoder
from transforms.encoder.probes import smallest_cosine
from transforms.encoder.reference import reference_vectors
from transforms.errors import BadInput
from transforms.models.options import DEFAULT_MODEL, ModelOptions
from transforms.models.resolve import Model, find_model

TEXTS = make_texts(40, seed=3)
SIZES: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "initializer_range": 0.2,
}


def save(folder: Path, network: Any, **options: Any) -> Path:
    """Save a network with a tokenizer that fits it."""
    network.save_pretrained(folder, **options)
    make_tokenizer().save_pretrained(folder)
    return folder


def light(model: Model) -> LightEncoder:
    found = load_light_encoder(model)
    assert found is not None
    return found


def assert_same(model: Model, texts: list[str] = TEXTS) -> None:
    """Compare with the reference: the directions, and the numbers themselves."""
    encoder = light(model)
    found = encoder.encode_texts(texts)
    ids = encoder.tokenizer.encode_framed(texts, model.identity.max_tokens)
    expected = reference_vectors(model, ids)
    assert smallest_cosine(found, expected) >= 0.999999
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)


def words() -> int:
    return len(make_tokenizer())


@pytest.mark.parametrize("family", ["albert", "bert"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
@pytest.mark.parametrize("layer", [-1, 0, 2, -2])
@pytest.mark.parametrize("normalize", [True, False])
def test_vectors_are_those_of_the_plain_network(
    tmp_path: Path, family: str, pooling: str, layer: int, normalize: bool
) -> None:
    folder = str(make_model(tmp_path, family))
    given = {"pooling": pooling, "layer": layer, "normalize": normalize, "max_tokens": 32}
    assert_same(find_model(ModelOptions(folder, **given)))  # type: ignore[arg-type]


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu"])
def test_each_activation(tmp_path: Path, activation: str) -> None:
    torch.manual_seed(1)
    config = BertConfig(vocab_size=words(), hidden_act=activation, **SIZES)
    assert_same(find_model(ModelOptions(str(save(tmp_path, BertModel(config))))))


@pytest.mark.parametrize(("groups", "inner"), [(2, 1), (4, 1), (1, 3), (2, 2)])
@pytest.mark.parametrize("layer", [-1, -3])
def test_groups_of_layers(tmp_path: Path, groups: int, inner: int, layer: int) -> None:
    torch.manual_seed(groups + inner)
    config = AlbertConfig(
        vocab_size=words(), num_hidden_groups=groups, inner_group_num=inner, **SIZES
    )
    folder = save(tmp_path, AlbertModel(config, add_pooling_layer=False))
    assert_same(find_model(ModelOptions(str(folder), layer=layer)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_in_other_dtypes(tmp_path: Path, dtype: torch.dtype) -> None:
    folder = make_model(tmp_path)
    path = str(folder / "model.safetensors")
    save_file({name: each.to(dtype) for name, each in load_file(path).items()}, path)
    assert_same(find_model(ModelOptions(str(folder))))


@pytest.mark.parametrize("kind", [AlbertForMaskedLM, BertForSequenceClassification])
def test_the_encoder_below_a_head_in_several_files(tmp_path: Path, kind: Any) -> None:
    torch.manual_seed(2)
    config = {AlbertForMaskedLM: AlbertConfig, BertForSequenceClassification: BertConfig}[kind]
    save(tmp_path, kind(config(vocab_size=words(), **SIZES)), max_shard_size="100KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert_same(find_model(ModelOptions(str(tmp_path))))


def test_long_texts_beside_short_ones(tmp_path: Path) -> None:
    torch.manual_seed(3)
    config = BertConfig(vocab_size=words(), max_position_embeddings=700, **SIZES)
    folder = save(tmp_path, BertModel(config))
    model = find_model(ModelOptions(str(folder), max_tokens=650))
    assert_same(model, ["river " * 600, "stone", "music " * 300, *TEXTS])


def test_the_shipped_model_has_the_vectors_of_torch() -> None:
    assert_same(find_model(ModelOptions(DEFAULT_MODEL)))


def test_a_prompt_is_part_of_the_text(albert: Path) -> None:
    encoder = light(find_model(ModelOptions(str(albert), max_tokens=12)))
    one, other = encoder.encode_texts(["river stone"], "music: "), encoder.encode_texts(["river"])
    assert np.array_equal(one, encoder.encode_texts(["music: river stone"]))
    assert not np.allclose(one, other)


def test_a_vector_does_not_depend_on_its_batch(albert: Path) -> None:
    encoder = light(find_model(ModelOptions(str(albert))))
    together = encoder.encode_texts(TEXTS)
    alone = np.concatenate([encoder.encode_texts([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert encoder.encode_texts([]).shape == (0, 48)


@pytest.mark.parametrize("family", ["distilbert", "roberta", "mpnet"])
def test_other_families_are_left_to_torch(tmp_path: Path, family: str) -> None:
    model = find_model(ModelOptions(str(make_model(tmp_path, family))))
    assert load_light_encoder(model) is None


def test_an_unknown_activation_and_missing_weights_are_left_to_torch(tmp_path: Path) -> None:
    config = BertConfig(vocab_size=words(), hidden_act="silu", **SIZES)
    folder = save(tmp_path / "silu", BertModel(config))
    assert load_light_encoder(find_model(ModelOptions(str(folder)))) is None
    folder = make_model(tmp_path / "lacking")
    path = str(folder / "model.safetensors")
    kept = {name: each for name, each in load_file(path).items() if "ffn_output" not in name}
    save_file(kept, path)
    assert load_light_encoder(find_model(ModelOptions(str(folder)))) is None


def test_a_vector_that_is_not_finite_is_an_error(tmp_path: Path) -> None:
    folder = make_model(tmp_path)
    path = str(folder / "model.safetensors")
    tensors = load_file(path)
    tensors["embeddings.word_embeddings.weight"][:] = torch.nan
    save_file(tensors, path)
    with pytest.raises(BadInput) as caught:
        light(find_model(ModelOptions(str(folder)))).encode_texts(["river"])
    assert (caught.value.option, caught.value.value) == ("text 0", "river")
    assert "non-finite vector" in caught.value.problem


def test_what_is_no_text_is_an_error(albert: Path) -> None:
    encoder = light(find_model(ModelOptions(str(albert))))
    with pytest.raises(BadInput) as caught:
        encoder.encode_texts(["river", 5])  # type: ignore[list-item]
    assert (caught.value.option, caught.value.value) == ("text", 1)


def test_threads_and_forked_processes_share_an_encoder(albert: Path) -> None:
    encoder = light(find_model(ModelOptions(str(albert))))
    expected = encoder.encode_texts(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(encoder.encode_texts, [TEXTS] * 8):
            np.testing.assert_allclose(found, expected, atol=1e-6)
        child = os.fork()
        if not child:
            same = np.allclose(encoder.encode_texts(TEXTS), expected, atol=1e-6)
            os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_vector_depends_on_no_other_text_of_a_call() -> None:
    encoder = light(find_model(ModelOptions(DEFAULT_MODEL)))
    texts = make_texts(60, seed=8, longest=40)
    together = encoder.encode_texts(texts)
    some = encoder.encode_texts(texts[7:19])
    assert np.array_equal(together[7:19], some)
    for place in (0, 7, 31, 59):
        assert np.array_equal(encoder.encode_texts([texts[place]])[0], together[place])
