"""The benchmark of readers: it trains, continues, measures, and reports."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deploy.bench import reader as bench
from tests.support.models import make_model


def test_a_reader_is_trained_measured_and_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["river stone", "window river", "music garden river", "winter river market"]
    for name in ("squad_train", "squad_dev"):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        ids = [f"{name}-{number}" for number in range(len(texts))]
        pq.write_table(pa.table({"id": ids, "text": texts}), folder / "passages.parquet")
        answers = [["river"]] * len(texts)
        rows = {"question": ["music"] * len(texts), "relevant": [[i] for i in ids]}
        pq.write_table(pa.table({**rows, "answers": answers}), folder / "questions.parquet")
    words = ["bench", "--data", str(tmp_path / "data"), "--work", str(tmp_path / "work")]
    words += ["--model", str(make_model(tmp_path / "model")), "--minutes", "0.02"]
    words += ["--json", str(tmp_path / "found.json"), "--window-tokens", "16"]
    monkeypatch.setattr(sys, "argv", words)
    code = bench.main()
    assert "| f1 |" in capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["rows"] == len(texts)
    assert found["settings"]["window_tokens"] == 16
    assert code == int(found["values"]["f1"] < bench.TARGET)
    assert found["curve"][-1]["score"] >= 0
    assert bench.main() == code
    again = json.loads((tmp_path / "found.json").read_text())
    assert again["values"] == found["values"]
    assert again["curve"][-1]["step"] == found["curve"][-1]["step"]
