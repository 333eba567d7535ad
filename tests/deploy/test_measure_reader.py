"""What the command that measures a reader prints."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deploy.model import measure_reader
from tests.support.models import make_pair_model

TEXTS = ["river stone", "window river", "music garden river", "winter river market"]


def test_both_sets_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("squad_dev", "squad2"):
        (tmp_path / name).mkdir()
    ids = [f"p{number}" for number in range(len(TEXTS))]
    asked = {"question": ["music"] * len(TEXTS), "answers": [["river"]] * len(TEXTS)}
    pq.write_table(
        pa.table({"id": ids, "text": TEXTS}), tmp_path / "squad_dev" / "passages.parquet"
    )
    pq.write_table(
        pa.table({**asked, "relevant": [[each] for each in ids]}),
        tmp_path / "squad_dev" / "questions.parquet",
    )
    asked["answers"][3] = []
    pq.write_table(pa.table({**asked, "passage": ids}), tmp_path / "squad2" / "dev.parquet")
    reader = make_pair_model(tmp_path / "reader", "read", 2)
    words = ["measure", str(reader), "--data", str(tmp_path), "--questions", "4"]
    monkeypatch.setattr(sys, "argv", words)
    measure_reader.main()
    printed = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    named = {(cells[0], cells[2]): float(cells[3]) for cells in printed}
    assert named["| SQuAD 2.0", "F1 of always finding none"] == 0.25
    assert 0 <= named["| SQuAD 1.1", "exact_match"] <= named["| SQuAD 1.1", "f1"] <= 1
    assert {cells[1] for cells in printed} == {"4"}
