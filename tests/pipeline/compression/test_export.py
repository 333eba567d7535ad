"""``albeam export``: its folder, its report and its errors; stores that are embedded with it."""

import json
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.ingest import embed
from pipeline.maintenance import verify
from tests.support.exports import describe
from tests.support.models import make_texts, write_corpus
from tests.support.options import embed_options
from tests.support.raising import raises
from transforms.compression.onnx_export.options import ExportOptions
from transforms.compression.onnx_export.summary import ExportSummary
from transforms.errors import BadInput
from transforms.models.identity import FLOAT, ONNX_INT8
from transforms.models.options import ModelOptions, Placement
from transforms.search.store import Store


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_a_store_embedded_by_an_engine_is_that_of_the_source_model(
    exported: Path, albert: Path, tmp_path: Path, engine: str
) -> None:
    pytest.importorskip(engine if engine == "openvino" else "onnxruntime")
    corpus = write_corpus(tmp_path / "corpus", list(make_texts(30, seed=8)))
    placement = Placement("cpu", "float32", engine)
    options = embed_options(tmp_path / "store", exported, corpus, placement=placement)
    summary = embed.run(options)
    assert (summary.passages > 30, summary.dtype) == (True, "float32")
    store = Store.open(options.store)
    assert store.snapshot.identity.precision == FLOAT
    assert store.snapshot.identity.name == str(albert.resolve())
    # The source model embeds the questions, and embeds a sample again.
    assert len(store.search(["river stone"], k=3)[0]) == 3
    report = verify.run(options.store, deep=True)
    assert report.deep is not None
    assert report.deep.least_cosine > 0.9999
    # The source model may add to the store.
    more = write_corpus(tmp_path / "more", list(make_texts(5, seed=9)))
    embed.run(embed_options(options.store, albert, more))
    assert Store.open(options.store).snapshot.number == 2


def test_vectors_of_an_int8_file_are_not_mixed_with_others(
    exported_int8: Path, albert: Path, tmp_path: Path
) -> None:
    corpus = write_corpus(tmp_path / "corpus", list(make_texts(20, seed=8)))
    options = embed_options(tmp_path / "store", exported_int8, corpus, placement=Placement())
    assert embed.run(options).dtype == "int8"
    store = Store.open(options.store)
    assert store.snapshot.identity.precision == ONNX_INT8
    assert len(store.search(["river stone"], k=3)[0]) == 3
    verify.run(options.store, deep=True)
    more = write_corpus(tmp_path / "more", list(make_texts(5, seed=9)))
    with raises(BadInput, "dtype") as caught:
        embed.run(embed_options(options.store, albert, more))
    assert "albeam export --int8" in caught.value.remedy


def test_the_command_prints_what_the_export_costs(
    albert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    texts = write_corpus(tmp_path / "texts", list(make_texts(7, seed=2, longest=20)))
    [file] = texts.glob("*.parquet")
    output = tmp_path / "exported"
    command = ["export", str(albert), "--output", str(output), "--texts", str(file), "--int8"]
    assert main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == {field.name for field in fields(ExportSummary)}
    assert (printed["task"], printed["precision"], printed["opset"]) == ("embed", ONNX_INT8, 20)
    assert printed["texts"] > 7
    assert 0.97 < printed["least_cosine"] < printed["mean_cosine"] < 1
    assert printed["bytes"] == (output / "model.onnx").stat().st_size
    # The exporter notes lines of source code, with the paths of this machine.
    assert b".py" not in (output / "model.onnx").read_bytes()
    # The folder is not written to again.
    assert main(command) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["export", str(output), "--output", str(tmp_path / "again")]) == 2
    assert "exported already" in capsys.readouterr().err


@pytest.mark.parametrize("library", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_library_is_named_with_its_extra(
    albert: Path,
    tmp_path: Path,
    library: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    assert main(["export", str(albert), "--output", str(tmp_path / "exported")]) == 2
    assert "albeam[onnx]" in capsys.readouterr().err
    assert not (tmp_path / "exported").exists()


def test_embed_with_an_engine_names_what_is_missing(
    exported: Path, albert: Path, tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(tmp_path / "store")
    command = ["embed", str(corpus), "--store", store, "--engine", "onnx", "--model"]
    assert main([*command, str(albert)]) == 2
    assert "albeam export" in capsys.readouterr().err
    head = tmp_path / "head"
    head.mkdir()
    for path in exported.iterdir():
        if path.is_file():
            (head / path.name).write_bytes(path.read_bytes())
    describe(head, task="classify")
    assert main([*command, str(head)]) == 2
    assert "exported head" in capsys.readouterr().err
    assert not Path(store).exists()


def test_options_of_an_export_are_checked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with raises(BadInput, "output", tmp_path):
        ExportOptions(ModelOptions("m"), tmp_path)
    with raises(BadInput, "format", "tflite"):
        ExportOptions(ModelOptions("m"), tmp_path / "new", format="tflite")
