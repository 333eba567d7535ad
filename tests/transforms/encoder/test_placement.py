"""Where int8 is computed, and what takes its place elsewhere."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.models import make_model
from tests.support.raising import raises
from transforms.encoder import encoder as encoders
from transforms.encoder import placement as placements
from transforms.encoder.encoder import load_encoder
from transforms.encoder.placement import resolve_placement, with_precision
from transforms.errors import BadInput
from transforms.models.identity import FLOAT, INT8
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import Model, find_model, options_for
from transforms.runtime import devices

INT8_ON_CPU = Placement("cpu", "int8")


@pytest.fixture
def model(albert: Path) -> Model:
    return find_model(ModelOptions(str(albert), max_tokens=64))


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placements, "supports_int8", lambda: True)


@pytest.mark.usefixtures("units")
def test_int8_is_taken_if_asked_for_or_if_a_store_s_passages_have_it(model: Model) -> None:
    assert resolve_placement(INT8_ON_CPU, model) == INT8_ON_CPU
    assert resolve_placement(Placement("cpu"), model).dtype != "int8"
    stored = with_precision(model, INT8_ON_CPU)
    assert stored.identity.precision == INT8
    assert resolve_placement(Placement("cpu"), stored) == INT8_ON_CPU
    assert resolve_placement(Placement("cpu", "float32"), stored).dtype == "float32"


def test_a_cpu_without_the_units_embeds_in_float32_with_a_notice(
    model: Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(placements, "supports_int8", lambda: False)
    with caplog.at_level(logging.WARNING):
        resolved = resolve_placement(INT8_ON_CPU, model)
    assert resolved == Placement("cpu", "float32")
    assert "this CPU has no units for int8" in caplog.text
    assert with_precision(model, resolved).identity.precision == FLOAT


def test_a_gpu_and_a_padded_family_have_no_int8(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placements, "resolve_device", lambda device: device)
    with raises(BadInput, option="dtype", value="int8") as caught:
        resolve_placement(Placement("cuda", "int8"), model)
    assert caught.value.problem == "is for CPUs"
    other = find_model(ModelOptions(str(make_model(tmp_path / "mpnet", "mpnet"))))
    with raises(BadInput, option="dtype", value="int8") as caught:
        resolve_placement(INT8_ON_CPU, other)
    assert caught.value.problem == "is for ALBERT and BERT, not for 'mpnet'"
    assert caught.value.remedy == "Give --dtype auto"


@pytest.mark.parametrize(
    ("vnni", "amx", "capabilities", "supported"),
    [
        (True, False, {}, True),
        (False, True, {}, True),
        (False, False, {"avx_vnni": True}, True),
        (False, False, {"avx2": True}, True),
        (False, False, {"avx2": False}, False),
    ],
)
def test_units_are_those_that_torch_reports(
    monkeypatch: pytest.MonkeyPatch,
    vnni: bool,
    amx: bool,
    capabilities: dict[str, bool],
    supported: bool,
) -> None:
    found = {"vnni": vnni, "amx_tile": amx}
    monkeypatch.setattr(devices, "cpu_supports", found.get)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: capabilities, raising=False)
    assert devices.supports_int8() is supported
    assert devices.has_byte_units() is (vnni or amx or capabilities.get("avx_vnni", False))


def test_the_precision_is_part_of_an_identity_and_absent_if_it_is_the_usual_one(
    model: Model,
) -> None:
    ours, stored = model.identity, replace(model.identity, precision=INT8)
    assert ours.precision == FLOAT
    assert "precision" not in ours.to_dict()
    assert stored.to_dict() == {**ours.to_dict(), "precision": INT8}
    assert ours.difference(stored) == "precision: 'float', 'int8'"
    assert find_model(options_for(stored)).identity == stored


def test_int8_vectors_that_are_off_are_an_error_and_never_float32(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not devices.supports_int8():
        pytest.skip("this CPU has no units for bytes")
    assert load_encoder(model, INT8_ON_CPU).backend_name == "int8"
    monkeypatch.setattr(encoders, "smallest_cosine", lambda *_: 0.5)
    with raises(BadInput, option="model") as caught:
        load_encoder(model, INT8_ON_CPU)
    assert "int8 vectors in int8 are off (cosine 0.500000)" in caught.value.problem
    assert caught.value.remedy == "Give --dtype auto"
