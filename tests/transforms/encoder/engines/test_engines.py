"""Engines: vectors of exported models are those of torch, and other files are refused."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.support.exports import changed_copy, describe
from tests.support.models import make_model, make_texts
from tests.support.raising import raises
from transforms.encoder.encoder import load_encoder
from transforms.encoder.engines.onnx_file import WEIGHTS_KEY
from transforms.encoder.load import load_passage_encoder
from transforms.encoder.probes import smallest_cosine
from transforms.errors import BadInput
from transforms.models.exported import DESCRIPTION, FILE, PROBES
from transforms.models.identity import FLOAT, ONNX_INT8
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model, options_for
from transforms.search.question_encoder import load_question_encoder

AUTO, EXACT = Placement(), Placement("cpu", "float32")


def load(folder: Path, placement: Placement = AUTO) -> Any:
    return load_passage_encoder(find_model(ModelOptions(str(folder))), placement)


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_an_engine_gives_the_vectors_of_torch(exported: Path, albert: Path, engine: str) -> None:
    pytest.importorskip(engine if engine == "openvino" else "onnxruntime")
    texts = make_texts(30, seed=3)
    source = find_model(ModelOptions(str(albert)))
    encoder = load(exported, Placement(engine=engine))
    assert (encoder.engine, encoder.dtype, encoder.device) == (engine, "float32", "cpu")
    assert not encoder.identity.difference(source.identity)
    assert encoder.identity.precision == FLOAT
    expected = load_encoder(source, EXACT).encode_texts(texts)
    assert smallest_cosine(encoder.encode_texts(texts), expected) >= 0.999999
    assert len(encoder.encode_texts([])) == 0


def test_progress_counts_each_text_once(exported: Path) -> None:
    encoder = load(exported)
    tokens = encoder.tokenizer.frame_all(make_texts(25, seed=4), 48)
    seen: list[tuple[int, int]] = []
    encoder.encode(tokens, lambda rows, count: seen.append((rows, count)))
    assert sum(rows for rows, _ in seen) == 25
    assert sum(count for _, count in seen) == len(tokens.flatten())


def test_int8_is_another_precision_near_the_model(exported_int8: Path, albert: Path) -> None:
    texts = make_texts(30, seed=5)
    encoder = load(exported_int8)
    source = find_model(ModelOptions(str(albert)))
    assert encoder.identity.precision == ONNX_INT8
    assert "precision" in encoder.identity.difference(source.identity)
    cosine = smallest_cosine(
        encoder.encode_texts(texts), load_encoder(source, EXACT).encode_texts(texts)
    )
    assert 0.97 < cosine < 0.999999
    assert (exported_int8 / FILE).stat().st_size < 170_000


def test_a_store_of_these_vectors_finds_the_source_model(exported: Path, albert: Path) -> None:
    identity = find_model(ModelOptions(str(exported))).identity
    found = find_model(options_for(identity))
    assert Path(found.folder) == albert.resolve()
    question = load_question_encoder(find_model(ModelOptions(str(exported))), Placement())
    ours = question.encode_texts(["river stone"])
    theirs = load_question_encoder(found, Placement()).encode_texts(["river stone"])
    assert smallest_cosine(ours, theirs) >= 0.999999


def _future(model: Any) -> None:
    model.opset_import[0].version = onnx.defs.onnx_opset_version() + 1


def _foreign(model: Any) -> None:
    model.opset_import.add(domain="evil.operators", version=1)


def _outside(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret.bin")


def _outside_in_a_constant(model: Any) -> None:
    node = model.graph.node.add(op_type="Constant", output=["hidden"])
    attribute = node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR)
    attribute.t.name = "hidden"
    attribute.t.external_data.add(key="location", value="/etc/passwd")


def _other_weights(model: Any) -> None:
    del model.metadata_props[:]
    model.metadata_props.add(key=WEIGHTS_KEY, value="0" * 64)


def _broken(model: Any) -> None:
    model.graph.node[0].op_type = "NoSuchOperator"


def _other_numbers(model: Any) -> None:
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 2 and tensor.data_type == onnx.TensorProto.FLOAT:
            values = np.random.default_rng(0).normal(size=tensor.dims).astype(np.float32)
            tensor.raw_data = values.tobytes()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_future, "opset"),
        (_foreign, "evil.operators"),
        (_outside, "from another file"),
        (_outside_in_a_constant, "from another file"),
        (_other_weights, "other weights"),
        (_broken, "can't run"),
        (_other_numbers, "cosine"),
    ],
)
def test_an_onnx_file_that_albeam_did_not_write_is_refused(
    exported: Path, tmp_path: Path, change: Callable[[Any], None], problem: str
) -> None:
    folder = changed_copy(exported, tmp_path / "copy", change)
    with raises(BadInput, "model", folder, problem) as caught:
        load(folder)
    assert caught.value.remedy


def test_a_file_that_is_cut_short_or_changed_is_refused(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    content = (folder / FILE).read_bytes()
    for length in (0, 100, len(content) // 2, len(content) - 1):
        (folder / FILE).write_bytes(content[:length])
        with raises(BadInput, "model", folder):
            load(folder)
    (folder / FILE).write_bytes(content)
    describe(folder, sha256="0" * 64)
    with raises(BadInput, "model", folder, "changed"):
        load(folder)


def test_files_outside_of_the_folder_are_not_read(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    for name in (FILE, PROBES):
        (folder / name).rename(tmp_path / name)
        (folder / name).symlink_to(tmp_path / name)
        with raises(BadInput, "model", folder, "leads out"):
            load(folder)
        (folder / name).unlink()
        (tmp_path / name).rename(folder / name)
    load(folder)


def test_a_folder_of_two_models_is_refused(exported: Path, tmp_path: Path) -> None:
    other = make_model(tmp_path / "other", seed=1)
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    shutil.copyfile(other / "tokenizer.json", folder / "tokenizer.json")
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + " ")
    with raises(BadInput, "model", folder, "another model"):
        load(folder)


@pytest.mark.parametrize(
    "changes",
    [{"version": 2}, {"pooling": "sum"}, {"dim": "48"}, {"precision": "int4"}, {"max_tokens": 0}],
)
def test_a_damaged_description_is_refused(
    exported: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    describe(folder, **changes)
    with raises(BadInput, "model", folder, DESCRIPTION):
        load(folder)
    assert json.loads((folder / DESCRIPTION).read_text())["task"] == "embed"


def test_what_the_file_computes_can_not_be_changed(exported: Path) -> None:
    for options, option in (
        ({"pooling": "cls"}, "pooling"),
        ({"layer": 1}, "layer"),
        ({"normalize": False}, "normalize"),
    ):
        with raises(BadInput, option) as caught:
            find_model(ModelOptions(str(exported), **options))  # type: ignore[arg-type]
        assert "export" in caught.value.remedy
    same = find_model(ModelOptions(str(exported), pooling="mean", layer=3, max_tokens=20))
    assert same.identity.max_tokens == 20


def test_engines_and_models_that_do_not_fit_are_named(exported: Path, albert: Path) -> None:
    with raises(BadInput, "engine", "onnx") as caught:
        load_encoder(find_model(ModelOptions(str(albert))), Placement(engine="onnx"))
    assert "albeam export" in caught.value.remedy
    for placement, option in (
        (Placement(engine="torch"), "engine"),
        (Placement(device="cuda"), "device"),
        (Placement(dtype="bfloat16"), "dtype"),
        (Placement(dtype="int8"), "dtype"),
    ):
        with raises(BadInput, option):
            load(exported, placement)
    with raises(BadInput, "model", exported):
        load_encoder(find_model(ModelOptions(str(exported))), Placement())


@pytest.mark.parametrize(("engine", "library"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_missing_engine_is_named_with_its_extra(
    exported: Path, monkeypatch: pytest.MonkeyPatch, engine: str, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with raises(BadInput, "engine", engine) as caught:
        load(exported, Placement(engine=engine))
    assert f"albeam[{engine}]" in caught.value.remedy
