"""Run all benchmarks of tasks, one after another, and print one table of their targets.

``python -m deploy.bench.all_tasks --data FOLDER --work FOLDER`` takes hours. ``--work`` keeps the
models and the figures of each benchmark, so that a second call continues trainings that were
stopped. ``--only NAME…`` runs some of them, and ``--quick`` all of them with short trainings, which
miss targets but show that each one runs. The exit code is 1 if a target is missed or a benchmark
fails; ``--json FILE`` writes the table.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.bench.targets import HEADER, Target, finish, read_targets

#: The arguments of each benchmark, and what makes it short. WORK becomes a folder of its own.
BENCHMARKS: dict[str, tuple[list[str], list[str]]] = {
    "tasks": ([], ["--texts", "5000", "--compared", "500"]),
    "tasks_training": ([], ["--steps", "30"]),
    "tasks_networks": (["--work", "WORK"], ["--steps", "30"]),
    "tagging": ([], ["--steps", "30", "--corpora", "wikigold"]),
    "similar": ([], ["--steps", "10"]),
    "reader": (["--work", "WORK"], ["--minutes", "1", "--limit", "500"]),
    "pretraining_gain": (["--work", "WORK"], ["--minutes", "1", "--steps", "20"]),
    "domain_adaptation": (
        ["--work", "WORK"],
        ["--minutes", "1", "--head-minutes", "0.5"],
    ),
}


def command(name: str, data: Path, work: Path, quick: bool) -> list[str]:
    """Return the command of a benchmark, whose figures go to ``NAME.json`` in the work folder."""
    plain, short = BENCHMARKS[name]
    words = [str(work / name) if word == "WORK" else word for word in plain]
    words += short if quick else []
    words += ["--data", str(data), "--json", str(work / f"{name}.json")]
    return [sys.executable, "-m", f"deploy.bench.{name}", *words]


def measured(name: str, words: Sequence[str], figures: Path) -> list[Target]:
    """Run a benchmark, and return its targets; a failed one has none that is met."""
    figures.unlink(missing_ok=True)
    print(f"== {name}", flush=True)
    code = subprocess.run(words, check=False).returncode
    targets = []
    if figures.exists():
        targets = [
            Target(f"{name}: {each.name}", each.bound, each.figure, each.least)
            for each in read_targets(figures)
        ]
    if code and all(target.met for target in targets):
        targets.append(Target(f"{name}: exit code", 0, code, least=False))
    return targets


def main() -> int:
    """Run them, and print the table; return 1 if a target is missed or a benchmark fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("ALBEAM_DATA") or "../shared/data")
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=[*BENCHMARKS])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    targets: list[Target] = []
    for name in given.only:
        words = command(name, given.data, given.work, given.quick)
        targets += measured(name, words, given.work / f"{name}.json")
        print("\n".join([HEADER, *(target.row() for target in targets)]), flush=True)
    print("== all")
    return finish({"benchmarks": given.only, "quick": given.quick}, targets, given.json)


if __name__ == "__main__":
    raise SystemExit(main())
