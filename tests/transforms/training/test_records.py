"""The history of a training, and its event files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.raising import raises
from transforms.errors import BadInput
from transforms.training.records import event_writer, write_history
from transforms.training.trainer import Progress


def test_the_history_has_a_line_for_each_evaluation(tmp_path: Path) -> None:
    history = [{"step": 2, "loss": 0.5, "score": 0.1}, {"step": 4, "score": 0.2}]
    write_history(tmp_path, history)
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == history


def test_event_files_hold_each_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: str) -> None:
            assert folder == str(tmp_path)

        def add_scalar(self, *scalar: object) -> None:
            written.append(scalar)  # type: ignore[arg-type]

        def flush(self) -> None:
            pass

    module = SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)  # type: ignore[arg-type]
    write = event_writer(tmp_path)
    write(Progress(0, 9, None, 1.0, {"score": 0.1}))
    write(Progress(3, 9, 0.5, 1.0, {"score": 0.2}))
    assert written == [("score", 0.1, 0), ("loss", 0.5, 3), ("score", 0.2, 3)]


def test_event_files_need_their_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with raises(BadInput, "tensorboard"):
        event_writer(tmp_path)
