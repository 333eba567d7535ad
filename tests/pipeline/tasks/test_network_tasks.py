"""``albeam predict`` and ``evaluate-task`` with a network that ``finetune classify`` wrote."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from pipeline.cli import main
from pipeline.training.finetune_classify import finetune_classify
from pipeline.training.task_options import ClassifyOptions
from tests.support.commands import printed
from tests.support.heads import change, without_weights
from tests.support.raising import raises
from transforms.errors import BadInput
from transforms.models.options import Placement
from transforms.tasks.networks.network_files import read_kind, read_network
from transforms.tasks.networks.text_classifier import TextClassifier

EXACT = ("--device", "cpu", "--dtype", "float32")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, albert: Path) -> Path:
    """Folder with a classifier of texts, and texts with labels."""
    folder = tmp_path_factory.mktemp("network")
    texts = [f"{word} {other}" for word in ("river", "letter") for other in "abcdefgh"]
    labels = ["water"] * 8 + ["words"] * 8
    table = pa.table({"id": list(range(16)), "text": texts, "label": labels})
    pq.write_table(table, folder / "data.parquet")
    finetune_classify(
        ClassifyOptions(
            model=albert, data=(folder / "data.parquet",), output=folder / "classifier",
            validation=(folder / "data.parquet",), work=folder / "work", steps=40, rate=3e-3,
            batch_tokens=256, precision="float32", evaluate_every=20, max_tokens=32,
        ),
        lambda _: None,
    )  # fmt: skip
    return folder


def test_a_network_predicts_what_transformers_does(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import pipeline

    words = "predict", str(made / "classifier"), str(made / "data.parquet"), *EXACT
    out = "--output", str(tmp_path / "out"), "--rows-per-part", "6"
    found = printed(capsys, *words, *out)
    assert (found["documents"], found["parts"], found["store"]) == (16, 3, None)
    table = pq.read_table(tmp_path / "out")
    assert table.schema.names == ["document_id", "label", "score", "scores"]
    guess = pipeline("text-classification", str(made / "classifier"))
    theirs = guess(pq.read_table(made / "data.parquet")["text"].to_pylist())
    assert table["label"].to_pylist() == [each["label"] for each in theirs]
    assert np.allclose(table["score"].to_numpy(), [each["score"] for each in theirs], atol=1e-4)
    assert printed(capsys, *words, *out)["parts_found_done"] == 3


def test_a_network_is_measured_on_texts(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.html"
    words = "evaluate-task", str(made / "classifier"), str(made / "data.parquet"), *EXACT
    found = printed(capsys, *words, "--report", str(report))
    head = json.loads((made / "classifier" / "head.json").read_text())
    assert found["metrics"]["values"]["accuracy"] == pytest.approx(head["metrics"]["accuracy"])
    assert "albeam finetune classify" in report.read_text(encoding="utf-8")


def test_blank_texts_are_rejects_and_long_ones_are_read_in_windows(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["river " * 20_000, " ", None, "letter a"]
    file = tmp_path / "texts.parquet"
    pq.write_table(pa.table({"id": list("abcd"), "text": texts}), file)
    out = "--output", str(tmp_path / "out")
    found = printed(capsys, "predict", str(made / "classifier"), str(file), *out)
    assert found["documents"] == 2
    assert found["rejects"] == {"blank text": 1, "null text": 1}


def test_a_network_on_the_vectors_of_a_store_is_refused(
    made: Path, embedded_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = "--store", str(embedded_store)
    head, data = str(made / "classifier"), str(made / "data.parquet")
    assert main(["predict", head, *store, "--output", str(tmp_path / "out")]) == 2
    assert main(["evaluate-task", head, data, *store]) == 2
    assert capsys.readouterr().err.count("--store") == 2


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (without_weights("classifier"), "head of shape None"),
        (change(task="tag"), "'tag'"),
        (change(version=7), "'7'"),
        (change(max_tokens=1 << 40), "positions"),
        (change(overlap=-1), "share -1"),
        (change(classes={"names": ["a"], "integers": False, "several": False}), "1 classes"),
        (change(classes={"names": 3}), "decoded"),
        (lambda folder: (folder / "config.json").unlink(), ""),
    ],
)
def test_a_folder_without_a_fitting_head_is_refused(
    made: Path, tmp_path: Path, damage: Callable[[Path], Any], problem: str
) -> None:
    folder = tmp_path / "classifier"
    shutil.copytree(made / "classifier", folder)
    damage(folder)
    with raises(BadInput, "head", folder, problem):
        read_network(str(folder), "classify")


def test_what_is_no_head_has_no_kind(made: Path, albert: Path, tmp_path: Path) -> None:
    assert read_kind(str(made / "classifier")) == "network"
    for folder in (albert, tmp_path / "none"):
        with raises(BadInput, "head", folder):
            read_kind(str(folder))


def test_a_dtype_that_a_classifier_lacks_is_refused(made: Path) -> None:
    for dtype in ("float16", "int8"):
        with raises(BadInput, "dtype", dtype):
            TextClassifier(str(made / "classifier"), Placement("cpu", dtype))
    classifier = TextClassifier(str(made / "classifier"), Placement("cpu", "float32"))
    assert classifier.scores([]).shape == (0, 2)


def test_a_reranker_is_used_and_measured_by_other_commands(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "head.json").write_text('{"kind": "network", "task": "rerank"}')
    head, data, out = str(tmp_path), str(made / "data.parquet"), str(tmp_path / "out")
    assert main(["evaluate-task", head, data]) == 2
    assert "albeam evaluate STORE QUESTIONS --rerank N" in capsys.readouterr().err
    for given in ([data], ["--store", str(tmp_path / "store")]):
        assert main(["predict", head, *given, "--output", out]) == 2
        said = capsys.readouterr().err
        assert "is a reranker" in said
        assert "albeam search STORE QUESTION --rerank N --reranker" in said


@pytest.mark.parametrize("weight", ["albert.pooler.weight", "ffn.weight", "classifier.bias"])
def test_weights_that_are_missing_or_of_another_shape_are_not_replaced_by_random_ones(
    made: Path, tmp_path: Path, weight: str
) -> None:
    folder = tmp_path / "classifier"
    shutil.copytree(made / "classifier", folder)
    weights = load_file(folder / "model.safetensors")
    [name, *_] = [each for each in weights if each.endswith(weight)]
    narrow = {**weights, name: weights[name][:1].copy()}
    del weights[name]
    for some in (weights, narrow):
        save_file(some, folder / "model.safetensors", {"format": "pt"})
        with raises(BadInput, "head", folder, name):
            TextClassifier(str(folder), Placement("cpu", "float32"))


def test_an_encoder_whose_weights_do_not_fit_its_config_is_not_trained(
    made: Path, albert: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(albert, folder)
    config = json.loads((folder / "config.json").read_text())
    config["intermediate_size"] += 8
    (folder / "config.json").write_text(json.dumps(config))
    options = ClassifyOptions(
        model=folder, data=(made / "data.parquet",), output=tmp_path / "o", work=tmp_path / "w"
    )
    with raises(BadInput, "model", folder, "ffn"):
        finetune_classify(options, lambda _: None)
