"""Indexes of segments, built in shards: what they find, and what stops them."""

import contextlib
import json
import os
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli import main
from pipeline.maintenance import index, vacuum, verify
from tests.support.stores import DIM, add_segment, live_ids, make_vectors
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.parts import read_vectors
from transforms.catalog.snapshot import read_segment, read_snapshot
from transforms.errors import BadInput, Damaged, RecallMissed
from transforms.evaluation.plots import best_rows
from transforms.index import shard_layout
from transforms.index.build import build_index
from transforms.index.options import IndexOptions
from transforms.index.vector import (
    faiss_factory,
    faiss_files,
    faiss_search,
    faiss_training,
    segment_index,
    shard_recall,
)
from transforms.index.vector.build import build_shard, sample_shard, train, write_questions
from transforms.index.vector.plan import IndexHelp, IndexPlan, plan_index, trained_before
from transforms.index.vector.recall import LIVE_SHARES, alike_rows, measure
from transforms.search.store import Store
from transforms.storage import filesystem
from transforms.transactions.commit_job import _CommitFn
from transforms.transactions.commits import remove_documents

ROWS = 1_200
FACTORIES = [
    "Flat",
    "IVF8,Flat",
    "IVF8,SQ8",
    "IVF8,PQ4x4",
    "HNSW16",
    "SQ8",
    "OPQ4,IVF8,PQ4x4",
    "RR8,IVF8,PQ4x4fsr",
]


def shards_of(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """From now on a shard has at most so many rows, or a single part."""
    monkeypatch.setattr(shard_layout, "most_shard_rows", lambda *_: rows)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of a third of a segment, so that there are three."""
    shards_of(monkeypatch, ROWS // 3)


def make_store(folder: Path, factory: str, target: float = 0.9) -> str:
    store = str(folder / "store")
    documents = {f"d{n:04d}": 1 for n in range(ROWS)}
    add_segment(store, "one", documents, parts=6, index=factory, recall_target=target)
    return store


def vectors_of(store: str) -> np.ndarray:
    opened = Store.open(store)
    chunks = [
        chunk
        for info in opened.segments
        for chunk in read_vectors(SegmentPaths(store, info.name), info.parts)
    ]
    return np.concatenate(chunks)


def recall_at_10(store: str, live: np.ndarray, where: str | None = None) -> float:
    vectors, queries = vectors_of(store), make_vectors(100, seed=77)
    products = np.where(live, queries @ vectors.T, -np.inf)
    exact = np.argsort(-products, axis=1)[:, :10]
    scores, rows = Store.open(store).nearest(queries, 10, where)
    for line, found, score in zip(products, rows, scores, strict=True):
        np.testing.assert_allclose(score, line[found], atol=2e-3)
    shares = [len(set(a) & set(b)) / 10 for a, b in zip(exact, rows.tolist(), strict=True)]
    return float(np.mean(shares))


def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of so few rows as a test has, all would be candidates otherwise."""
    monkeypatch.setattr(faiss_factory.Kind, "candidates", lambda _, k: max(10, k))


@pytest.mark.parametrize("factory", FACTORIES)
def test_an_index_in_shards_finds_what_was_asked_for_whatever_lives(
    tmp_path: Path, factory: str
) -> None:
    store = make_store(tmp_path, factory)
    [info] = Store.open(store).segments
    assert info.index is not None
    assert info.index.factory == factory
    assert len(info.index.shards) == 3
    assert (info.index.trained is not None) == (factory not in ("Flat", "HNSW16"))
    assert {s.live for s in info.index.settings} <= set(LIVE_SHARES)
    assert 0.9 <= info.index.recall <= 1
    assert recall_at_10(store, np.ones(ROWS, bool)) >= 0.85
    verify.run(store)
    for keep in (600, 60, 3):
        names = live_ids(store)
        dice = np.random.default_rng(keep)
        gone = dice.permutation(names)[keep:].tolist()
        remove_documents(store, gone)
        live = np.isin([f"d{n:04d}" for n in range(ROWS)], live_ids(store))
        assert live.sum() == keep
        if keep >= 10:
            assert recall_at_10(store, live) >= 0.85
        hits = Store.open(store).search_vectors(make_vectors(5, seed=78), 10)
        assert [len(line) for line in hits] == [min(keep, 10)] * 5
    left = filesystem.list_names(SegmentPaths(store, "one").index)
    assert not [name for name in left if name.startswith("sample")]


def test_shards_can_be_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path, "Flat")
    capsys.readouterr()
    command = ["index", store, "--index", "IVF8,SQ8", "--recall-target", "0.9", "--shards", "2"]
    assert main([*command, "--json"]) == 0
    captured = capsys.readouterr()
    assert "segment one: IVF8,SQ8 for 1,200 × 8" in captured.err
    [info] = Store.open(store).segments
    assert info.index is not None
    assert [shard.rows for shard in info.index.shards] == [ROWS // 2, ROWS // 2]
    value = json.loads(captured.out)
    assert (value["reasons"], value["shards"]) == ({"one": info.index.why}, 2)


def test_the_same_rows_give_the_same_files(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        [info] = Store.open(make_store(tmp_path / name, "IVF8,SQ8")).segments
        made.append(info.index)
    assert made[0] == made[1]


def test_a_target_that_is_missed_publishes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few_candidates(monkeypatch)
    store = make_store(tmp_path, "Flat")
    with pytest.raises(RecallMissed, match=r"index PQ2x4 of 1,200 rows: recall@10 is 0\..*0.99"):
        index.run(store, IndexOptions("PQ2x4", 0.99))
    assert main(["index", store, "--index", "PQ2x4", "--recall-target", "0.99"]) == 3
    assert "run again with a lower --recall-target" in capsys.readouterr().err
    assert read_snapshot(store).number == 1
    vacuum.run(store, keep=1, older_than=-60, dry_run=False)
    verify.run(store)
    assert recall_at_10(store, np.ones(ROWS, bool)) == 1.0


def test_another_index_takes_the_place_of_the_first_and_the_first_is_kept_for_its_readers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(tmp_path, "Flat")
    add_segment(store, "two", {f"e{n}": 1 for n in range(40)}, seed=5)
    remove_documents(store, ["d0001", "e3"])
    before = live_ids(store)
    assert main(["index", store, "--index", "IVF8,SQ8", "--recall-target", "0.9", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["factories"] == {"one": "IVF8,SQ8", "two": "IVF8,SQ8"}
    assert (done["snapshot"], done["segments"], done["passages"]) == (4, 2, ROWS + 40)
    assert done["recall"] >= 0.9
    assert live_ids(store) == before
    kinds = [
        [read_segment(store, ref).index.factory for ref in read_snapshot(store, n).segments]
        for n in (3, 4)
    ]
    assert kinds == [["Flat", "Flat"], ["IVF8,SQ8", "IVF8,SQ8"]]
    verify.run(store)
    live = np.ones(ROWS + 40, bool)
    live[[1, ROWS + 3]] = False
    assert recall_at_10(store, live) >= 0.85
    # The same again is there already; a file that is gone is said.
    assert index.run(store, IndexOptions("IVF8,SQ8", 0.9)).snapshot == 4
    vacuum.run(store, keep=1, older_than=-60, dry_run=False)
    verify.run(store)
    assert recall_at_10(store, live) >= 0.85
    assert main(["index", store, "--index", "flat"]) == 0
    assert "Flat in 4 shards over 1,240 passages in 2 segments" in capsys.readouterr().out
    assert recall_at_10(store, live) == 1.0


def test_an_index_that_was_built_is_not_built_again_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path, "Flat")
    options = IndexOptions("IVF8,SQ8", 0.9)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(index, "commit_indexes", killed)
        with pytest.raises(KeyboardInterrupt):
            index.run(store, options)
    with monkeypatch.context() as patched:
        patched.setattr(index, "run_pipeline", killed)
        assert index.run(store, options).snapshot == 2
    verify.run(store)


@pytest.mark.parametrize("file", ["shard", "raw", "trained", "index-"])
def test_a_damaged_file_of_an_index_is_named(tmp_path: Path, file: str) -> None:
    store = make_store(tmp_path, "Flat")
    index.run(store, IndexOptions("IVF8,SQ8", 0.9))
    folder = Path(SegmentPaths(store, "one").index)
    current = read_segment(store, read_snapshot(store).segments[0]).index
    assert current is not None
    names = {each.name for each in current.files} | {p.name for p in folder.glob("index-*")}
    path = folder / min(name for name in names if name.startswith(file))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(Damaged, match=path.name):
        verify.run(store)
    path.write_bytes(content[:-3])
    with pytest.raises(Damaged, match=path.name):
        verify.run(store)
    path.unlink()
    with pytest.raises(Damaged, match=path.name):
        verify.run(store)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("file", ["shard", "raw", "trained"])
def test_a_damaged_index_is_built_anew(
    tmp_path: Path, file: str, again: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(tmp_path, "IVF8,SQ8")
    command = ["index", store, "--index", "IVF8,SQ8", "--recall-target", "0.9"]
    if again:
        assert main(command) == 0
    [info] = Store.open(store).segments
    assert info.index is not None
    name = min(each.name for each in info.index.files if each.name.startswith(file))
    path = Path(SegmentPaths(store, "one").index) / name
    path.write_bytes(path.read_bytes()[:-3] + b"odd")
    assert main(["verify", store]) == 1
    said = capsys.readouterr().err
    assert f"{name} has SHA-256" in said
    assert "build the index anew: albeam index STORE" in said
    assert main(command) == 0
    verify.run(store)
    assert recall_at_10(store, np.ones(ROWS, bool)) >= 0.85


def built(vectors: np.ndarray, factory: str, folder: Path, target: float = 1e-9) -> Any:
    """An index of these very vectors, of one shard."""
    store = str(folder / "store")
    add_segment(store, "one", {f"d{n}": 1 for n in range(len(vectors))}, index=None)
    [info] = Store.open(store).segments
    paths = SegmentPaths(store, "one")
    plan = plan_index(info.parts, DIM, IndexOptions(factory, target))
    assert isinstance(plan, IndexPlan)
    with pytest.MonkeyPatch.context() as patched:
        for module in ("transforms.index.vector.build.read_vectors",):
            patched.setattr(module, lambda *_: iter([vectors]))
        samples = [sample_shard(paths, plan, shard) for shard in plan.shards]
        trained = train(paths, plan, samples)
        return [build_shard(paths, plan, shard, samples, trained) for shard in plan.shards]


@pytest.mark.parametrize("factory", ["IVF8,SQ8", "IVF8,Flat", "HNSW16"])
def test_equal_vectors_and_duplicates_are_found(tmp_path: Path, factory: str) -> None:
    equal = np.tile(make_vectors(1, 1), (400, 1))
    [shard] = built(equal, factory, tmp_path)
    assert shard.report is not None
    assert (shard.report.exact[1.0][1][:, 0] >= 0).all()


def test_a_vector_that_is_not_finite_is_damage(tmp_path: Path) -> None:
    wrong = make_vectors(400, 1)
    wrong[123, 2] = np.nan
    with pytest.raises(Damaged, match="the vector of row 123 of .*one is not finite"):
        built(wrong, "IVF8,SQ8", tmp_path)


def test_parts_with_other_rows_than_they_said_are_damage(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    add_segment(store, "one", {f"d{n}": 1 for n in range(400)}, index=None)
    [info] = Store.open(store).segments
    with pytest.MonkeyPatch.context() as patched:
        short = make_vectors(399, 1)
        patched.setattr("transforms.index.vector.build.read_vectors", lambda *_: iter([short]))
        with pytest.raises(Damaged, match="have 399 rows where their markers say 400"):
            build_index(SegmentPaths(store, "one"), info.parts, DIM, IndexOptions("IVF8,SQ8"))


def test_too_few_rows_for_what_was_asked_are_searched_exactly(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    add_segment(store, "one", {"a": 3, "b": 2}, index="IVF8,SQ8")
    [info] = Store.open(store).segments
    assert info.index is not None
    assert info.index.factory == "Flat"
    plan = plan_index(info.parts, DIM, IndexOptions("IVF8,SQ8"))
    assert plan is not None
    assert plan.why == "too few rows (5) for IVF8,SQ8: exact search"
    with pytest.raises(BadInput, match="has 64 lists for 5 rows"):
        index.run(store, IndexOptions("IVF64,Flat"))
    with pytest.raises(BadInput, match="index none builds nothing"):
        index.run(store, IndexOptions("none"))


@pytest.mark.parametrize("factory", ["Flat", "IVF8,SQ8", "HNSW16"])
def test_a_condition_is_applied_before_ranking(tmp_path: Path, factory: str) -> None:
    store = make_store(tmp_path, factory)
    remove_documents(store, ["d0200", "d0201"])
    opened = Store.open(store)
    years = np.concatenate([t.column("year").to_numpy() for t in opened.documents(["year"])])
    names = np.array(live_ids(store))
    queries = make_vectors(4, seed=78)
    for where, meets in (
        ("year < 100", years < 100),
        ("year = 7", years == 7),
        ("document_id > 'd1190'", names > "d1190"),
        ("year < 0", years < 0),
    ):
        hits = opened.search_vectors(queries, 10, where)
        assert [len(line) for line in hits] == [min(10, int(meets.sum()))] * 4
        assert {hit.document_id for line in hits for hit in line} <= set(names[meets])
    with pytest.raises(BadInput, match=r"color.*the columns are document_id .*year"):
        opened.search_vectors(queries, 10, "color = 'red'")


@pytest.mark.parametrize("factory", ["IVF32,Flat", "IVF32,SQ8", "HNSW16"])
@pytest.mark.parametrize("share", [0.4, 0.15, 0.03])
def test_rows_of_one_topic_are_found_from_far_away_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factory: str, share: float
) -> None:
    few_candidates(monkeypatch)
    store = make_store(tmp_path, factory)
    vectors, queries = vectors_of(store), make_vectors(100, seed=77)
    live = alike_rows(share, vectors @ make_vectors(1, seed=5)[0])
    _, rows = Store.open(store).index(0).search(queries, 10, live)
    products = np.where(live, queries @ vectors.T, -np.inf)
    exact = np.argsort(-products, axis=1)[:, :10]
    found = [len(set(a) & set(b)) / 10 for a, b in zip(exact.tolist(), rows.tolist(), strict=True)]
    assert np.mean(found) >= 0.88


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_lists_are_read_once_and_all_the_same_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    store = make_store(tmp_path, "IVF32,SQ8")
    [info] = Store.open(store).segments
    assert info.index is not None
    made, _ = Store.open(store).index(0).open(info.index.shards[0])
    rows = info.index.shards[0].rows
    live = None if share == 1 else np.random.default_rng(0).random(rows) < share
    search = shard_recall._Search(made, make_vectors(20, seed=77), live, None)
    read = []
    real = faiss_search.search_index

    def spy(index: Any, queries: Any, k: int, *more: Any) -> Any:
        read.append(more[2][1].shape[1] if len(more) > 2 and more[2] is not None else 0)
        return real(index, queries, k, *more)

    before = None
    for value in (1, 2, 8, 32, 64):
        whole = search.widen(10, value, None)
        monkeypatch.setattr(faiss_search, "search_index", spy)
        before = search.widen(10, value, before)
        monkeypatch.undo()
        there = whole.found[1] >= 0
        np.testing.assert_array_equal(before.found[1] >= 0, there)
        np.testing.assert_allclose(before.found[0][there], whole.found[0][there], rtol=1e-6)
        assert (before.found[1] == whole.found[1]).mean() > 0.99
    assert [count for count in read if count] == [1, 1, 6, 24]


def test_the_nearest_lists_that_have_live_rows_are_searched(tmp_path: Path) -> None:
    [info] = Store.open(store := make_store(tmp_path, "IVF8,SQ8")).segments
    index, _ = Store.open(store).index(0).open(info.index.shards[1])
    vectors = vectors_of(store)[ROWS // 3 : 2 * ROWS // 3]
    lists = faiss_search.row_lists(index, len(vectors))
    assert lists is not None
    nearest = faiss_search.assign_lists(index, vectors, 8)
    assert nearest is not None
    assert (nearest[1][:, 0] == lists).all()
    live = np.isin(lists, [2, 5, 6])
    filled = segment_index.filled_lists(lists, live)
    assert np.flatnonzero(filled).tolist() == [2, 5, 6]
    assert segment_index.filled_lists(lists, np.ones(len(lists), bool)) is None
    for most in (2, 8):
        chosen = faiss_search.assign_lists(index, vectors, most, filled)
        assert chosen is not None
        expected = [[n for n in line if n in (2, 5, 6)][:most] for line in nearest[1].tolist()]
        assert chosen[1].tolist() == expected


def test_vectors_to_search_for_may_be_of_any_numbers_that_are_finite(tmp_path: Path) -> None:
    opened = Store.open(make_store(tmp_path, "IVF8,SQ8"))
    vectors = make_vectors(6, seed=78)
    expected = opened.rank(vectors, 5)
    for same in (vectors.tolist(), vectors.astype(np.float64), np.asfortranarray(vectors)):
        assert opened.rank(same, 5) == expected
        assert opened.nearest(same, 5)[1].tolist() == opened.nearest(vectors, 5)[1].tolist()
    for number in (np.nan, np.inf, 1e300):
        wrong = vectors.astype(np.float64)
        wrong[4, 2] = number
        for search in (opened.rank, opened.nearest, opened.search_vectors):
            with pytest.raises(BadInput, match="question vector 4 has a number that is not fin"):
                search(wrong, 5)
    for shape in (vectors[0], vectors[:, :3], vectors[None]):
        with pytest.raises(BadInput, match=r"question vectors of shape \(.*needs \[n, 8\]"):
            opened.nearest(shape, 5)
    for odd in ([["a"] * 8], [[1.0] * 8, [1.0]]):
        with pytest.raises(BadInput, match="can't be taken for numbers"):
            opened.rank(odd, 5)


def test_a_column_that_a_segment_lacks_is_null_there(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    add_segment(store, "one", {"a": 1, "b": 1}, metadata={"year": pa.int16()})
    add_segment(store, "two", {"c": 1, "d": 1}, metadata={"size": pa.int16()}, seed=2)
    opened = Store.open(store)

    def found(where: str) -> set[str]:
        hits = opened.search_vectors(make_vectors(1, seed=78), 10, where)
        return {hit.document_id for hit in hits[0]}

    assert found("year is null") == {"c", "d"}
    assert found("year >= 0 or size = 1") == {"a", "b", "d"}
    assert found("size is null") == {"a", "b"}


def test_columns_that_sql_can_not_read_do_no_harm_elsewhere(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    columns = {
        "year": pa.int16(), "half": pa.float16(), "wide": pa.decimal256(60, 2),
        "Tag": pa.int8(), "tag": pa.int8(),
    }  # fmt: skip
    add_segment(store, "one", {"a": 1, "b": 1, "c": 1}, metadata=columns)
    opened, query = Store.open(store), make_vectors(1, seed=78)

    def found(where: str) -> set[str]:
        return {hit.document_id for hit in opened.search_vectors(query, 10, where)[0]}

    assert found("year >= 1") == {"b", "c"}
    assert found("document_id <> 'a'") == {"b", "c"}
    assert found("true") == {"a", "b", "c"}
    with pytest.raises(BadInput, match="'Tag' and 'tag' apart"):
        opened.search_vectors(query, 10, "tag = 1")
    with pytest.raises(BadInput, match="condition 'wide > 1' can't be used"):
        opened.search_vectors(query, 10, "wide > 1")


def with_vectors(monkeypatch: pytest.MonkeyPatch, vectors: np.ndarray) -> None:
    """From now on the parts of every segment have these vectors."""
    monkeypatch.setattr("transforms.index.vector.build.read_vectors", lambda *_: iter([vectors]))
    shards_of(monkeypatch, 1 << 30)


def test_new_rows_use_the_trained_index_of_older_ones_and_their_drift_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path, "IVF8,SQ8")
    add_segment(store, "two", {f"e{n}": 1 for n in range(400)}, seed=9, index=None)
    older, newer = Store.open(store).segments
    before = trained_before([older, newer])
    assert [each.segment for each in before] == ["one"]
    paths, options = SegmentPaths(store, "two"), IndexOptions("IVF8,SQ8", 0.8)
    made = build_index(paths, newer.parts, DIM, options, IndexHelp(before))
    assert made is not None
    assert older.index is not None
    assert older.index.trained is not None
    assert made.trained is not None
    assert made.trained.sha256 == older.index.trained.sha256
    assert made.drift == pytest.approx(1, abs=0.3)
    assert "trained for segment one, and off these rows" in made.why
    assert "trained anew" not in made.why
    # A third segment measures against the rows of the first as well.
    again = trained_before([older, replace(newer, index=made)])
    assert again[0].error == pytest.approx(older.index.error)
    # A factory that is chosen takes what there is; one that was given does not.
    for option, reused in (("ivf", True), ("IVF4,SQ8", False), ("hnsw", False)):
        plan = plan_index(newer.parts, DIM, IndexOptions(option), before)
        assert plan is not None
        assert (plan.before is not None) == reused
    far = make_vectors(400, 3)
    far[:, 0] = np.abs(far[:, 0]) * 30
    with_vectors(monkeypatch, far)
    drifted = build_index(paths, newer.parts, DIM, IndexOptions("IVF8,SQ8", 0.1), IndexHelp(before))
    assert drifted is not None
    # They are too far off, and get an index of their own.
    assert re.search(
        r", trained anew: its rows lie \d+\.\d\d times as far off .* one as those$", drifted.why
    )
    assert drifted.drift is None
    assert drifted.trained is not None
    assert drifted.trained.sha256 != older.index.trained.sha256
    alone = build_index(paths, newer.parts, DIM, IndexOptions("IVF8,SQ8", 0.1))
    assert alone is not None
    assert (drifted.trained, drifted.error) == (alone.trained, alone.error)


def test_a_miss_of_a_reused_index_names_the_way_to_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_candidates(monkeypatch)
    store = make_store(tmp_path, "PQ2x4", 0.01)
    add_segment(store, "two", {f"e{n}": 1 for n in range(400)}, seed=9, index=None)
    older, newer = Store.open(store).segments
    paths, options = SegmentPaths(store, "two"), IndexOptions("PQ2x4", 0.99)
    with pytest.raises(
        RecallMissed, match=r"segment one: publish .* --index flat, then albeam index trains anew$"
    ):
        build_index(paths, newer.parts, DIM, options, IndexHelp(trained_before([older, newer])))


def test_a_graph_that_was_not_asked_for_and_misses_is_published_and_scanned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("transforms.index.vector.selection._EXACT_BYTES", 100)
    few_candidates(monkeypatch)
    monkeypatch.setattr("transforms.index.vector.faiss_factory._MOST_EF", 16)
    monkeypatch.setattr("transforms.index.vector.selection._GRAPH_LINKS", 2)
    store = make_store(tmp_path, "Flat")
    with pytest.raises(RecallMissed, match="index HNSW2 of 1,200 rows"):
        index.run(store, IndexOptions("hnsw", 0.9999))
    assert main(["index", store, "--index", "auto", "--recall-target", "0.9999"]) == 0
    [info] = Store.open(store).segments
    assert info.index is not None
    assert info.index.factory == "HNSW2"
    assert [setting.value for setting in info.index.settings] == [0]
    assert info.index.why.endswith(": each search scans all float16 vectors")
    assert recall_at_10(store, np.ones(ROWS, bool)) >= 0.999
    assert recall_at_10(store, np.arange(ROWS) % 2 == 0, "year % 2 = 0") >= 0.999
    capsys.readouterr()
    assert main(["tune", store, "--queries", "9", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["setting"] for row in rows if row["chosen"]] == [0]
    assert rows[0]["recall_at_10"] == 1.0


def test_questions_that_are_given_must_reach_the_target_too(tmp_path: Path) -> None:
    store = make_store(tmp_path, "Flat")
    [info] = Store.open(store).segments
    paths, options = SegmentPaths(store, "one"), IndexOptions("IVF8,SQ8", 0.9)
    questions = write_questions(paths, make_vectors(40, seed=12))
    made = build_index(paths, info.parts, DIM, options, IndexHelp((), questions))
    assert made is not None
    asked = [setting.questions_at_10 for setting in made.settings]
    assert all(value is not None and value >= 0.9 for value in asked)
    plain = build_index(paths, info.parts, DIM, options)
    assert plain is not None
    # Where none are given, some are made, and held to the same.
    asked = [setting.questions_at_10 for setting in plain.settings]
    assert all(value is not None and value >= 0.9 for value in asked)
    assert asked != [setting.questions_at_10 for setting in made.settings]


def test_shards_of_unequal_size_share_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In the small one a scan costs less than the least setting, where few rows live.
    monkeypatch.setattr(
        shard_layout,
        "plan_shards",
        lambda parts, _: [
            shard_layout.ShardPlan(0, 0, parts[:5]),
            shard_layout.ShardPlan(1, 1_000, parts[5:]),
        ],
    )
    store = make_store(tmp_path, "HNSW16")
    [info] = Store.open(store).segments
    assert info.index is not None
    assert [shard.rows for shard in info.index.shards] == [1_000, 200]
    assert recall_at_10(store, np.ones(ROWS, bool)) >= 0.9
    remove_documents(store, [f"d{n:04d}" for n in range(ROWS) if n % 2])
    assert recall_at_10(store, np.arange(ROWS) % 2 == 0) >= 0.85


@pytest.mark.parametrize("scale", [1e-3, 30.0])
def test_recall_does_not_depend_on_the_length_of_vectors(tmp_path: Path, scale: float) -> None:
    vectors = np.repeat(make_vectors(300, 5), 4, axis=0) * np.float32(scale)
    [shard] = built(vectors, "IVF16,Flat", tmp_path, 1.0)
    assert shard.report is not None
    own = np.full(len(shard.report.exact[1.0][0]), -1)
    figures = [
        measure([shard.report], own, 1.0, value).at_10
        for share, value in shard.report.found
        if share == 1.0
    ]
    assert figures == sorted(figures)
    assert figures[0] < 1.0
    assert figures[-1] == 1.0


def test_numbers_that_float16_can_not_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a vector has a number above 65504"):
        built(make_vectors(400, 1) * np.float32(1e6), "IVF8,SQ8", tmp_path)


def test_a_manifest_that_stands_gets_the_index_that_was_built_now(tmp_path: Path) -> None:
    store = make_store(tmp_path, "Flat")
    [info] = Store.open(store).segments
    index.run(store, IndexOptions("HNSW16", 0.8))
    # The first index is needed no more, and goes.
    vacuum.run(store, keep=1, older_than=-60, dry_run=False)
    paths = SegmentPaths(store, "one")
    made = build_index(paths, info.parts, DIM, IndexOptions("IVF8,SQ8", 0.8))
    [_] = _CommitFn(store, "replace", "test").process(replace(info, index=made))
    [now] = Store.open(store).segments
    assert now.index == made
    verify.run(store)
    assert recall_at_10(store, np.ones(ROWS, bool)) >= 0.75


def test_all_segments_are_claimed_until_the_last_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path, "Flat")
    add_segment(store, "two", {f"e{n}": 1 for n in range(400)}, seed=5)
    claimed: list[str] = []

    def claiming(*segments: SegmentPaths) -> Any:
        claimed.extend(paths.name for paths in segments)
        return contextlib.nullcontext()

    monkeypatch.setattr(index, "claiming", claiming)
    index.run(store, IndexOptions("IVF8,SQ8", 0.8))
    assert claimed == ["one", "two"]


def test_every_setting_is_measured_and_the_used_one_is_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(tmp_path, "IVF8,SQ8")
    remove_documents(store, ["d0003"])
    plot = tmp_path / "tune.svg"
    assert main(["tune", store, "--queries", "50", "--plot", str(plot), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    rows = said["rows"]
    assert [row["setting"] for row in rows] == [1, 2, 4, 8]
    assert (said["queries"], said["factories"]) == (50, ["IVF8,SQ8"])
    recalls = [row["recall_at_10"] for row in rows]
    assert recalls == sorted(recalls)
    assert recalls[0] < recalls[-1] == 1.0
    assert all(row["milliseconds"] > 0 for row in rows)
    settings = Store.open(store).segments[0].index.settings
    assert [row["setting"] for row in rows if row["chosen"]] == [settings[0].value]
    circles = ElementTree.parse(plot).getroot().findall(".//{http://www.w3.org/2000/svg}circle")
    kinds = [circle.get("class") for circle in circles]
    assert sorted(kinds) == ["dot", "dot", "dot", "dot chosen"]
    assert main(["tune", store, "--queries", "5"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[1].split() == ["setting", "recall@10", "recall@100", "ms", "a", "query"]
    assert sum("<- used" in line for line in table) == 1


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8))
def test_the_line_joins_what_no_quicker_setting_equals(pairs: list[tuple[int, int]]) -> None:
    rows = [{"milliseconds": float(ms), "recall_at_10": recall / 10} for ms, recall in pairs]
    best = [pairs[n] for n in best_rows(rows)]
    for ms, recall in pairs:
        assert any(theirs <= ms and found >= recall for theirs, found in best)
    assert all(one[0] < two[0] and one[1] < two[1] for one, two in pairwise(best))


def test_what_can_not_be_tuned_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = make_store(tmp_path, "Flat")
    assert main(["tune", exact, "--queries", "5", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)["rows"]
    assert (row["setting"], row["recall_at_10"], row["chosen"]) == (0, 1.0, True)
    assert main(["tune", exact, "--queries", "0"]) == 2
    assert "queries is 0" in capsys.readouterr().err
    monkeypatch.setattr(
        "pipeline.maintenance.tune.exact_nearest", lambda *_: pytest.fail("it measures")
    )
    (tmp_path / "folder.svg").mkdir()
    for name, why in (
        ("tune.png", "Give a file name that ends in .svg"),
        ("tune", "Give a file name that ends in .svg"),
        ("none/tune.svg", "its folder does not exist"),
        ("folder.svg", "is a folder"),
    ):
        assert main(["tune", exact, "--plot", str(tmp_path / name)]) == 2
        assert why in capsys.readouterr().err
    bare = str(tmp_path / "bare")
    add_segment(bare, "one", {"a": 1}, index=None)
    assert main(["tune", bare]) == 2
    assert "build one with albeam index" in capsys.readouterr().err
    remove_documents(bare, ["a"])
    assert main(["tune", bare]) == 2
    assert "has no passage" in capsys.readouterr().err


def test_an_index_that_can_not_skip_rows_is_scanned_where_some_are_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shards_of(monkeypatch, ROWS)
    store = make_store(tmp_path, "Flat")
    command = ["index", store, "--index", "IVF8,RQ2x4", "--recall-target", "0.1"]
    assert main(command) == 0
    said = "scanned where not all rows are wanted, for FAISS skips none in it"
    assert said in capsys.readouterr().err
    remove_documents(store, ["d0003"])
    assert main(["tune", store, "--queries", "20", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["recall_at_10"] for row in rows} == {1.0}
    # Bare rows have half the bits.
    assert recall_at_10(store, np.arange(ROWS) != 3) > 0.99


@pytest.mark.parametrize("factory", ["Flat", "IVF8,SQ8", "HNSW16"])
def test_no_passages_at_all_are_not_asked_for(tmp_path: Path, factory: str) -> None:
    opened = Store.open(make_store(tmp_path, factory))
    for k in (0, -1):
        with pytest.raises(BadInput, match=f"^k is {k}: give 1 or more"):
            opened.nearest(make_vectors(2, seed=78), k)


def test_an_index_that_can_not_be_read_back_is_not_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path, "Flat")
    write = faiss_files.write_index

    def torn(made: Any, path: str) -> None:
        write(made, path)
        if made.ntotal:
            os.truncate(path, os.path.getsize(path) - 40)

    monkeypatch.setattr(faiss_files, "write_index", torn)
    assert main(["index", store, "--index", "IVF8,SQ8", "--recall-target", "0.5"]) == 2
    assert "index 'IVF8,SQ8' of these rows can't be read as FAISS" in capsys.readouterr().err
    assert read_snapshot(store).number == 1


def test_a_graph_of_rows_doubled_by_the_hundred_is_not_published(tmp_path: Path) -> None:
    # It falls apart: the links of a row all lead to its equals.
    vectors = np.repeat(make_vectors(3, 4), 400, axis=0)
    with pytest.MonkeyPatch.context() as patched:
        with_vectors(patched, vectors)
        documents = {f"d{n}": 1 for n in range(len(vectors))}
        with pytest.raises(
            RecallMissed, match=r"HNSW16 of 1,200 rows: recall@10 is 0\.\d+ at most"
        ):
            add_segment(str(tmp_path / "s"), "one", documents, index="HNSW16", recall_target=1.0)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("factory", ["IVF8,SQ8", "RR8,IVF8,PQ4x4fsr", "IVF8,Flat"])
def test_rows_that_are_all_equal_or_doubled_by_the_hundred_are_found(
    tmp_path: Path, factory: str, rows: int
) -> None:
    store = str(tmp_path / "store")
    vectors = np.repeat(make_vectors(rows, 4), 1_200 // rows, axis=0)
    with pytest.MonkeyPatch.context() as patched:
        with_vectors(patched, vectors)
        documents = {f"d{n}": 1 for n in range(len(vectors))}
        add_segment(store, "one", documents, index=factory, recall_target=1 - 1e-9)
        [info] = Store.open(store).segments
        assert info.index is not None
        assert info.index.factory == factory
        assert info.index.settings[0].recall_at_10 == 1.0
        scores, found = Store.open(store).nearest(vectors[:1], 10)
    assert set((found[0] // (1_200 // rows)).tolist()) == {0}
    np.testing.assert_allclose(scores, float(vectors[0] @ vectors[0]), rtol=2e-3)


@pytest.mark.parametrize("factory", ["IVF4,Flat", "PCA4,IVF4,Flat", "OPQ2_4,IVF4,PQ2x4"])
def test_centres_are_trained_where_faiss_sees_a_gpu_by_their_own_width(
    factory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths = []

    def to_gpus(index: Any) -> Any:
        widths.append(index.d)
        return index

    monkeypatch.setattr(faiss_training, "gpus", lambda: 1)
    monkeypatch.setattr(faiss_training.faiss, "index_cpu_to_all_gpus", to_gpus, raising=False)
    made = faiss_training.train_index(factory, DIM, make_vectors(400, 1), gpu=True)
    assert made.is_trained
    assert widths == [DIM if factory.startswith("IVF") else 4]


def test_a_gpu_that_is_not_there_is_not_asked() -> None:
    assert faiss_search.gpus() >= 0
    made = faiss_training.train_index("IVF4,Flat", DIM, make_vectors(200, 1), gpu=True)
    assert made.is_trained
