"""Searches for documents that are like others."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.raising import raises
from tests.support.stores import add_segment
from transforms.errors import BadInput
from transforms.search.more_like import direction
from transforms.search.store import Store
from transforms.storage.schema import VECTOR
from transforms.storage.vectors import vectors_to_numpy
from transforms.transactions.removal import remove_documents


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    url = str(tmp_path_factory.mktemp("like") / "store")
    add_segment(url, "one", {f"a{n}": 1 + n % 3 for n in range(30)}, parts=2)
    add_segment(url, "two", {f"b{n}": 1 for n in range(30)}, index=None, seed=1)
    remove_documents(url, ["a4", "b4"])
    return Store.open(url)


def means(store: Store) -> dict[str, np.ndarray]:
    """The unit mean of each live document."""
    rows: dict[str, list[np.ndarray]] = {}
    for table in store.documents(["document_id", VECTOR]):
        names, vectors = table.column(0).to_pylist(), vectors_to_numpy(table.column(1))
        for name, vector in zip(names, vectors, strict=True):
            rows.setdefault(name, []).append(vector)
    found = {name: np.mean(each, axis=0) for name, each in rows.items()}
    return {name: mean / np.linalg.norm(mean) for name, mean in found.items()}


@pytest.mark.parametrize("unlike", [[], ["b2"], ["b2", "a11"]])
def test_the_nearest_documents_to_the_formula_are_found_without_the_given_ones(
    store: Store, unlike: list[str]
) -> None:
    like, known = ["a1", "a5", "b7"], means(store)
    expected = np.mean([known[name] for name in like], axis=0)
    if unlike:
        expected = expected - 0.5 * np.mean([known[name] for name in unlike], axis=0)
    expected = expected / np.linalg.norm(expected)
    vector = direction(store, like, unlike)
    assert vector.shape == (1, len(expected))
    np.testing.assert_allclose(vector[0], expected, atol=1e-6)
    [every] = store.search(vector, 60, "dense")
    others = [hit.document_id for hit in every if hit.document_id not in {*like, *unlike}]
    [hits] = store.search_like(like, unlike, k=7)
    assert [hit.document_id for hit in hits] == others[:7]
    assert [hit.rank for hit in hits] == list(range(1, 8))
    [page] = store.search_like(like, unlike, k=5, offset=5)
    assert [(hit.rank, hit.document_id) for hit in page] == list(enumerate(others[5:10], 6))


def test_hits_meet_the_condition_which_the_given_documents_need_not(store: Store) -> None:
    [hits] = store.search_like(["a1"], k=60, where="document_id LIKE 'b%'")
    assert {hit.document_id for hit in hits} == {f"b{n}" for n in range(30) if n != 4}


def test_wrong_ids_are_named(store: Store) -> None:
    for name in ("a4", "zz", "", "\ud800"):
        with raises(BadInput, "like", name):
            store.search_like(["a1", name])
    with raises(BadInput, "unlike", "zz"):
        store.search_like(["a1"], ["zz"])
    with raises(BadInput, "unlike", "a1"):
        store.search_like(["a2", "a1"], ["a1"])
    with raises(BadInput, "like", "a1"):
        store.search_like("a1")
    with raises(BadInput, "like", None):
        store.search_like([])
    with raises(BadInput, "k", 0):
        store.search_like(["a1"], k=0)


def test_half_of_a_document_is_left_if_an_equal_one_is_unlike(tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    add_segment(url, "one", {"a": 1, "b": 1})
    add_segment(url, "two", {"c": 1})
    store = Store.open(url)
    assert means(store)["a"] == pytest.approx(means(store)["c"])
    vector = direction(store, ["a"], ["c"])
    np.testing.assert_allclose(vector[0], means(store)["a"], atol=1e-6)
