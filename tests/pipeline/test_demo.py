"""``albeam demo`` answers its questions, if the reader that comes with albeam is there."""

import json
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.support.models import make_model, make_pair_model
from transforms.models import shipped
from transforms.models.options import DEFAULT_READER


def test_answers_come_before_the_hits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = tmp_path / "models"
    command = ["demo", "--limit", "12", "--model", str(make_model(tmp_path / "model"))]
    command += ["--store", str(tmp_path / "store"), "--corpus", str(tmp_path / "corpus")]
    monkeypatch.setattr(shipped, "ROOT", models)
    assert main([*command, "--json"]) == 0
    without = json.loads(capsys.readouterr().out)
    assert {each["answer"] for each in without["answers"]} == {None}
    make_pair_model(models / DEFAULT_READER, "read", 2)
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    for each, former in zip(found["answers"], without["answers"], strict=True):
        # No reranker is there, so the hits are the same.
        assert each["found"] == former["found"]
        assert each["answer"]["document_id"] in each["found"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert found["answers"][0]["answer"]["text"] in printed
    assert "albeam ask" in printed
