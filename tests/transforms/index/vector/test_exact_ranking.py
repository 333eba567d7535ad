"""The best rows by exact scores, with equal vectors in the order of their rows."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.stores import make_vectors
from transforms.index.products import products
from transforms.index.vector import exact_ranking
from transforms.index.vector.exact_ranking import exact_search, rank_exactly, scan
from transforms.index.vector.faiss_factory import kind_of
from transforms.index.vector.faiss_search import search_index, vectors_of
from transforms.index.vector.faiss_training import fill_index, train_index
from transforms.index.vector.float16_vectors import rounded
from transforms.index.vector.segment_index import search_shard

DIM = 24


def repeated(rows: int, different: int, seed: int) -> np.ndarray:
    """Return vectors, many of which are equal."""
    dice = np.random.default_rng(seed)
    return make_vectors(different, seed, DIM)[dice.integers(different, size=rows)]


def whole_ranking(vectors: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all rows by exact scores, equal ones by number."""
    scores = products(np.repeat(vectors[None], len(queries), 0), queries)
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(scores, order, 1), order


@given(st.integers(1, 120), st.integers(1, 12), st.integers(1, 5), st.integers(0, 9_999))
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("half", [False, True])
def test_a_longer_ranking_begins_with_a_shorter_one(
    half: bool, rows: int, different: int, questions: int, seed: int
) -> None:
    vectors, queries = repeated(rows, different, seed), make_vectors(questions, seed + 1, DIM)
    index = train_index("Flat", DIM, vectors)
    fill_index(index, rows, [vectors])
    expected = whole_ranking(rounded(vectors) if half else vectors, queries)
    block = seed % rows + 1

    def by_index(k: int) -> tuple[np.ndarray, np.ndarray]:
        def search(some: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
            return search_index(index, some, most)

        return rank_exactly(search, lambda at: vectors_of(index, at), queries, k, rows, half)

    def by_scan(k: int) -> tuple[np.ndarray, np.ndarray]:
        pieces = np.array_split(vectors, 3)
        return exact_search(iter(pieces), queries, k, half=half)

    ways: list[Callable[[int], tuple[np.ndarray, np.ndarray]]] = [by_index, by_scan]
    if half:
        ways.append(lambda k: scan(vectors.astype(np.float16), queries, k, None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_ranking, "_MORE", 1)
        patch.setattr(exact_ranking, "BLOCK", block)
        for way in ways:
            for k in (1, 2, rows // 2 + 1, rows):
                scores, found = way(k)
                np.testing.assert_array_equal(found, expected[1][:, :k])
                np.testing.assert_array_equal(scores, expected[0][:, :k])


def test_scores_and_order_do_not_depend_on_the_number_of_questions() -> None:
    vectors, queries = repeated(900, 40, 1), make_vectors(70, 2, DIM)
    for half in (False, True):
        many = exact_search([vectors], queries, 30, half=half)
        for place in range(0, 70, 9):
            one = exact_search(
                np.array_split(vectors, 7), queries[place : place + 1], 30, half=half
            )
            np.testing.assert_array_equal(one[0][0], many[0][place])
            np.testing.assert_array_equal(one[1][0], many[1][place])


@pytest.mark.parametrize("factory", ["IVF4,Flat", "IVF4,SQ8", "IVF8,PQ4x4fs", "SQ8", "HNSW16"])
def test_of_equal_vectors_an_index_finds_those_with_the_lowest_numbers(factory: str) -> None:
    vectors = make_vectors(4_000, 1, DIM)
    # More than any search asks for at first.
    same = np.arange(3, 4_000, 3)
    vectors[same] = vectors[3]
    raw = vectors.astype(np.float16)
    index = train_index(factory, DIM, rounded(vectors))
    fill_index(index, len(vectors), [rounded(vectors)])
    kind = kind_of(factory, DIM)
    for k in (1, 10, 40):
        for queries in (vectors[3:4], np.concatenate([vectors[3:4], make_vectors(30, 2, DIM)])):
            given = kind.candidates(k), None, 4_000
            scores, rows = search_shard(index, raw, queries, k, *given)
            assert rows[0].tolist() == same[:k].tolist()
            assert len(set(scores[0].tolist())) == 1
