"""Embedding on a real engine: shards, workers, processes, a kill in the middle, a resume."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import duckdb
import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.options import EvaluateOptions
from pipeline.ingest.embed import run
from pipeline.ingest.options import EmbedOptions
from pipeline.maintenance.verify import run as verify
from tests.faults.reference import brute_force, reference_passages
from tests.support.models import make_texts, write_corpus
from tests.support.options import embed_options
from transforms import Store
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.options import ColumnOptions
from transforms.catalog.snapshot import read_segment
from transforms.encoder.reference import reference_vectors
from transforms.errors import BadInput, RecallMissed
from transforms.evaluation.metrics import means
from transforms.evaluation.questions import load_questions
from transforms.index.options import IndexOptions
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.models.tokenizer import load_tokenizer
from transforms.storage.vectors import vectors_to_numpy
from transforms.transactions.commits import commit_segment

ROOT = Path(__file__).resolve().parents[2]
QUESTIONS = ["river stone", "winter market paper", "don't well-known", "3.5 kitchen village"]


@pytest.fixture
def options(tmp_path: Path, corpus: Path, albert: Path) -> EmbedOptions:
    return embed_options(tmp_path / "store", albert, corpus, rows_per_part=60)


def rows(store: str) -> pa.Table:
    """All passages, in order."""
    return pa.concat_tables(Store.open(store).documents())


def assert_same_store(one: str, other: str) -> None:
    ours, theirs = rows(one), rows(other)
    plain = [name for name in ours.column_names if name != "vector"]
    assert ours.select(plain).equals(theirs.select(plain))
    np.testing.assert_allclose(
        vectors_to_numpy(ours["vector"]), vectors_to_numpy(theirs["vector"]), atol=2e-6
    )
    for a, b in zip(search(one), search(other), strict=True):
        assert [hit.document_id for hit in a] == [hit.document_id for hit in b]
        assert [hit.score for hit in a] == pytest.approx([hit.score for hit in b], abs=1e-5)
    for a, b in zip(by_words(one), by_words(other), strict=True):
        assert [hit.document_id for hit in a] == [hit.document_id for hit in b]
        assert [hit.score for hit in a] == pytest.approx([hit.score for hit in b], abs=1e-5)


def by_words(store: str) -> list:
    return Store.open(store).search(QUESTIONS, k=10, mode="lexical")


def search(store: str) -> list:
    return Store.open(store, dtype="float32").search(QUESTIONS, k=10, mode="dense")


def test_rows_vectors_and_hits_are_those_of_plain_transformers(
    options: EmbedOptions, texts: list[str]
) -> None:
    summary = run(options)
    assert (summary.documents, summary.parts, summary.parts_found_done) == (200, 4, 0)
    assert summary.snapshot == 1
    table = rows(options.store)
    assert summary.passages == table.num_rows > 200
    documents = {f"doc-{n:05d}": text for n, text in enumerate(texts)}
    for row in table.to_pylist():
        assert row["text"] == documents[row["document_id"]][row["start"] : row["end"]]
        assert row["year"] == 2000 + int(row["document_id"][4:]) % 20
    assert table.schema.field("year").type == pa.int16()
    assert table.schema.field("tags").type == pa.list_(pa.string())
    model = find_model(options.model)
    ids = load_tokenizer(model).encode_framed(table["text"].to_pylist(), 48)
    expected = reference_vectors(model, ids)
    found = vectors_to_numpy(table["vector"])
    assert (found * expected).sum(1).min() >= 0.999999
    questions = reference_vectors(model, load_tokenizer(model).encode_framed(QUESTIONS, 48))
    ranked = brute_force(questions, expected, table["document_id"].to_pylist(), 10)
    for hits, best in zip(search(options.store), ranked, strict=True):
        assert [hit.score for hit in hits] == pytest.approx([s for _, s in best], abs=1e-5)
        assert [hit.document_id for hit in hits] == [name for name, _ in best]


@pytest.mark.slow
@pytest.mark.parametrize(
    "beam_args",
    [
        (),
        ("--direct_num_workers=4", "--direct_running_mode=multi_threading"),
        ("--direct_num_workers=4", "--direct_running_mode=multi_processing"),
    ],
    ids=["one", "threads", "processes"],
)
def test_shards_and_workers_change_nothing(
    options: EmbedOptions,
    texts: list[str],
    tmp_path: Path,
    beam_args: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    run(options)
    folder = write_corpus(tmp_path / "seven", list(texts), shards=7)
    other = replace(
        options,
        inputs=(str(folder / "*.parquet"),),
        store=str(tmp_path / "other"),
        rows_per_part=33,
        beam_args=beam_args,
    )
    summary = run(other)
    assert summary.parts == 7
    processes = 4 if "multi_processing" in str(beam_args) else 1
    assert 1 <= summary.model_loads <= processes
    assert_same_store(options.store, other.store)
    assert verify(other.store).passages == summary.passages


def test_duckdb_and_pandas_read_the_vectors_as_they_are(options: EmbedOptions) -> None:
    run(replace(options, vector_dtype="float16"))
    pattern = f"{options.store}/segments/*/vectors/*.parquet"
    found = duckdb.sql(f"SELECT count(*), max(len(vector)) FROM read_parquet('{pattern}')")
    assert found.fetchall() == [(rows(options.store).num_rows, 48)]
    part = next(Path(options.store).glob("segments/*/vectors/*.parquet"))
    frame = pd.read_parquet(part)
    assert len(frame.vector[0]) == 48
    assert np.linalg.norm(np.asarray(frame.vector[0], np.float32)) == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("index", ["none", "IVF4,Flat", "HNSW16"])
def test_other_indexes_answer_like_the_exact_one(options: EmbedOptions, index: str) -> None:
    run(options)
    other = replace(options, store=options.store + "-other", index=IndexOptions(index, 0.5))
    summary = run(other)
    assert summary.index == index
    assert (summary.recall is None) == (index == "none")
    first = [hits[0].score for hits in search(options.store)]
    found = [hits[0].score for hits in search(other.store)]
    if index == "none":
        assert found == pytest.approx(first, abs=1e-5)
    else:
        assert 0 < summary.recall <= 1
        # Bare rows have half the bits.
        assert all(ours <= exact + 1e-3 for ours, exact in zip(found, first, strict=True))
    verify(other.store)


@pytest.mark.parametrize(
    "index", [IndexOptions("HNSW0"), IndexOptions("Nonsense")], ids=lambda each: each.index
)
def test_the_index_of_a_resumed_run_is_checked(
    options: EmbedOptions, index: IndexOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def miss(*_: object) -> None:
        raise RecallMissed("recall@10 is 0.1")

    with monkeypatch.context() as patched:
        patched.setattr("transforms.index.build.finish_index", miss)
        with pytest.raises(RecallMissed):
            run(replace(options, index=IndexOptions("HNSW16", 0.9)))
    with pytest.raises(BadInput) as caught:
        run(replace(options, index=index))
    assert (caught.value.option, caught.value.value) == ("index", index.index)
    assert run(replace(options, index=IndexOptions("flat"))).snapshot == 1


def test_lists_may_be_as_many_as_passages_are(options: EmbedOptions, tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "books", ["river stone window " * 200 for _ in range(3)])
    index = IndexOptions("IVF4,Flat", 0.1)
    summary = run(replace(options, inputs=(str(folder),), index=index))
    assert (summary.documents, summary.index) == (3, "IVF4,Flat")


def test_k_counts_documents_and_fetches_more_passages_until_it_has_them(
    options: EmbedOptions, tmp_path: Path
) -> None:
    # One document's passages fill the first places.
    texts = ["river " * 600, *make_texts(30, seed=9, longest=10)]
    folder = write_corpus(tmp_path / "long", texts)
    run(replace(options, inputs=(str(folder),)))
    store = Store.open(options.store)
    hits = store.search(["river river river river"], k=25)[0]
    assert len({hit.document_id for hit in hits}) == len(hits) == 25
    everything = store.search(["river"], k=1_000)[0]
    assert len(everything) == 31
    assert [hit.score for hit in everything] == sorted((h.score for h in everything), reverse=True)


def test_rejects_are_written_and_counted(
    options: EmbedOptions, tmp_path: Path, albert: Path
) -> None:
    texts = ["river stone", None, "", "  \n", "\u0301", "window"]
    folder = write_corpus(tmp_path / "poor", texts)
    summary = run(replace(options, inputs=(str(folder),)))
    assert summary.documents == 2
    reasons = {"null text": 1, "empty text": 1, "blank text": 1, "no tokens": 1}
    assert summary.rejects == reasons
    store = Store.open(options.store)
    assert store.snapshot.segments[0].rejects == reasons
    [path] = Path(options.store).glob("segments/*/rejects/part-*.parquet")
    found = pq.read_table(path).to_pylist()
    assert [(row["document_id"], row["row"], row["reason"]) for row in found] == [
        ("doc-00001", 1, "null text"),
        ("doc-00002", 2, "empty text"),
        ("doc-00003", 3, "blank text"),
        ("doc-00004", 4, "no tokens"),
    ]
    assert found[0]["file"] == str(folder / "docs-0.parquet")
    verify(options.store)


def test_an_input_of_rejects_alone_gives_an_empty_store(
    options: EmbedOptions, tmp_path: Path
) -> None:
    folder = write_corpus(tmp_path / "blank", [None, " "])
    summary = run(replace(options, inputs=(str(folder),)))
    assert (summary.documents, summary.passages) == (0, 0)
    assert Store.open(options.store).search(["river"]) == [[]]
    verify(options.store)


def start(options: EmbedOptions, tmp_path: Path) -> subprocess.Popen:
    code = (
        "import pickle, sys; from pipeline.ingest.embed import run\n"
        "run(pickle.load(open(sys.argv[1], 'rb')))"
    )
    (tmp_path / "options").write_bytes(pickle.dumps(options))
    return subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "options")],
        cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.slow
def test_killed_in_the_middle_readers_see_the_last_snapshot_and_the_rest_is_resumed(
    options: EmbedOptions, tmp_path: Path
) -> None:
    texts = make_texts(3_000, seed=11)
    table = pa.table({"id": [f"late-{n}" for n in range(len(texts))], "text": texts})
    pq.write_table(table, tmp_path / "late.parquet")
    late = replace(
        options,
        inputs=(str(tmp_path / "late.parquet"),),
        columns=ColumnOptions(),
        rows_per_part=100,
    )
    for before in (False, True):
        store = str(tmp_path / f"store-{before}")
        if before:
            run(replace(options, store=store))
        late = replace(late, store=store)
        process = start(late, tmp_path)
        markers: list[Path] = []
        while len(markers) < 3 and process.poll() is None:
            time.sleep(0.005)
            markers = [
                path
                for path in Path(store).glob("segments/*/vectors/part-*.json")
                if "late" in (path.parents[1] / "plan.json").read_text()
            ]
        assert process.poll() is None, "the run ended before it could be killed"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if before:
            assert verify(store).snapshot == 1
            assert {row["id"] for row in ids(store)} == {f"doc-{n:05d}" for n in range(200)}
        else:
            with pytest.raises(BadInput) as caught:
                Store.open(store)
            assert (caught.value.option, caught.value.value) == ("store", store)
        done = {path: path.stat().st_mtime_ns for path in markers}
        summary = run(late)
        assert 3 <= summary.parts_found_done < summary.parts == 30
        assert all(path.stat().st_mtime_ns == time for path, time in done.items())
        assert verify(store).snapshot == (2 if before else 1)
        assert len(ids(store)) == 3_000 + (200 if before else 0)
    never_killed = replace(late, store=str(tmp_path / "never"))
    run(never_killed)
    assert_same_store(str(tmp_path / "store-False"), never_killed.store)


def ids(store: str) -> list[dict[str, str]]:
    names = rows_of_ids(store)
    return [{"id": name} for name in dict.fromkeys(names)]


def rows_of_ids(store: str) -> list[str]:
    return [
        name
        for table in Store.open(store).documents(["document_id"])
        for name in table["document_id"].to_pylist()
    ]


def test_of_two_writers_of_the_same_documents_the_later_commit_wins(
    options: EmbedOptions, tmp_path: Path
) -> None:
    run(options)
    other = replace(options, store=str(tmp_path / "other"), stride=4)
    run(other)
    [ref] = Store.open(other.store).snapshot.segments
    theirs = SegmentPaths(other.store, ref.name)
    # The other writer's segment is done in our store too, and is about to be committed.
    shutil.copytree(theirs.root, SegmentPaths(options.store, ref.name).root)
    info = read_segment(other.store, ref)
    made = commit_segment(options.store, info, ref.sha256, "append", "test")
    assert [each.name for each in made.segments] == [ref.name]
    assert verify(options.store).snapshot == 2
    assert_same_store(options.store, other.store)


@pytest.mark.slow
def test_metrics_on_a_real_corpus_are_those_of_brute_force(
    tmp_path: Path, data_folder: Path, trained_model: str
) -> None:
    passages = pq.read_table(data_folder / "squad_dev" / "passages.parquet").slice(0, 300)
    pq.write_table(passages, tmp_path / "passages.parquet")
    kept = set(passages["id"].to_pylist())
    questions = [
        question
        for question in load_questions(str(data_folder / "squad_dev" / "questions.parquet"))
        if kept.issuperset(question.relevant)
    ][:150]
    lines = [json.dumps(vars(question)) for question in questions]
    (tmp_path / "questions.jsonl").write_text("\n".join(lines))
    store = str(tmp_path / "store")
    model = ModelOptions(trained_model)
    exact = Placement("cpu", "float32")
    run(EmbedOptions((str(tmp_path / "passages.parquet"),), store, model, placement=exact))
    opened = Store.open(store, dtype="float32")
    evaluation = evaluate(opened, EvaluateOptions(str(tmp_path / "questions.jsonl")))
    found = means(evaluation.modes["dense"].values)
    expected = reference_passages(find_model(model), passages, questions)
    assert len(evaluation.questions) == 150
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=0.002), name
    assert expected["mrr@10"] > 0.4


def test_a_store_and_input_that_are_not_local(options: EmbedOptions, corpus: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(corpus), "/remote/corpus", recursive=True)
    run(options)
    other = replace(options, inputs=("memory://remote/corpus",), store="memory://remote/store")
    assert run(other).snapshot == 1
    assert verify(other.store).passages == rows(options.store).num_rows
    assert_same_store(options.store, other.store)
    assert "Nothing to do" in run(other).notice
