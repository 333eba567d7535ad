"""The benchmark of bundles: its questions, its sizes, and its bundles that are there already."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.bench.bundles import main, questions_of, size_of, write


def test_questions_are_the_first_words_of_some_passages(tmp_path: Path) -> None:
    (tmp_path / "passages").mkdir()
    for number in range(2):
        texts = [{"text": f"passage {number} {n} " + "word " * 40} for n in range(4)]
        (tmp_path / "passages" / f"{number:05d}.json").write_text(json.dumps(texts))
    found = questions_of(tmp_path, 4)
    assert [each.split()[:3] for each in found] == [
        ["passage", number, n] for number in "01" for n in "02"
    ]
    assert {len(each.split()) for each in found} == {12}
    assert len(questions_of(tmp_path, 100)) == 8


def test_sizes_are_those_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "site" / "inner").mkdir(parents=True)
    (tmp_path / "site" / "inner" / "file").write_bytes(bytes(70))
    (tmp_path / "site" / "file").write_bytes(bytes(30))
    assert size_of(tmp_path / "site") == 100
    assert size_of(tmp_path / "site" / "file") == 30


def test_bundles_that_are_there_are_taken(tmp_path: Path) -> None:
    for name in ("edge", "site"):
        (tmp_path / name).mkdir()
    (tmp_path / "edge.zip").touch()
    found = write(str(tmp_path / "no store"), tmp_path)
    assert [path.name for path in found.values()] == ["edge", "edge.zip", "site"]


def test_without_a_browser_nothing_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "CHROMIUM" in capsys.readouterr().err
