"""Centres and nearest centres: against exact float32 arithmetic and FAISS's own k-means."""

import faiss
import numpy as np
import pytest

from tests.support.stores import make_vectors
from transforms.index.vector import faiss_search, faiss_training, kmeans
from transforms.index.vector.exact_ranking import exact_search
from transforms.index.vector.kmeans import Centres, Vectors, cluster
from transforms.index.vector.kmeans_choice import worthwhile
from transforms.runtime import devices

#: Half of bfloat16's last place for a score near 1.
ROUNDING = 2**-8


def clustered(rows: int, dim: int, seed: int) -> Vectors:
    """Unit vectors round fifty points that lie off the origin."""
    dice = np.random.default_rng(seed)
    middle = dice.normal(size=(50, dim)) + 1
    found = middle[dice.integers(0, 50, rows)] + 0.3 * dice.normal(size=(rows, dim))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize(("rows", "lists"), [(1, 1), (1, 7), (130, 3), (5_000, 1_024)])
def test_the_nearest_centre_is_that_of_float32_but_for_rounding(rows: int, lists: int) -> None:
    vectors, centres = clustered(rows, 16, 0), clustered(lists, 16, 1)
    exact = vectors @ centres.T
    near = Centres(centres).nearest(vectors)
    assert near.dtype == np.int64
    assert near.shape == (rows,)
    lost = exact.max(axis=1) - exact[np.arange(rows), near]
    assert lost.max() <= 2 * ROUNDING
    assert (near == exact.argmax(axis=1)).mean() > 0.9


def test_no_row_has_no_centre() -> None:
    assert Centres(make_vectors(3, 0)).nearest(make_vectors(0, 0)).tolist() == []


def test_clusters_are_as_tight_as_those_of_faiss() -> None:
    rows = clustered(6_000, 32, 3)
    ours, theirs = [], []
    for seed in range(4):
        plain = faiss.Kmeans(32, 64, niter=10, spherical=True, seed=seed)
        plain.train(rows)
        theirs.append((rows @ plain.centroids.T).max(axis=1).mean())
        centres = cluster(rows, 64, seed)
        ours.append((rows @ centres.T).max(axis=1).mean())
        np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, rtol=1e-5)
    assert np.mean(ours) > np.mean(theirs) - 0.01
    np.testing.assert_array_equal(centres, cluster(rows, 64, 3))


@pytest.mark.parametrize("distinct", [1, 5])
def test_lists_without_rows_share_the_largest(distinct: int) -> None:
    rows = np.repeat(clustered(distinct, 8, 4), 200, axis=0)
    centres = cluster(rows, 32)
    assert np.isfinite(centres).all()
    assert (rows @ centres.T).max(axis=1).min() > 0.99


@pytest.mark.slow
@pytest.mark.parametrize(
    "factory",
    [
        "IVF32,Flat",
        "IVF32,SQ8",
        "IVF32,PQ4x4",
        "IVF32_HNSW8,Flat",
        "OPQ4_8,IVF32,PQ4x4",
        "OPQ4,IVF32,PQ4x4",
        "IVF32,PQ4x4fs",
        "RR16,IVF32,PQ8x4fsr",
        "HNSW8",
    ],
)
def test_an_index_finds_with_these_centres_what_it_finds_with_those_of_faiss(
    factory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = clustered(4_000, 16, 5)
    queries = clustered(100, 16, 6)
    live = np.arange(len(rows)) % 3 > 0
    _, exact = exact_search([rows], queries, 10, live)
    found = []
    for ours in (False, True):
        monkeypatch.setattr(faiss_training, "worthwhile", lambda *_, ours=ours: ours)
        index = faiss_training.train_index(factory, 16, rows)
        faiss_training.fill_index(index, len(rows), np.split(rows, [1_000, 1_001, 2_500]))
        assert index.ntotal == len(rows)
        lists = faiss_search.assign_lists(index, queries, 8)
        _, names = faiss_search.search_index(index, queries, 10, live, 8)
        hits = [len(set(a) & set(b)) for a, b in zip(names.tolist(), exact.tolist(), strict=True)]
        found.append(np.mean(hits) / 10)
        if lists is not None:
            _, same = faiss_search.search_index(index, queries, 10, live, 0, lists)
            np.testing.assert_array_equal(same, names)
    assert found[1] > found[0] - 0.05
    assert found[1] > 0.05
    assert faiss_search.count_lists(index) == (32 if "IVF" in factory else 0)


@pytest.mark.parametrize("factory", ["IVF16,PQ4x4fs", "RR16,IVF16,PQ8x4fsr"])
def test_codes_in_blocks_are_those_that_faiss_makes(
    factory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, queries = clustered(2_000, 16, 7), clustered(50, 16, 8)
    index = faiss_training.train_index(factory, 16, rows)
    twin = faiss_training.train_index(factory, 16, rows)
    twin.add(rows)
    monkeypatch.setattr(faiss_training, "worthwhile", lambda *_: True)
    faiss_training.fill_index(index, len(rows), [rows])
    expected, found = (faiss_search.row_lists(each, len(rows)) for each in (twin, index))
    assert expected is not None
    assert found is not None
    # A row that lies between two centres is in one of both.
    alike = expected == found
    assert alike.mean() > 0.98
    mine, theirs = (
        faiss_search.search_index(each, queries, 10, alike, 16) for each in (index, twin)
    )
    np.testing.assert_allclose(mine[0], theirs[0], rtol=1e-5)


@pytest.mark.parametrize("factory", ["IVF32,SQ8", "RR16,IVF32,PQ8x4fsr", "OPQ4,IVF32,PQ4x4"])
def test_a_sample_is_not_copied_to_be_turned(factory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, seen = clustered(2_000, 16, 9), []
    cluster = kmeans.cluster

    def watched(some: kmeans.Vectors, lists: int) -> kmeans.Vectors:
        seen.append(np.shares_memory(some, rows))
        return cluster(some, lists)

    monkeypatch.setattr(faiss_training, "worthwhile", lambda *_: True)
    monkeypatch.setattr(kmeans, "cluster", watched)
    assert faiss_training.train_index(factory, 16, rows).is_trained
    assert seen == [True]


def test_little_work_is_left_to_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "best_dtype", lambda _: "bfloat16")
    assert worthwhile(100_000, 1_024, 384)
    assert not worthwhile(1_000, 64, 384)
    monkeypatch.setattr(devices, "best_dtype", lambda _: "float32")
    assert not worthwhile(100_000, 1_024, 384)
