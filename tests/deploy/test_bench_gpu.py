"""The session for a GPU: its steps in miniature, its deadline, its report and what it refuses."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.requirements import Requirement

from deploy.bench.gpu import speed
from deploy.bench.gpu.__main__ import main, passed
from deploy.bench.gpu.report import as_markdown
from deploy.bench.gpu.session import STOPPED, Deadline, Session, empty_report, stop_at
from deploy.bench.gpu.speed import operations
from tests.support.models import make_model
from transforms.models.options import ModelOptions
from transforms.models.resolve import find_model

ROOT = Path(__file__).resolve().parents[2]
MACHINE: dict[str, Any] = {
    "gpu": {"name": "NVIDIA T4", "capability": "7.5", "bytes": 16 << 30},
    "platform": "Linux",
    "versions": {"torch": "2.11.0", "transformers": None},
    "date": "2026-01-01",
}


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def session(tmp_path: Path) -> Session:
    lines: list[str] = []
    deadline = Deadline.after(600, Clock())
    return Session(deadline, tmp_path / "gpu.json", empty_report(dict(MACHINE)), lines.append)


def test_the_same_steps_run_in_miniature_on_a_cpu(tmp_path: Path) -> None:
    model, output = make_model(tmp_path / "tiny"), tmp_path / "gpu.json"
    assert main(["--device", "cpu", "--models", str(model), "--output", str(output)]) == 0
    report = json.loads(output.read_text())
    assert report["machine"]["device"] == "cpu"
    assert not report["failed"]
    checks = report[f"check {model}"]
    assert [row["check"].split(" for ")[1] for row in checks] == ["float32", "bfloat16", "float16"]
    assert all(row["passed"] for row in [*checks, *report[f"check limits {model}"]])
    for corpus in ("squad", "skewed"):
        systems = [row["system"] for row in report[f"speed {model} {corpus}"]]
        assert systems[:3] == ["albeam", "albeam, tokens given", "transformers"]
        assert all(row["tokens_per_second"] > 0 for row in report[f"speed {model} {corpus}"])
    assert report["training"]["last_loss"] < report["training"]["first_loss"]
    assert "faiss" in report["skipped"]["index"] or report["index"]["passed"]
    table = output.with_suffix(".md").read_text()
    assert "| albeam, tokens given |" in table
    assert "passed |" in table


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_without_cuda_it_ends_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--output", str(tmp_path / "gpu.json")]) == 2
    assert "--device cuda: is not available" in (error := capsys.readouterr().err)
    assert "Give --device cpu" in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("--seconds", "0", "--seconds 0"),
        ("--output", "/nowhere/gpu.json", "folder that does not exist"),
        ("--models", "/nowhere/model", "--model /nowhere/model"),
    ],
)
def test_bad_options_are_named(
    tmp_path: Path, option: str, value: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--device", "cpu", "--output", str(tmp_path / "gpu.json"), option, value]
    assert main(given) == 2
    assert problem in capsys.readouterr().err


def test_a_step_without_time_or_libraries_is_skipped_and_the_others_run(session: Session) -> None:
    def missing() -> None:
        raise ImportError("No module named 'faiss'", name="faiss")

    def broken() -> None:
        raise RuntimeError("CUDA error: no kernel image")

    assert session.step("one", 10, lambda: {"passed": True}) == {"passed": True}
    assert session.step("index", 10, missing) is None
    assert session.step("speed", 10, broken) is None
    session.deadline.clock.now += 595  # type: ignore[attr-defined]
    assert session.step("late", 10, lambda: 1) is None
    report = json.loads(session.output.read_text())
    assert report["skipped"] == {
        "index": "faiss is missing",
        "late": "5 s were left, and it needs 10",
    }
    assert report["failed"] == {"speed": "RuntimeError: CUDA error: no kernel image"}
    assert "speed failed: RuntimeError" in session.output.with_suffix(".md").read_text()
    assert not passed(report)
    assert passed({**report, "failed": {}})
    assert not passed({**report, "failed": {}, "check x": [{"passed": False}]})
    assert not passed({**report, "failed": {}, "training": {"passed": False}})


def test_a_step_that_hangs_ends_at_the_deadline() -> None:
    ended: list[int] = []
    timer = stop_at(Deadline.after(0.01), lambda _: None, ended.append)
    timer.join(10)
    assert ended == [STOPPED]


def test_the_table_names_the_gpu_and_leaves_out_what_is_unknown() -> None:
    row = {"model": "m", "corpus": "squad", "system": "albeam", "dtype": "float16", "turns": 5}
    report = empty_report(dict(MACHINE)) | {
        "peak": {"float16": 5e13},
        "speed m squad": [
            row | {"tokens_per_second": 1234567.8, "share": 0.456, "bytes": 3 << 29},
            row | {"tokens_per_second": 10.0, "share": None, "bytes": None},
        ],
    }
    lines = as_markdown(report).splitlines()
    assert lines[0] == "NVIDIA T4, compute capability 7.5, 16 GiB, torch 2.11.0; 2026-01-01."
    assert "float16 50" in lines[1]
    assert "| m | squad | albeam | float16 | 1,234,568 | 46% | 1.50 GiB |" in lines
    assert "| m | squad | albeam | float16 | 10 |  |  |" in lines


def test_operations_are_those_of_the_linear_layers_and_of_attention(tmp_path: Path) -> None:
    model = find_model(ModelOptions(str(make_model(tmp_path / "tiny"))))
    width, inner = model.hidden_size, model.intermediate_size
    one = model.layers * (8 * width * width + 4 * width * inner + 4 * width)
    assert operations(model, [1]) == one
    assert operations(model, [1, 1]) == 2 * one
    assert operations(model, [2]) == 2 * one + model.layers * 8 * width


def test_a_peer_that_fails_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no such attention")

    monkeypatch.setattr(speed, "_sentence_transformers", broken)
    model = find_model(ModelOptions(str(make_model(tmp_path / "tiny"))))
    deadline, effort = Deadline.after(600), speed.Effort(4, 1, 64)
    rows = speed.measure_speed(model, "cpu", "skewed", {"float32": 1e12}, effort, deadline)
    assert [row["system"] for row in rows] == ["albeam", "albeam, tokens given", "transformers"]
    assert "no such attention" in caplog.text


def closure(*names: str) -> list[str]:
    """Return the installed packages that these need."""
    found: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop().lower())
        if name in found:
            continue
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        found[name] = None
        for requirement in map(Requirement, requires):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return list(found)


@pytest.mark.slow
def test_torch_transformers_and_pyarrow_are_enough(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    for name in closure("torch", "transformers", "pyarrow"):
        package = distribution(name)
        for top in {file.parts[0] for file in package.files or []} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(package.locate_file(top))  # type: ignore[arg-type]
    assert not (site / "apache_beam").exists()
    model, output = make_model(tmp_path / "tiny"), tmp_path / "gpu.json"
    words = ["-m", "deploy.bench.gpu", "--device", "cpu", "--models", str(model)]
    done = subprocess.run(
        [sys.executable, "-S", *words, "--output", str(output)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{site}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(output.read_text())
    assert "needs FAISS" in report["skipped"]["index"]
    assert f"speed {model} squad" in report
