"""FAISS indexes, against brute force in numpy, and files that are not what they should be."""

from collections.abc import Callable, Iterator
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stores import make_vectors
from transforms import faiss_index
from transforms.errors import BadInput, Damaged
from transforms.faiss_index import (
    build_index,
    choose_factory,
    even_sample,
    exact_search,
    measure_recall,
    read_index,
    search_index,
    write_index,
)

DIM = 16


def chunks_of(vectors: np.ndarray, *sizes: int) -> Callable[[], Iterator[np.ndarray]]:
    """Gives the vectors in chunks that end at the sums of ``sizes``."""
    edges = np.cumsum(sizes)
    return lambda: iter(np.split(vectors, edges))


def brute_force(vectors: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    scores = queries @ vectors.T
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, rows, 1), rows


@given(st.integers(1, 300), st.integers(1, 5), st.integers(1, 40), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_flat_index_finds_what_brute_force_finds(
    rows: int, questions: int, k: int, seed: int
) -> None:
    vectors, queries = make_vectors(rows, seed, DIM), make_vectors(questions, seed + 1, DIM)
    built = build_index("Flat", DIM, rows, chunks_of(vectors, rows // 3))
    scores, found = search_index(built.index, queries, min(k, rows))
    expected_scores, expected = brute_force(vectors, queries, k)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-5)
    assert built.recall == 1.0


@given(st.integers(1, 200), st.lists(st.integers(0, 80), max_size=5), st.integers(1, 50))
@settings(max_examples=40, deadline=None)
def test_exact_search_in_chunks_finds_what_it_finds_in_the_whole(
    rows: int, sizes: list[int], k: int
) -> None:
    vectors, queries = make_vectors(rows, 5, DIM), make_vectors(3, 6, DIM)
    scores, found = exact_search(chunks_of(vectors, *sizes)(), queries, k)
    expected_scores, expected = brute_force(vectors, queries, k)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-5)


def test_exact_search_goes_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, queries = make_vectors(100, 1, DIM), make_vectors(4, 2, DIM)
    whole = exact_search(iter([vectors]), queries, 12)
    monkeypatch.setattr(faiss_index, "_BLOCK", 7)
    scores, rows = exact_search(iter([vectors]), queries, 12)
    np.testing.assert_array_equal(rows, whole[1])
    np.testing.assert_allclose(scores, whole[0], atol=1e-6)


def test_exact_search_of_nothing_finds_nothing() -> None:
    scores, rows = exact_search(iter([]), make_vectors(3, 0, DIM), 5)
    assert scores.shape == rows.shape == (3, 0)


def test_more_results_than_rows_are_filled_with_minus_one() -> None:
    vectors = make_vectors(5, 0, DIM)
    built = build_index("Flat", DIM, 5, chunks_of(vectors))
    _, rows = search_index(built.index, vectors[:2], 9)
    assert rows[:, 0].tolist() == [0, 1]
    assert sorted(rows[0].tolist()) == [-1, -1, -1, -1, 0, 1, 2, 3, 4]


@given(st.integers(1, 300), st.integers(1, 80), st.integers(0, 300))
def test_an_even_sample_has_its_rows_vectors_and_both_ends(rows: int, most: int, cut: int) -> None:
    vectors = np.arange(rows, dtype=np.float32)[:, None].repeat(2, 1)
    chosen, sample = even_sample(chunks_of(vectors, cut)(), rows, most)
    assert sample[:, 0].tolist() == chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == min(rows, most)
    assert chosen[0] == 0
    if most > 1:
        assert chosen[-1] == rows - 1
        assert np.diff(chosen).max(initial=1) <= rows / (min(rows, most) - 1 or 1) + 1


@pytest.mark.parametrize("option", ["auto", "flat", "Flat"])
def test_exact_is_what_auto_and_flat_mean(option: str) -> None:
    assert choose_factory(option, DIM, 10) == "Flat"


def test_none_means_no_index() -> None:
    assert choose_factory("none", DIM, 10) is None


@pytest.mark.parametrize("option", ["IVF10,Flat", "HNSW8", "SQ8", "IVF4,PQ4x4fs"])
def test_a_factory_of_faiss_is_taken_as_it_is(option: str) -> None:
    assert choose_factory(option, DIM, 10) == option


@pytest.mark.parametrize("option", ["Nonsense", "IVF", "PQ5x4", "", "flat,"])
def test_a_string_that_faiss_does_not_know_is_refused_with_a_remedy(option: str) -> None:
    with pytest.raises(
        BadInput, match=rf"^index '{option}' is no FAISS factory for 16 .*give auto"
    ):
        choose_factory(option, DIM, 1_000)


def test_more_lists_than_rows_are_refused() -> None:
    with pytest.raises(BadInput, match=r"'IVF64,Flat' has 64 lists for 63 rows; give at most 63"):
        choose_factory("IVF64,Flat", DIM, 63)
    assert choose_factory("IVF64,Flat", DIM, 64) == "IVF64,Flat"


@pytest.mark.parametrize("factory", ["IVF16,Flat", "IVF4,SQ8", "HNSW16"])
def test_an_approximate_index_is_trained_and_its_recall_measured(factory: str) -> None:
    vectors = make_vectors(1_000, 3, DIM)
    built = build_index(factory, DIM, 1_000, chunks_of(vectors, 300, 300))
    assert built.index.is_trained
    assert built.index.ntotal == 1_000
    assert 0.1 < built.recall <= 1.0
    _, rows = search_index(built.index, vectors[[0, 299, 300, 999]], 1)
    assert rows[:, 0].tolist() == [0, 299, 300, 999]


def test_recall_is_the_share_of_neighbours_found_without_the_row_itself() -> None:
    vectors = make_vectors(400, 4, DIM)
    index = faiss.index_factory(DIM, "IVF8,Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    sampled = np.unique(np.linspace(0, 399, 64).astype(np.int64))

    def by_hand() -> float:
        _, exact = brute_force(vectors, vectors[sampled], 400)
        _, found = index.search(vectors[sampled], 11)
        shares = []
        for row, best, ours in zip(sampled, exact, found, strict=True):
            neighbours = [r for r in best if r != row][:10]
            shares.append(len(set(neighbours) & set([r for r in ours if r != row][:10])) / 10)
        return float(np.mean(shares))

    poor = measure_recall(index, 400, chunks_of(vectors, 150))
    assert poor == pytest.approx(by_hand())
    index.nprobe = 8
    assert poor < 1.0 == measure_recall(index, 400, chunks_of(vectors, 150))


def test_recall_among_a_single_row_is_full() -> None:
    vectors = make_vectors(1, 0, DIM)
    index = build_index("Flat", DIM, 1, chunks_of(vectors)).index
    assert measure_recall(index, 1, chunks_of(vectors)) == 1.0


def test_an_index_that_can_not_be_trained_on_so_few_rows_is_refused() -> None:
    with pytest.raises(BadInput, match=r"'PQ4' can't be trained on 3 rows .*give --index flat"):
        build_index("PQ4", DIM, 3, chunks_of(make_vectors(3, 0, DIM)))


@pytest.mark.parametrize("rows", [4, 6])
def test_parts_with_other_rows_than_they_said_are_damage(rows: int) -> None:
    with pytest.raises(Damaged, match=f"the index got 5 rows where the parts have {rows}"):
        build_index("Flat", DIM, rows, chunks_of(make_vectors(5, 0, DIM)))


@pytest.fixture(params=["Flat", "IVF4,Flat", "HNSW8"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    vectors = make_vectors(200, 7, DIM)
    path = tmp_path / "index.faiss"
    write_index(build_index(request.param, DIM, 200, chunks_of(vectors)).index, str(path))
    return request.param, path


def test_a_written_index_is_read_back_and_finds_the_same(written: tuple[str, Path]) -> None:
    factory, path = written
    vectors = make_vectors(200, 7, DIM)
    before = search_index(
        build_index(factory, DIM, 200, chunks_of(vectors)).index, vectors[:20], 10
    )
    after = search_index(read_index(path, factory, DIM, 200), vectors[:20], 10)
    np.testing.assert_array_equal(after[1], before[1])
    np.testing.assert_allclose(after[0], before[0], atol=1e-6)


def test_an_index_file_that_is_cut_short_is_damaged_wherever_it_is_cut(
    written: tuple[str, Path],
) -> None:
    factory, path = written
    whole = path.read_bytes()
    for length in (*range(60), 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(Damaged, match=r"^index file .*index\.faiss (can't be read|has \d+ by)"):
            read_index(path, factory, DIM, 200)


@pytest.mark.parametrize("content", [b"hello", b"PAR1" * 5_000, bytes(20_000), b"IxFI" * 5_000])
def test_a_file_that_is_no_index_is_damaged(written: tuple[str, Path], content: bytes) -> None:
    factory, path = written
    path.write_bytes(content)
    with pytest.raises(Damaged, match=r"^index file .*index\.faiss"):
        read_index(path, factory, DIM, 200)


@pytest.mark.parametrize(("dim", "rows"), [(DIM, 201), (DIM, 199), (8, 200), (8, 400)])
def test_an_index_of_another_size_is_damaged(
    written: tuple[str, Path], dim: int, rows: int
) -> None:
    factory, path = written
    with pytest.raises(Damaged, match=r"index\.faiss has "):
        read_index(path, factory, dim, rows)
