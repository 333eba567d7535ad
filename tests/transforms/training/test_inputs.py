"""The files that a training reads, the folder that it writes, and the models in between."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from pipeline.training.options import DistillOptions
from transforms.errors import AlbeamError, BadInput
from transforms.training.contrastive import load_tokenizer
from transforms.training.export import read_model, write_json, write_model
from transforms.training.inputs import check_output, read_columns
from transforms.training.teacher import check_teacher


def refused(file: Path) -> BadInput:
    with pytest.raises(BadInput) as caught:
        read_columns(file, "texts", {"text": "text"})
    assert (caught.value.option, caught.value.value) == ("texts", str(file))
    return caught.value


def test_a_file_without_the_texts_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "texts.parquet"
    assert refused(file).problem == "does not exist"
    file.write_text("no Parquet")
    assert "not readable as Parquet" in refused(file).problem
    pq.write_table(pa.table({"body": ["one text"]}), file)
    assert refused(file).problem == "has no column 'text'"
    pq.write_table(pa.table({"text": [1, 2]}), file)
    assert refused(file).problem == "column 'text' has the type int64"
    assert refused(file).remedy == "Convert it to text"


def test_an_output_that_would_cost_other_files_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "precious.txt").write_text("kept")
    for output, work, option, problem in (
        (data, tmp_path / "w", "output", "holds something other than a model"),
        (data / "precious.txt", tmp_path / "w", "output", "is a file"),
        (tmp_path / "out", tmp_path / "out" / "work", "work", "lies in the output"),
        (data / "precious.txt" / "model", tmp_path / "w", "output", "can't be created"),
    ):
        with pytest.raises(BadInput) as caught:
            check_output(output, work)
        assert caught.value.option == option
        assert problem in caught.value.problem
    assert (data / "precious.txt").read_text() == "kept"


def test_a_teacher_without_sentence_vectors_is_refused(tmp_path: Path) -> None:
    def problem() -> str:
        with pytest.raises(BadInput) as caught:
            check_teacher(tmp_path)
        assert (caught.value.option, caught.value.value) == ("teacher", str(tmp_path))
        return caught.value.problem

    assert problem() == "has no config.json"
    (tmp_path / "config.json").write_text("{}")
    assert "no sentence vectors" in problem()
    (tmp_path / "1_Pooling").mkdir()
    write_json(tmp_path / "1_Pooling" / "config.json", {"pooling_mode_cls_token": True})
    assert problem() == "does not pool by mean"


def test_a_model_is_not_written_with_weights_that_float16_cant_hold(
    distilled: DistillOptions, tmp_path: Path
) -> None:
    config, weights = read_model(distilled.output)
    tokenizer = load_tokenizer(distilled.output, config.vocab_size)
    name = "embeddings.LayerNorm.weight"
    wide = {**weights, name: weights[name] * 1e6}
    with pytest.raises(AlbeamError) as caught:
        write_model(tmp_path / "wide", config, wide, tokenizer, 48)
    assert f"{name} is not finite" in caught.value.problem
    assert not (tmp_path / "wide").exists()
    assert read_model(distilled.output)[0].dtype == config.dtype


def test_a_pretrained_albert_is_read_without_its_heads(
    distilled: DistillOptions, tmp_path: Path
) -> None:
    _, weights = read_model(distilled.output)
    folder = tmp_path / "pretrained"
    shutil.copytree(distilled.output, folder)
    named = {f"albert.{name}": array for name, array in weights.items()}
    heads = {"predictions.bias": np.zeros(70, np.float32), "albert.pooler.bias": np.zeros(32)}
    save_file({**named, **heads}, folder / "model.safetensors")
    read = read_model(folder)[1]
    assert read.keys() == weights.keys()
    assert all(np.array_equal(read[name], weights[name]) for name in weights)


def test_a_folder_without_an_albert_is_refused(distilled: DistillOptions, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        read_model(tmp_path)
    assert caught.value.problem == "has no config.json"
    folder = tmp_path / "other"
    shutil.copytree(distilled.output, folder)
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", config | {"model_type": "bert"})
    with pytest.raises(BadInput) as caught:
        read_model(folder)
    assert (caught.value.option, caught.value.value) == ("model", str(folder))
    with pytest.raises(BadInput) as caught:
        load_tokenizer(distilled.output, 71)
    assert caught.value.option == "tokenizer"
