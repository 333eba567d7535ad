"""Commands that read a store: none of them imports torch, transformers or Beam."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.ingest.embed import run as embed
from tests.support.models import make_model, make_pair_model
from tests.support.options import embed_options

ROOT = Path(__file__).resolve().parents[2]
#: Runs a command in a process in which the libraries can't be imported, as if they were missing.
RUN = """\
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "apache_beam"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from pipeline.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", RUN, *words]
    return subprocess.run(command, env=settings, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, embedded_store: Path) -> Path:
    """A folder with a copy of a store, with questions and with ids."""
    folder = tmp_path_factory.mktemp("light")
    shutil.copytree(embedded_store, folder / "store")
    questions = {
        "question_id": ["a", "b"],
        "question": ["river stone", "music"],
        "relevant": [[f"doc-{number:05d}" for number in range(100)]] * 2,
    }
    pq.write_table(pa.table(questions), folder / "questions.parquet")
    (folder / "questions.txt").write_text("river stone\nmusic\n", encoding="utf-8")
    make_pair_model(folder / "reader", "read", 2)
    make_pair_model(folder / "reranker", "rank")
    (folder / "ids.txt").write_text("doc-00003\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["snapshots", "STORE"],
        ["verify", "STORE"],
        ["search", "STORE", "river stone", "--json"],
        ["search", "STORE", "river", "--mode", "dense", "--where", "year > 2001"],
        ["search", "STORE", "--questions", "FILES/questions.txt"],
        ["search", "STORE", "--like", "doc-00000"],
        ["evaluate", "STORE", "FILES/questions.parquet", "--report", "FILES/report.html"],
        ["evaluate", "STORE", "FILES/questions.parquet", "--tune"],
        ["tune", "STORE"],
        ["verify", "STORE", "--deep"],
        ["delete", "STORE", "--ids", "FILES/ids.txt"],
        ["rollback", "STORE", "1"],
        ["vacuum", "STORE"],
        ["similar", "river stone", "river"],
        ["ask", "STORE", "river", "--reader", "FILES/reader", "--reranker", "FILES/reranker"],
    ],
    ids=" ".join,
)
def test_a_reader_needs_neither_torch_nor_beam(files: Path, words: Sequence[str]) -> None:
    store = str(files / "store")
    given = [word.replace("STORE", store).replace("FILES", str(files)) for word in words]
    done = run(*given)
    assert done.returncode == 0, done.stderr


def test_hits_are_those_with_torch(files: Path, embedded_store: Path) -> None:
    words = ["search", str(embedded_store), "river stone window", "--json", "--mode", "dense"]
    light = json.loads(run(*words).stdout)
    command = [sys.executable, "-m", "pipeline", *words, "--dtype", "bfloat16"]
    full = json.loads(subprocess.check_output(command, cwd=ROOT, text=True))
    assert [hit["document_id"] for hit in light[:3]] == [hit["document_id"] for hit in full[:3]]
    for one, other in zip(light, full, strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=5e-3)


def test_doctor_says_what_is_missing_for_jobs(files: Path) -> None:
    done = run("doctor", "--json")
    found = json.loads(done.stdout)
    names = [each["name"] for each in found["findings"]]
    assert "model" in names
    assert not any(name.startswith("runner") for name in names)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["embed", "FILES", "--store", "FILES/new"],
            "albeam: embed needs Apache Beam: pip install 'albeam[cpu]'\n",
        ),
        (
            ["index", "STORE", "--lexical", "auto"],
            "albeam: index needs Apache Beam: pip install 'albeam[cpu]'\n",
        ),
        (
            ["search", "STORE", "river", "--dtype", "bfloat16"],
            "albeam: --dtype bfloat16: needs PyTorch, which is not installed. "
            "Run pip install 'albeam[cpu]'.\n",
        ),
        (
            ["search", "STORE", "river", "--device", "cuda"],
            "albeam: --device cuda: needs PyTorch, which is not installed. "
            "Run pip install 'albeam[cpu]'.\n",
        ),
    ],
)
def test_what_needs_more_names_the_extra(files: Path, words: Sequence[str], message: str) -> None:
    store = str(files / "store")
    done = run(*(word.replace("STORE", store).replace("FILES", str(files)) for word in words))
    assert (done.returncode, done.stderr) == (2, message)
    assert not (files / "new").exists()


def test_a_store_of_another_family_names_the_extra(tmp_path: Path, corpus: Path) -> None:
    model = make_model(tmp_path / "model", "distilbert")
    store = tmp_path / "store"
    embed(embed_options(store, model, corpus))
    done = run("search", str(store), "river")
    assert done.returncode == 2
    assert "needs transformers, which is not installed" in done.stderr
    assert "pip install 'albeam[cpu]'" in done.stderr
