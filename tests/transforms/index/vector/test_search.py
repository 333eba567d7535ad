"""Searches of vector indexes: conditions, topics, lists, and the queries that are accepted."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.support.raising import raises
from tests.support.stores import add_segment, live_ids, make_vectors
from tests.transforms.index.vector.stores import ROWS, few_candidates, make_store, vectors_of
from transforms.errors import BadInput
from transforms.index.vector import faiss_search, segment_index, shard_recall
from transforms.index.vector.recall import alike_rows
from transforms.search.store import Store
from transforms.transactions.removal import remove_documents

pytestmark = pytest.mark.usefixtures("small_shards")


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
        hits = opened.search(queries, 10, where=where)
        assert [len(line) for line in hits] == [min(10, int(meets.sum()))] * 4
        assert {hit.document_id for line in hits for hit in line} <= set(names[meets])
    with pytest.raises(BadInput) as caught:
        opened.search(queries, 10, where="color = 'red'")
    assert caught.value.option == "where"
    assert "color" in caught.value.problem
    assert "document_id (string), year" in caught.value.remedy


@pytest.mark.parametrize("factory", ["IVF32,Flat", "IVF32,SQ8", "HNSW16"])
@pytest.mark.parametrize("share", [0.4, 0.15, 0.03])
def test_rows_of_one_topic_are_found_from_far_away_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factory: str, share: float
) -> None:
    few_candidates(monkeypatch)
    store = make_store(tmp_path, factory)
    vectors, queries = vectors_of(store), make_vectors(100, seed=77)
    live = alike_rows(share, vectors @ make_vectors(1, seed=5)[0])
    _, rows = Store.open(store).dense.index(0).search(queries, 10, live)
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
    made, _ = Store.open(store).dense.index(0).open(info.index.shards[0])
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
    index, _ = Store.open(store).dense.index(0).open(info.index.shards[1])
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
    expected, nearest = opened.search(vectors, 5), opened.nearest(vectors, 5)[1].tolist()
    for same in (vectors.astype(np.float64), np.asfortranarray(vectors)):
        assert opened.search(same, 5) == expected
        assert opened.nearest(same.tolist(), 5)[1].tolist() == nearest
    for number in (np.nan, np.inf, 1e300):
        wrong = vectors.astype(np.float64)
        wrong[4, 2] = number
        for search in (opened.nearest, opened.search):
            with raises(BadInput, "question vector", 4):
                search(wrong, 5)
    for shape in (vectors[0], vectors[:, :3], vectors[None]):
        with raises(BadInput, "question vectors", problem="shape") as caught:
            opened.nearest(shape, 5)
        assert "[n, 8]" in caught.value.remedy
    for odd in ([["a"] * 8], [[1.0] * 8, [1.0]]):
        with raises(BadInput, "question vectors"):
            opened.nearest(odd, 5)


def test_a_column_that_a_segment_lacks_is_null_there(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    add_segment(store, "one", {"a": 1, "b": 1}, metadata={"year": pa.int16()})
    add_segment(store, "two", {"c": 1, "d": 1}, metadata={"size": pa.int16()}, seed=2)
    opened = Store.open(store)

    def found(where: str) -> set[str]:
        hits = opened.search(make_vectors(1, seed=78), 10, where=where)
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
        return {hit.document_id for hit in opened.search(query, 10, where=where)[0]}

    assert found("year >= 1") == {"b", "c"}
    assert found("document_id <> 'a'") == {"b", "c"}
    assert found("true") == {"a", "b", "c"}
    # Types that DuckDB lacks are converted.
    assert found("wide > 1 and half > 1") == {"c"}
    assert found("tag = 1") == {"b"}
    with pytest.raises(BadInput, match="'Tag' and 'tag'"):
        opened.search(query, 10, where="TAG = 1")


@pytest.mark.parametrize("factory", ["Flat", "IVF8,SQ8", "HNSW16"])
def test_no_passages_at_all_are_not_asked_for(tmp_path: Path, factory: str) -> None:
    opened = Store.open(make_store(tmp_path, factory))
    for k in (0, -1):
        with raises(BadInput, "k", k):
            opened.nearest(make_vectors(2, seed=78), k)
