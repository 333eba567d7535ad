"""The encoder of questions: without torch for a few texts, with torch for many."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.support.models import make_model, make_texts
from transforms.encoder.encoder import Encoder, load_encoder
from transforms.encoder.encoding import TextEncoder
from transforms.encoder.light.encoder import LightEncoder, load_light_encoder
from transforms.encoder.probes import smallest_cosine
from transforms.errors import BadInput
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import Model, find_model
from transforms.search.question_encoder import (
    FEW_TOKENS,
    MOST_WORK,
    QuestionEncoder,
    full_encoder,
    load_question_encoder,
    steady_encoder,
)

FEW = make_texts(3, seed=1, longest=5)
#: More tokens than `FEW_TOKENS`.
MORE = make_texts(60, seed=2)


@pytest.fixture
def model(albert: Path) -> Model:
    return find_model(ModelOptions(str(albert)))


class Loader:
    """Loads the encoder in torch, and counts how often."""

    def __init__(self, model: Model) -> None:
        self.model, self.loads = model, 0

    def __call__(self) -> Encoder:
        self.loads += 1
        return load_encoder(self.model, Placement("cpu"))


def encoder_of(model: Model, work: float | None = None) -> tuple[QuestionEncoder, Loader]:
    """A question encoder whose tokens take so many multiplications."""
    light = load_light_encoder(model)
    assert light is not None
    if work is not None:
        light.work_per_token = work  # type: ignore[assignment]
    loader = Loader(model)
    return QuestionEncoder(light, loader), loader


def without(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)


def test_questions_alone_never_need_torch(model: Model) -> None:
    encoder, loader = encoder_of(model, MOST_WORK)
    for _ in range(5):
        encoder.encode_texts(FEW)
    assert not loader.loads
    assert (encoder.device, encoder.dtype) == ("cpu", "float32")


def test_many_texts_are_worth_the_import_of_torch(model: Model) -> None:
    encoder, loader = encoder_of(model, MOST_WORK / FEW_TOKENS)
    light = load_light_encoder(model)
    assert light is not None
    found = encoder.encode_texts(MORE)
    assert loader.loads == 1
    assert smallest_cosine(found, light.encode_texts(MORE)) > 0.9995
    assert encoder.dtype == load_encoder(model, Placement("cpu")).dtype
    encoder.encode_texts(FEW)
    encoder.encode_texts(MORE)
    assert loader.loads == 1


def test_the_work_of_larger_calls_adds_up(model: Model) -> None:
    tokens = sum(map(len, encoder_of(model)[0].tokenizer.encode_framed(MORE, 128)))
    assert tokens > FEW_TOKENS
    encoder, loader = encoder_of(model, 0.4 * MOST_WORK / tokens)
    loads = []
    for _ in range(4):
        encoder.encode_texts(MORE)
        loads.append(loader.loads)
    assert loads == [0, 0, 1, 1]


def test_threads_load_torch_once(model: Model) -> None:
    encoder, loader = encoder_of(model, MOST_WORK)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(encoder.encode_texts, [MORE] * 6))
    assert loader.loads == 1
    for each in found:
        np.testing.assert_allclose(each, found[0], atol=1e-2)


def test_without_torch_many_texts_are_embedded_too(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "torch")
    encoder, loader = encoder_of(model, MOST_WORK)
    found = encoder.encode_texts(MORE)
    assert not loader.loads
    assert isinstance(full_encoder(encoder), LightEncoder)
    alone = np.concatenate([encoder.encode_texts([text]) for text in MORE])
    np.testing.assert_allclose(found, alone, atol=1e-6)


def test_passages_are_embedded_in_torch(model: Model) -> None:
    encoder, loader = encoder_of(model)
    assert isinstance(full_encoder(encoder), Encoder)
    assert loader.loads == 1
    exact: TextEncoder = load_encoder(model, Placement("cpu"))
    assert full_encoder(exact) is exact


@pytest.mark.parametrize(
    ("placement", "kind"),
    [
        (Placement(), QuestionEncoder),
        (Placement("cpu"), QuestionEncoder),
        (Placement("cpu", "float32"), QuestionEncoder),
        (Placement("cpu", "bfloat16"), Encoder),
    ],
)
def test_the_placement_decides(model: Model, placement: Placement, kind: type) -> None:
    assert type(load_question_encoder(model, placement)) is kind


def test_another_family_is_embedded_in_torch(tmp_path: Path) -> None:
    model = find_model(ModelOptions(str(make_model(tmp_path, "mpnet"))))
    assert type(load_question_encoder(model, Placement())) is Encoder


@pytest.mark.parametrize(
    ("family", "placement", "option"),
    [
        ("mpnet", Placement(), "model"),
        ("albert", Placement("cuda"), "device"),
        ("albert", Placement("cpu", "bfloat16"), "dtype"),
    ],
)
def test_what_needs_torch_says_how_to_install_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    family: str,
    placement: Placement,
    option: str,
) -> None:
    model = find_model(ModelOptions(str(make_model(tmp_path, family))))
    without(monkeypatch, "torch")
    with pytest.raises(BadInput) as caught:
        load_question_encoder(model, placement)
    assert caught.value.option == option
    assert "needs PyTorch, which is not installed" in caught.value.problem
    assert caught.value.remedy == "Run pip install 'albeam[cpu]'"


def test_a_family_that_is_read_by_transformers_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(make_model(tmp_path, "mpnet"))
    without(monkeypatch, "transformers")
    with pytest.raises(BadInput) as caught:
        find_model(ModelOptions(folder))
    assert (caught.value.option, caught.value.value) == ("model", folder)
    assert caught.value.remedy == "Run pip install 'albeam[cpu]'"


def test_a_steady_encoder_gives_equal_vectors_whatever_was_embedded_before(model: Model) -> None:
    encoder, loader = encoder_of(model, MOST_WORK)
    steady = steady_encoder(encoder)
    before = steady.encode_texts(MORE)
    encoder.encode_texts(MORE)
    assert loader.loads == 1
    assert np.array_equal(steady.encode_texts(MORE), before)
    assert np.array_equal(steady.encode_texts(MORE[:2]), before[:2])
    torch_alone = loader()
    assert steady_encoder(torch_alone) is torch_alone
