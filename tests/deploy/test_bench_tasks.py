"""The benchmarks of tasks: which figures miss their targets, and one table of all of them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deploy.bench import all_tasks
from deploy.bench.domain_adaptation import targets_of as adaptation_targets
from deploy.bench.targets import Target, finish, read_targets
from deploy.bench.tasks import LEAST, MOST, targets_of
from deploy.bench.tasks_networks import targets_of as network_targets

DEPLOY = Path(all_tasks.__file__).parent


def test_figures_at_their_targets_miss_nothing() -> None:
    targets = targets_of({**LEAST, **MOST})
    assert len(targets) == len(LEAST) + len(MOST)
    assert all(target.met for target in targets)


def test_a_figure_beyond_its_target_is_missed_and_one_without_target_is_none() -> None:
    targets = targets_of({"accuracy": 0.9, "fit_seconds": 61.0, "macro_f1": 0.1})
    assert [(each.name, each.met) for each in targets] == [
        ("accuracy", False),
        ("fit_seconds", False),
    ]
    assert not Target("f1", 0.5, float("nan")).met
    assert not Target("loss", 0.5, float("nan"), least=False).met


def test_networks_must_beat_the_interval_of_the_head_on_vectors() -> None:
    head = {"accuracy": 0.7, "interval": (0.68, 0.72)}
    found = {
        "rotten_tomatoes": {"vector head": head, "network": {"accuracy": 0.71}},
        "banking77": {"vector head": head, "network": {"accuracy": 0.93}},
    }
    assert [target.met for target in network_targets(found)] == [False, True]
    assert network_targets({"banking77": {"vector head": head}}) == []


def test_of_mixtures_that_adapt_enough_the_one_that_loses_least_counts() -> None:
    rows: dict[str, Any] = {
        "m": {"stsb_dev": 0.85},
        "heads alone": {"stsb_dev": 0.9, "fall": 0.0},
        "share 1": {"stsb_dev": 0.7, "fall": 0.4},
        "share 0.5": {"stsb_dev": 0.845, "fall": 0.25},
        "share 0.25": {"stsb_dev": 0.85, "fall": 0.1},
    }
    fall, loss = adaptation_targets(rows, "m")
    assert (fall.figure, loss.figure) == (0.25, pytest.approx(0.005))
    assert fall.met
    assert loss.met
    rows["share 0.5"]["fall"] = rows["share 1"]["fall"] = 0.15
    assert not adaptation_targets(rows, "m")[0].met


def test_targets_decide_the_exit_code_and_are_in_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = Target("f1", 0.5, 0.75), Target("loss", 0.1, 0.2, least=False)
    assert finish({"rows": 3}, [good], None) == 0
    path = tmp_path / "found.json"
    assert finish({"rows": 3}, [good, bad], path) == 1
    assert read_targets(path) == [good, bad]
    assert json.loads(path.read_text())["rows"] == 3
    table = capsys.readouterr().out.splitlines()
    assert "| f1 | ≥ 0.5 | 0.7500 | met |" in table
    assert "| loss | ≤ 0.1 | 0.2000 | **missed** |" in table


@dataclass
class Programs:
    """Stands in for `subprocess.run`: a benchmark writes its targets, unless it fails."""

    figures: dict[str, float | None]
    words: dict[str, list[str]] = field(default_factory=dict)

    def run(self, words: list[str], check: bool) -> Any:
        name = words[2].rsplit(".", 1)[1]
        self.words[name], figure = words, self.figures[name]
        code = 2
        if figure is not None:
            path = Path(words[words.index("--json") + 1])
            code = finish({}, [Target("accuracy", 0.5, figure)], path)
        return type("Done", (), {"returncode": code})()


@pytest.mark.parametrize(
    ("figures", "code", "lines"),
    [
        ({"tasks": 0.6, "reader": 0.7}, 0, ["| tasks: accuracy | ≥ 0.5 | 0.6000 | met |"]),
        ({"tasks": 0.4, "reader": 0.7}, 1, ["| tasks: accuracy | ≥ 0.5 | 0.4000 | **missed** |"]),
        ({"tasks": 0.6, "reader": None}, 1, ["| reader: exit code | ≤ 0 | 2.0000 | **missed** |"]),
    ],
)
def test_all_benchmarks_run_and_one_table_has_their_targets(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    figures: dict[str, float | None],
    code: int,
    lines: list[str],
) -> None:
    programs = Programs(figures)
    monkeypatch.setattr(all_tasks.subprocess, "run", programs.run)
    words = ["all_tasks", "--data", str(tmp_path), "--work", str(tmp_path / "work")]
    words += ["--only", *figures, "--quick", "--json", str(tmp_path / "all.json")]
    monkeypatch.setattr(sys, "argv", words)
    # Figures of an earlier call don't hide a failure.
    (tmp_path / "work").mkdir()
    finish({}, [Target("accuracy", 0.5, 0.9)], tmp_path / "work" / "reader.json")
    assert all_tasks.main() == code
    summary = capsys.readouterr().out.split("== all")[1].splitlines()
    assert set(lines) <= set(summary)
    assert len(read_targets(tmp_path / "all.json")) == 2
    assert str(tmp_path / "work" / "reader") in programs.words["reader"]
    assert "--minutes" in programs.words["reader"]


def test_each_benchmark_of_a_task_is_called_with_options_that_it_has() -> None:
    for name, (plain, short) in all_tasks.BENCHMARKS.items():
        source = (DEPLOY / f"{name}.py").read_text(encoding="utf-8")
        for word in (*plain, *short, "--data", "--json"):
            if word.startswith("--"):
                assert f'"{word}"' in source, (name, word)
    named = {"tasks", "tasks_training", "tasks_networks", "tagging", "reader"}
    assert named | {"pretraining_gain", "domain_adaptation", "similar"} == set(all_tasks.BENCHMARKS)
