"""The house rules: who imports whom, and what the README says."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted([*ROOT.glob("pipeline/*.py"), *ROOT.glob("transforms/*.py")])
#: Which files may import a heavy library.
OWNERS = {
    "torch": {
        *("attention", "clustering", "cores", "encoder", "network", "fused", "roads", "reading"),
        *("training", "optimizers", "teacher", "lessons", "losses", "distillation", "finetuning"),
        # They measure torch itself, or convert from it.
        *("bench_systems", "bench_peers"),
    },
    "faiss": {"faiss_index", "faiss_files", "faiss_training"},
    "tantivy": {"lexical"},
}


def imports(path: Path) -> set[str]:
    """The top-level names that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_imports_point_downwards_and_heavy_ones_have_owners(path: Path) -> None:
    found = imports(path)
    forbidden = {"tests", "deploy"} | ({"pipeline"} if path.parent.name == "transforms" else set())
    assert not found & forbidden
    for library, owners in OWNERS.items():
        assert library not in found or path.stem in owners


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_file_is_one_idea_and_short(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout


def test_help_imports_nothing_heavy_and_answers_within_a_second() -> None:
    code = (
        "import sys; from pipeline.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'faiss', 'apache_beam', 'transformers', 'pyarrow'} "
        "& set(sys.modules)))"
    )
    assert run(sys.executable, "-c", code).splitlines()[-1] == "[]"
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        run(sys.executable, "-m", "pipeline.cli", "--help")
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 1


def help_blocks() -> list[tuple[str, str]]:
    """The README's blocks that start with a ``--help`` command, and what they print."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```\n\$ (albeam[^\n]* --help)\n(.*?)```", readme, re.DOTALL)


def test_every_command_has_its_help_in_the_readme() -> None:
    text = run(sys.executable, "-m", "pipeline.cli", "--help")
    commands = re.findall(r"^    (\w+)(?: |$)", text, re.MULTILINE)
    assert len(commands) >= 5
    assert [block[0] for block in help_blocks()] == [
        "albeam --help",
        *(f"albeam {command} --help" for command in commands),
    ]


@pytest.mark.parametrize(("command", "printed"), help_blocks())
def test_the_readme_shows_what_help_prints(command: str, printed: str) -> None:
    words = shlex.split(command)[1:]
    environment = {"PATH": "", "COLUMNS": "90", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *words],
        capture_output=True, text=True, check=True, env=environment, cwd=ROOT,
    )  # fmt: skip
    assert normal(done.stdout) == normal(printed)


def normal(text: str) -> str:
    """Help without what differs between Python versions: line breaks and option columns."""
    return " ".join(text.split())


def test_the_snippets_of_the_readme_run(
    tmp_path: Path, corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(snippets) == 3
    shutil.copytree(corpus, tmp_path / "corpus")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = re.search(r"^albeam (embed .*)$", readme, re.MULTILINE)
    assert command is not None
    embed = [sys.executable, "-m", "pipeline.cli", *shlex.split(command[1])]
    subprocess.run(embed, check=True, cwd=tmp_path, env=environment)
    for snippet in snippets:
        run_snippet = [sys.executable, "-W", "ignore", "-c", snippet]
        subprocess.run(run_snippet, check=True, cwd=tmp_path, env=environment)
    printed = capfd.readouterr().out
    assert "1 0." in printed or "1 1.0" in printed
    assert "PredictionResult(example='a river'" in printed


def test_the_version_is_that_of_the_package() -> None:
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    version = re.search(r'version="([^"]+)"', setup)
    assert version is not None
    assert f"## {version[1]}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_without_faiss_the_error_says_which_extra_to_install() -> None:
    code = "import sys; sys.modules['faiss'] = None; from transforms import Store"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 1
    assert "pip install 'albeam[cpu]', or 'albeam[gpu]'" in done.stderr
