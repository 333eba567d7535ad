"""Closed pipes, full disks, missing streams and poor encodings, in processes of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.parser import COMMANDS

ROOT = Path(__file__).resolve().parents[3]


def run(words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which ``albeam`` is the command of this repository."""
    shell = f'albeam() {{ {sys.executable} -m pipeline "$@"; }}; {words}; exit ${{PIPESTATUS[0]}}'
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return subprocess.run(
        ["bash", "-c", shell], capture_output=True, text=True, check=False, cwd=ROOT,
        env=environment | variables,
    )  # fmt: skip


@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize(
    "words",
    [
        "albeam --help | true",
        "albeam embed --help | true",
        "albeam --version | true",
        "albeam snapshots tests/data/store-0.1 | true",
        "albeam snapshots tests/data/store-0.1 --json | true",
        "albeam snapshots none 2>&1 >/dev/null | true",
    ],
)
def test_a_reader_that_goes_away_ends_the_command_quietly(words: str, buffered: str) -> None:
    # The reader may go before or after the command writes; "sleep" makes it go before.
    done = run(words.replace("albeam", "(sleep 0.05; albeam", 1).replace(" |", ") |"),
               PYTHONUNBUFFERED=buffered)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (141, "", "")


def test_a_disk_that_is_full_is_named() -> None:
    for buffered in ("", "1"):
        done = run("albeam snapshots tests/data/store-0.1 >/dev/full", PYTHONUNBUFFERED=buffered)
        assert done.returncode == 1
        assert (
            done.stderr
            == "albeam: stdout: can't be written: No space left on device. Write elsewhere.\n"
        )
    assert run("albeam snapshots none 2>/dev/full").returncode == 1


def test_a_stream_that_is_missing_is_no_failure() -> None:
    done = run("albeam snapshots tests/data/store-0.1 >&-")
    assert (done.returncode, done.stderr) == (0, "")
    done = run("albeam snapshots none 2>&-")
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
)
def test_any_locale_shows_errors_and_help(variables: dict[str, str]) -> None:
    done = run("albeam snapshots /東京 ; albeam search --help", **variables)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    # Without a locale, Python reads the name as bytes.
    assert re.search(r"albeam: .*/(東京|\\).*", done.stderr)
    assert "exit codes: 0 done" in done.stdout


@pytest.mark.parametrize("columns", ["1", "0", "10000", "many"])
def test_any_width_shows_help(columns: str) -> None:
    words = "; ".join(f"albeam {name} --help >/dev/null" for name in list(COMMANDS)[:2])
    done = run(f"albeam --help; {words}", COLUMNS=columns)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "words",
    [
        ["snapshots", "/a\x1b[31mb\nc\u202e"],
        ["a\x1b"],
        ["search", "s", "q", "--snapshot", "a\x1b"],
        ["embed", "a\x1b.parquet", "--store", "s"],
        ["embed", "a.parquet", "--store", "s", "--nonsense\x07"],
        ["evaluate", "tests/data/store-0.1", "a\x9b\udcff.jsonl"],
    ],
)
def test_what_the_user_gave_is_never_raw_in_an_error(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = main(words)
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.rstrip("\n").isprintable(), said.err


def test_the_module_runs_from_any_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "embed", "--help"], capture_output=True, text=True,
        check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.startswith("usage: albeam embed INPUT")
    assert "3 a quality target missed" in " ".join(done.stdout.split())
