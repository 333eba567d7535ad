"""``albeam embed`` counts the texts that its model can't read."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main

Output = pytest.CaptureFixture[str]


def embed(store: Path, model: Path, capsys: Output, *texts: str) -> dict[str, object]:
    file = store.with_suffix(".parquet")
    pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), file)
    command = ["embed", str(file), "--store", str(store), "--model", str(model)]
    assert main([*command, "--rows-per-part", "2", "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_texts_in_another_script_are_counted_once(
    tmp_path: Path, albert: Path, capsys: Output
) -> None:
    texts = ["a river", "東京は日本の首都", "Привет мир", "a stone and 東京"]
    done = embed(tmp_path / "store", albert, capsys, *texts)
    assert done["unknown_texts"] == 2
    assert str(done["notice"]).startswith("2 texts are mostly unknown to the model")
    # Only what is embedded counts.
    done = embed(tmp_path / "store", albert, capsys, *texts[:3], "京", "stone")
    assert (done["unknown_texts"], done["new"], done["changed"]) == (1, 1, 1)
    assert "1 text is mostly unknown to the model" in str(done["notice"])
    done = embed(tmp_path / "store", albert, capsys, *texts[:3], "京", "stone")
    assert (done["unknown_texts"], done["unchanged"]) == (0, 5)


def test_texts_that_the_model_reads_give_no_notice(
    tmp_path: Path, albert: Path, capsys: Output
) -> None:
    done = embed(tmp_path / "store", albert, capsys, "a river", "naïve", "a stone")
    assert (done["unknown_texts"], done["notice"]) == (0, "")
