"""The training texts and pairs of the default model, and its answers to the demo's questions."""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deploy.model.pairs import medical, write
from deploy.model.texts import collect
from pipeline.demo import QUESTIONS, standard_library, write_corpus
from transforms.encoder.encoder import load_encoder
from transforms.errors import BadInput
from transforms.models.options import DEFAULT_MODEL, ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.training.pairs import read_pairs

ROOT = Path(__file__).resolve().parents[2]
PROSE = "The river rose after a week of rain. Nobody had seen it so high before. It fell again."


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Small samples of all sources of the training texts, under data and debian."""

    def table(path: str, **columns: list[object]) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), tmp_path / path)

    def packed(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(gzip.compress(text.encode()))

    some = [f"{PROSE} Gauge {n} stood at {n} metres." for n in range(20)]
    asked = [f"How high was gauge {n} by then?" for n in range(20)]
    ids = [f"d{n}" for n in range(20)]
    for name in ("squad_train", "medquad"):
        own = [f"{name}: {text}" for text in some]
        table(f"data/{name}/passages.parquet", id=ids, text=own)
        questions = [f"{name}: {text}" for text in asked]
        table(f"data/{name}/questions.parquet", question=questions, relevant=[[one] for one in ids])
    table("data/text/paragraphs.parquet", id=ids, text=some, source=["openstax"] * 20)
    table("data/text/questions.parquet", text=asked)
    table("data/stsb/train.parquet", sentence1=[f"{t} a" for t in asked], sentence2=asked)
    packed("debian/dict-wn/wn.dict.dz", "river\n  n 1: a large natural stream of water\n")
    packed("debian/dict-jargon/jargon.dict.dz", f"{PROSE} Hackers know.")
    packed("debian/freebsd-manpages/ls.1.gz", f".Sh NAME\n{PROSE} List it.\n")
    for path in ("python3.11-doc/a.html", "postgresql-doc-15/b.html"):
        (tmp_path / "debian" / path).parent.mkdir(parents=True)
        (tmp_path / "debian" / path).write_text(f"<p>{PROSE} So says {path}.</p>")
    (tmp_path / "debian/fortunes/fortunes").mkdir(parents=True)
    (tmp_path / "debian/fortunes/fortunes/wise").write_text(f"{PROSE} Wise.\n%\n{PROSE} Wiser.\n")
    (tmp_path / "debian/available.txt").write_text("Description: a tool for rivers\n")
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/documented.py").write_text(f'"""{PROSE} Documented."""\n')
    return tmp_path


def test_the_texts_are_the_same_whatever_order_python_keeps_sets_in(sources: Path) -> None:
    code = (
        "import sys, pathlib, hashlib; from deploy.model.texts import collect\n"
        "table = collect(pathlib.Path('data'), pathlib.Path('debian'), 17, ['documented'])\n"
        "print(hashlib.sha256(repr(table.to_pydict()).encode()).hexdigest())"
    )
    found = set()
    for seed in ("1", "2"):
        path = os.pathsep.join([str(ROOT), str(sources / "modules")])
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, check=True, cwd=sources,
            env=os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        found.add(done.stdout.splitlines()[-1])
    assert len(found) == 1


def test_a_missing_source_is_refused(sources: Path) -> None:
    with pytest.raises(BadInput) as caught:
        collect(sources / "data", sources / "debian", 17, ["nowhere"])
    assert (caught.value.option, caught.value.value) == ("package", "nowhere")
    (sources / "debian/dict-wn/wn.dict.dz").unlink()
    with pytest.raises(BadInput) as caught:
        collect(sources / "data", sources / "debian", 17, [])
    assert (caught.value.option, caught.value.value) == ("source", "WordNet")


def test_a_medical_question_has_all_its_answers(tmp_path: Path) -> None:
    folder = tmp_path / "medquad"
    folder.mkdir()
    pq.write_table(
        pa.table({"id": list("abc"), "text": ["one", "two", "three"]}), folder / "passages.parquet"
    )
    pq.write_table(
        pa.table({"question": ["x", "y"], "relevant": [["a", "c"], ["b"]]}),
        folder / "questions.parquet",
    )
    write(tmp_path / "pairs", *medical(tmp_path, 3, random.Random(1)))
    pairs = read_pairs(tmp_path / "pairs/passages.parquet", tmp_path / "pairs/questions.parquet")
    assert pairs.questions == ["x", "y"]
    answers = [{pairs.passages[n] for n in own} for own in pairs.relevant]
    assert answers == [{"one", "three"}, {"two"}]


def test_the_default_model_answers_the_questions_of_the_demo() -> None:
    modules = {name.rpartition(".")[0] for _, names in QUESTIONS for name in names}
    root = Path(sysconfig.get_path("stdlib"))
    items = [item for item in standard_library(root) if item.module in modules]
    assert len(items) > 100
    encoder = load_encoder(find_model(ModelOptions(DEFAULT_MODEL)), Placement())
    scores = encoder.encode_texts([question for question, _ in QUESTIONS]) @ (
        encoder.encode_texts([item.text for item in items]).T
    )
    found = [{items[n].name for n in row[:5]} for row in np.argsort(-scores, axis=1)]
    right = sum(bool(found[n] & set(names)) for n, (_, names) in enumerate(QUESTIONS))
    assert right >= 7


def test_a_short_demo_has_the_columns_of_a_long_one(tmp_path: Path) -> None:
    assert write_corpus(tmp_path, 2) == 2
    schemas = {str(pq.read_schema(path)) for path in tmp_path.glob("*.parquet")}
    assert schemas == {"id: string\ntext: string\nmodule: string\nkind: string"}
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"docstrings-{shard}.parquet" for shard in range(4)]


def test_a_short_demo_has_the_first_documents_of_the_library(tmp_path: Path) -> None:
    library = tmp_path / "library"
    for path in ("ab.py", "a/__init__.py", "a/b.py", "a_b.py", "a2.py", "b.py"):
        (library / path).parent.mkdir(parents=True, exist_ok=True)
        text = f'"""{PROSE}"""\n\ndef river():\n    """{PROSE}"""\n'
        (library / path).write_text(text)
    every = ["a", "a.b", "a.b.river", "a.river", "a2", "a2.river", "a_b", "a_b.river"]
    every += ["ab", "ab.river", "b", "b.river"]
    for limit in (1, 3, 5, 12, None):
        folder = tmp_path / f"corpus-{limit}"
        assert write_corpus(folder, limit, library) == len(every[:limit])
        ids = pq.read_table(folder)["id"].to_pylist()
        assert sorted(ids) == every[:limit]
