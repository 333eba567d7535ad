"""``albeam evaluate-task`` with a sentence encoder, as ``finetune similar`` writes it."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import pearsonr, spearmanr

from pipeline.cli import main
from tests.support.commands import printed
from tests.support.models import make_texts
from transforms.encoder.encoder import load_encoder
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model

EXACT = ("--device", "cpu", "--dtype", "float32")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory, albert: Path) -> Path:
    """An encoder with the file that says how it pools."""
    folder = tmp_path_factory.mktemp("similar") / "encoder"
    shutil.copytree(albert, folder)
    (folder / "modules.json").write_text("[]")
    return folder


def pairs(path: Path, **changes: Any) -> Path:
    first, second = make_texts(40, seed=1), make_texts(40, seed=2)
    columns = {"sentence1": first, "sentence2": [*first[:8], *second[8:]]}
    columns["score"] = list(np.linspace(5, 0, 40))
    pq.write_table(pa.table(columns | changes), path)
    return path


def test_an_encoder_is_measured_by_correlations(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, report = pairs(tmp_path / "pairs.parquet"), tmp_path / "report.html"
    words = "evaluate-task", str(encoder), str(file), *EXACT
    found = printed(capsys, *words, "--report", str(report))
    table = pq.read_table(file).to_pydict()
    loaded = load_encoder(find_model(ModelOptions(str(encoder))), Placement("cpu", "float32"))
    a, b = (loaded.encode_texts(table[name]) for name in ("sentence1", "sentence2"))
    cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    values = found["metrics"]["values"]
    assert (found["task"], found["documents"], found["left_out"]) == ("similar", 40, 0)
    assert values["pearson"] == pytest.approx(pearsonr(table["score"], cosines).statistic, abs=1e-4)
    assert values["spearman"] == pytest.approx(
        spearmanr(table["score"], cosines).statistic, abs=0.01
    )
    for name, (low, high) in found["metrics"]["intervals"].items():
        assert low < values[name] < high
    page = report.read_text(encoding="utf-8")
    for shown in ("Spearman", "Cosine by known score", "other text"):
        assert shown in page
    assert main(list(words)) == 0
    assert "40 pairs" in capsys.readouterr().out


def test_blank_pairs_are_left_out_and_other_columns_are_read(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pairs.parquet"
    columns = {"a": ["river", " ", "stone"], "b": ["river", "music", "paper"], "s": [3, 2, 1]}
    pq.write_table(pa.table(columns), file)
    names = "--first-column", "a", "--second-column", "b", "--score-column", "s"
    found = printed(capsys, "evaluate-task", str(encoder), str(file), *names, *EXACT)
    assert (found["documents"], found["left_out"]) == (2, 1)
    assert found["notice"].startswith("1 ")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"score": [1.0] * 40}, "one score"),
        ({"score": [None, *range(39)]}, "row 0"),
        ({"score": ["high"] * 40}, "'score'"),
        ({"score": [float("nan"), *range(39)]}, "finite"),
        ({"sentence1": [None] * 40}, "'sentence1'"),
        ({"sentence2": [" "] * 40}, "fewer than two"),
    ],
)
def test_pairs_that_measure_nothing_are_refused(
    encoder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    problem: str,
) -> None:
    file = pairs(tmp_path / "pairs.parquet", **changes)
    assert main(["evaluate-task", str(encoder), str(file)]) == 2
    assert problem in capsys.readouterr().err


def test_an_encoder_works_on_no_store_and_is_no_head_of_predictions(
    encoder: Path, embedded_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = pairs(tmp_path / "pairs.parquet")
    words = "evaluate-task", str(encoder), str(file), "--store", str(embedded_store)
    assert main(list(words)) == 2
    assert "--store" in capsys.readouterr().err
    assert main(["predict", str(encoder), str(file), "--output", str(tmp_path / "out")]) == 2
    assert "head.json" in capsys.readouterr().err


def test_a_long_text_is_measured(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pairs.parquet"
    columns = {"sentence1": ["river " * 17_000, "stone"], "sentence2": ["river", "music"]}
    pq.write_table(pa.table({**columns, "score": [1, 0]}), file)
    found = printed(capsys, "evaluate-task", str(encoder), str(file), *EXACT)
    assert found["documents"] == 2
