"""``ask.py`` in an environment that has its four libraries and nothing of albeam's."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import main
from pipeline.demo import QUESTIONS
from tests.support.corpora import small_demo
from transforms.search.store import Store

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
_ABSENT = ("albeam", "transforms", "torch", "transformers", "apache_beam", "tantivy", "faiss")
_FIND = "import sys; from importlib.util import find_spec; print(*map(find_spec, sys.argv[1:]))"
#: Processor time of a first answer; a quiet core needs as much time.
_MOST_SECONDS = 2.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_demo(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def bundle(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    assert main(["bundle", str(store), "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def archive(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("bundles") / "bundle.zip"
    assert main(["bundle", str(store), "--output", str(file)]) == 0
    return file


@pytest.fixture(scope="module")
def python(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with what the bundle's own file asks for."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        pytest.skip("uv is not installed; make installs it")
    folder = tmp_path_factory.mktemp("fresh") / "environment"
    run(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
    python = folder / "bin" / "python"
    wanted = ["--requirement", str(bundle / "requirements.txt")]
    limits = ["--constraint", str(ROOT / "constraints.txt")]
    run(
        uv,
        "pip",
        "install",
        "--quiet",
        "--compile-bytecode",
        "--python",
        str(python),
        *wanted,
        *limits,
    )
    return python


def run(*command: str) -> subprocess.CompletedProcess[str]:
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=settings, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("kind", ["folder", "archive"])
@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_the_hits_are_those_of_albeam_search(
    store: Path, bundle: Path, archive: Path, python: Path, tmp_path: Path, mode: str, kind: str
) -> None:
    assert run(str(python), "-c", _FIND, *_ABSENT).stdout.split() == ["None"] * len(_ABSENT)
    file = tmp_path / "questions.txt"
    file.write_text("\n".join(question for question, _ in QUESTIONS))
    words = ["--questions", str(file), "--json", "--mode", mode]
    program = archive if kind == "archive" else bundle / "ask.py"
    lines = run(str(python), str(program), *words).stdout.splitlines()
    found: list[Any] = [json.loads(line) for line in lines]
    expected = Store.open(str(store), device="cpu").search([q for q, _ in QUESTIONS], 10, mode)
    assert [[hit["document_id"] for hit in hits] for hits in found] == [
        [hit.document_id for hit in hits] for hits in expected
    ]


def test_a_first_answer_takes_little(bundle: Path, python: Path) -> None:
    done = run(str(python), str(bundle / "ask.py"), "Parse JSON", "--measure")
    measured = json.loads(done.stderr.splitlines()[-1])
    assert measured["processor_seconds"] < _MOST_SECONDS
    assert measured["memory_bytes"] < 400_000_000
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    assert size < 60_000_000
