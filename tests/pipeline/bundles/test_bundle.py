"""``albeam bundle``: what it writes finds what the store finds; what can't be bundled."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from pipeline.ingest.embed import run as embed
from tests.docs.json_variants import expected_keys
from tests.support.commands import printed
from tests.support.models import make_texts
from tests.support.options import embed_options
from tests.support.raising import raises
from transforms.bundles.options import BundleOptions
from transforms.errors import BadInput
from transforms.search.store import Store

QUESTIONS = ["river stone window", "the Doctor's summer-garden", "albeam", *make_texts(6, seed=5)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, albert: Path) -> Path:
    """A store of two segments with dead rows, long documents, and columns of many types."""
    folder = tmp_path_factory.mktemp("bundled")
    texts = [*make_texts(60), "river stone " * 90, *make_texts(3, longest=200)]
    columns = {
        "id": [f"doc-{n}" for n in range(64)],
        "text": texts,
        "kind": [f"kind {n % 3}" for n in range(64)],
        "day": pa.array([n * 1_000 for n in range(64)], pa.date32()),
        "share": [float("nan") if n % 5 == 0 else n / 7 for n in range(64)],
        "tags": [[f"t{n % 3}", "ä"] for n in range(64)],
        "raw": [bytes([n]) for n in range(64)],
    }
    table = pa.table(columns)
    pq.write_table(table, folder / "a.parquet")
    pq.write_table(table.slice(0, 20).take(list(range(0, 20, 2))), folder / "b.parquet")
    for name in ("a", "b"):
        options = embed_options(folder / "store", albert, folder / f"{name}.parquet")
        embed(options)
    assert main(["delete", str(folder / "store"), "doc-1", "doc-3"]) == 0
    return folder / "store"


@pytest.fixture(scope="module")
def bundle(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    assert main(["bundle", str(store), "--output", str(folder), "--vectors", "float32"]) == 0
    return folder


def ask(bundle: Path, *words: str, code: int = 0) -> Any:
    """Return what ``ask.py`` prints as JSON, without albeam on its path."""
    program = bundle if bundle.is_file() else bundle / "ask.py"
    command = [sys.executable, "-I", str(program), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=bundle.parent)
    assert done.returncode == code, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()] if not code else done.stderr


@pytest.mark.parametrize(
    "ways",
    [
        (),
        ("--mode", "dense"),
        ("--mode", "lexical"),
        ("--fusion", "rrf"),
        ("--weight", "0.2", "--offset", "3"),
        ("--diverse", "--mode", "dense"),
        ("-k", "60"),
        ("--where", "kind = 'kind 1' OR day >= '2100-01-01' AND NOT share > 5", "-k", "60"),
        ("--where", "document_id IN ('doc-2', 'doc-7')", "--mode", "dense"),
        ("--where", "share IS NULL AND kind = 'none'", "--mode", "lexical"),
    ],
    ids=" ".join,
)
def test_a_bundle_finds_what_the_store_finds(
    store: Path, bundle: Path, tmp_path: Path, capsys: Any, ways: tuple[str, ...]
) -> None:
    file = tmp_path / "questions.txt"
    file.write_text("\n".join(QUESTIONS))
    found = ask(bundle, "--questions", str(file), "--json", *ways)
    command = ["search", str(store), "--questions", str(file), "--json", "--device", "cpu", *ways]
    assert main(command) == 0
    expected = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(found) == len(QUESTIONS)
    for ours, theirs in zip(found, expected, strict=True):
        assert [list(hit) for hit in ours] == [list(hit) for hit in theirs]
        for key in ("rank", "document_id", "passage", "start", "end", "text", "metadata"):
            assert [hit[key] for hit in ours] == [hit[key] for hit in theirs]
        for key in ("score", "dense", "lexical"):
            one, other = ([hit[key] or 0 for hit in hits] for hits in (ours, theirs))
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize(("vectors", "error"), [("float16", 1e-3), ("int8", 0.02)])
def test_smaller_vectors_score_nearly_the_same(
    store: Path, tmp_path: Path, vectors: str, error: float
) -> None:
    words = ["bundle", str(store), "--output", str(tmp_path / "small"), "--vectors", vectors]
    assert main(words) == 0
    [found] = ask(tmp_path / "small", "river stone", "--mode", "dense", "--json", "-k", "60")
    hits = Store.open(str(store), device="cpu").search(["river stone"], 60, "dense")[0]
    expected = {hit.document_id: hit.score for hit in hits}
    assert len(found) == len(hits)
    for hit in found:
        assert abs(hit["score"] - expected[hit["document_id"]]) < error


def test_an_archive_is_the_folder_in_one_file(
    store: Path, bundle: Path, tmp_path: Path, capsys: Any
) -> None:
    archive = tmp_path / "one.zip"
    words = ("bundle", str(store), "--output", str(archive), "--vectors", "float32", "--json")
    summary = printed(capsys, *words)
    assert summary["output"] == str(archive)
    assert summary["bytes"] == sum(summary["parts"].values()) == archive.stat().st_size
    assert summary["memory_bytes"] > 20_000_000
    assert [path.name for path in tmp_path.iterdir()] == ["one.zip"]
    asked = ("river stone window", "--json", "--where", "kind != 'kind 2'")
    assert ask(archive, *asked) == ask(bundle, *asked)
    assert "where" in ask(archive, "river", "--where", "kind LIKE 'k%'", code=2)
    with zipfile.ZipFile(archive) as opened:
        names = set(opened.namelist())
        assert "one.zip" in opened.read("README.md").decode()
        opened.extractall(tmp_path / "unpacked")
    folder = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert names == folder | {"__main__.py"}
    assert ask(tmp_path / "unpacked", *asked) == ask(bundle, *asked)


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("lower(kind) = 'a'", "instead of"),
        ("colour = 'red'", "the columns are document_id, kind, day, share, tags, raw"),
        ("tags = 't1'", "tags"),
        ("day > 'soon'", "date32[day]"),
    ],
)
def test_conditions_that_are_refused(bundle: Path, where: str, told: str) -> None:
    assert told in ask(bundle, "river", "--where", where, code=2)


def test_the_summary_tells_sizes_memory_and_time(store: Path, tmp_path: Path, capsys: Any) -> None:
    words = ("bundle", str(store), "--output", str(tmp_path / "bundle"), "--json")
    summary = printed(capsys, *words)
    assert set(summary) == expected_keys(list(words))
    files = [path for path in (tmp_path / "bundle").rglob("*") if path.is_file()]
    assert summary["bytes"] == sum(path.stat().st_size for path in files)
    assert sum(summary["parts"].values()) == summary["bytes"]
    assert min(summary["parts"].values()) > 0
    assert (summary["documents"], summary["kind"], summary["vectors"]) == (62, "edge", "float16")
    assert summary["encoder_difference"] < 1e-4
    assert 20_000_000 < summary["memory_bytes"] < 2_000_000_000
    assert 0 < summary["processor_seconds"] < 60
    assert {path.name for path in (tmp_path / "bundle" / "LICENSES").iterdir()} == {
        *("README.md", "albeam", "snowball"),
    }
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_store_without_words_is_asked_by_vectors(
    tmp_path: Path, albert: Path, corpus: Path, capsys: Any
) -> None:
    from transforms.index.options import LexicalOptions

    options = embed_options(tmp_path / "store", albert, corpus, lexical=LexicalOptions("none"))
    embed(options)
    folder = tmp_path / "bundle"
    summary = printed(capsys, "bundle", options.store, "--output", str(folder), "--json")
    assert summary["modes"] == ["dense"]
    assert len(ask(folder, "river", "--json")[0]) == 10
    assert "no lexical index" in ask(folder, "river", "--mode", "lexical", code=2)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("  ",), "blank"),
        (("river", "-k", "0"), "-k"),
        (("river", "--weight", "2"), "weight"),
        (("river", "--weight", "0.5", "--mode", "dense"), "hybrid"),
        ((), "QUESTION"),
        (("--questions", "missing.txt"), "missing.txt"),
    ],
)
def test_questions_that_can_not_be_asked(bundle: Path, words: tuple[str, ...], told: str) -> None:
    assert told in ask(bundle, *words, code=2)


def test_a_bundle_that_is_cut_short_is_refused(bundle: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    os.truncate(copy / "vectors.bin", 100)
    assert "cut short" in ask(copy, "river", code=2)
    (copy / "bundle.json").write_text('{"version": 9}')
    assert "version" in ask(copy, "river", code=2)
    (copy / "bundle.json").unlink()
    assert "no bundle" in ask(copy, "river", code=2)


def test_what_can_not_be_bundled(store: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "taken.zip").touch()
    new, full, taken = (str(tmp_path / name) for name in ("new", "full", "taken.zip"))
    for words, told in (
        ((str(tmp_path / "none"), "--output", new), "is not a store"),
        ((str(store), "--output", full), "exists"),
        ((str(store), "--output", taken), "exists"),
        ((str(store), "--output", new, "--most-passages", "5"), "--most-passages"),
        ((str(store), "--output", new, "--web", "--most-passages", "5"), "browser"),
        ((str(store), "--output", new, "--vectors", "int4"), "int4"),
        ((str(store), "--output", new, "--model", str(tmp_path)), "model"),
        ((str(store), "--output", new, "--snapshot", "99"), "99"),
    ):
        try:
            code = main(["bundle", *words])
        except SystemExit as error:
            code = error.code
        assert code == 2, words
        assert told in capsys.readouterr().err
        assert not (tmp_path / "new").exists()


def test_a_lexical_index_of_the_first_version_is_refused(tmp_path: Path) -> None:
    from transforms.bundles.store_files import lexical_language

    first = Path(__file__).parents[2] / "data" / "store-0.1"
    with raises(BadInput, "store") as caught:
        lexical_language(Store.open(str(first)))
    assert "albeam index" in str(caught.value)


def test_bounds_differ_for_a_page(tmp_path: Path) -> None:
    edge, web = (BundleOptions("store", tmp_path / "new", web=web) for web in (False, True))
    edge.check_size(100_000)
    with raises(BadInput, "store"):
        web.check_size(100_000)
    assert (edge.vector_kind, web.vector_kind) == ("float16", "int8")
