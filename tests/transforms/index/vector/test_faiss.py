"""FAISS indexes, against brute force in numpy, and files that are not what they should be."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.stores import make_vectors
from transforms.errors import BadInput, Damaged
from transforms.index.vector import exact_ranking
from transforms.index.vector.exact_ranking import exact_search
from transforms.index.vector.faiss_factory import bytes_of_row, check_factory, kind_of, ladder
from transforms.index.vector.faiss_files import read_index, write_index
from transforms.index.vector.faiss_search import assign_lists, search_index
from transforms.index.vector.faiss_training import train_index

DIM = 16


def chunks_of(vectors: np.ndarray, *sizes: int) -> Callable[[], Iterator[np.ndarray]]:
    """Gives the vectors in chunks that end at the sums of ``sizes``."""
    edges = np.cumsum(sizes)
    return lambda: iter(np.split(vectors, edges))


def made(factory: str, vectors: np.ndarray) -> Any:
    """An index of these vectors, trained on them."""
    index = train_index(factory, vectors.shape[1], vectors)
    index.add(vectors)
    return index


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
    scores, found = search_index(made("Flat", vectors), queries, min(k, rows))
    expected_scores, expected = brute_force(vectors, queries, k)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-5)


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
    monkeypatch.setattr(exact_ranking, "BLOCK", 7)
    scores, rows = exact_search(iter([vectors]), queries, 12)
    np.testing.assert_array_equal(rows, whole[1])
    np.testing.assert_allclose(scores, whole[0], atol=1e-6)


def test_exact_search_of_nothing_finds_nothing() -> None:
    scores, rows = exact_search(iter([]), make_vectors(3, 0, DIM), 5)
    assert scores.shape == rows.shape == (3, 0)


def test_more_results_than_rows_are_filled_with_minus_one() -> None:
    vectors = make_vectors(5, 0, DIM)
    index = made("Flat", vectors)
    _, rows = search_index(index, vectors[:2], 9)
    assert rows[:, 0].tolist() == [0, 1]
    assert sorted(rows[0].tolist()) == [-1, -1, -1, -1, 0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "option", ["IVF10,Flat", "HNSW8", "SQ8", "IVF4,PQ4x4fs", "PCA8,Flat", "OPQ8,IVF4,PQ8"]
)
def test_a_factory_of_faiss_is_taken_as_it_is(option: str) -> None:
    check_factory(option, DIM)


@pytest.mark.parametrize("option", ["IDMap,Flat", "IVF16,PQ8,RFlat"])
def test_a_factory_that_can_not_be_filled_or_searched_is_refused_before_work(option: str) -> None:
    with pytest.raises(BadInput, match="can't be trained, filled and searched") as caught:
        check_factory(option, DIM)
    assert (caught.value.option, caught.value.value) == ("index", option)


#: Imports once, then checks each factory that it is given in a fork of its own.
_CHECKER = """
import json, os, sys
from transforms.errors import BadInput
from transforms.index.vector.faiss_factory import check_factory
for line in sys.stdin:
    option, dim = json.loads(line)
    child = os.fork()
    if not child:
        try: check_factory(option, dim)
        except BadInput as error: print(json.dumps(str(error)), flush=True)
        else: print(json.dumps(""), flush=True)
        os._exit(0)
    if (status := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])):
        print(json.dumps(f"crashed: {status}"), flush=True)
"""


@pytest.fixture(scope="module")
def refused() -> Iterator[Callable[[str, int], str]]:
    """The error text of a factory in a process of its own, "" for none; it must not crash."""
    checker = subprocess.Popen(
        [sys.executable, "-c", _CHECKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert checker.stdin is not None
    assert checker.stdout is not None

    def check(option: str, dim: int) -> str:
        print(json.dumps([option, dim]), file=checker.stdin, flush=True)
        return json.loads(checker.stdout.readline())

    yield check
    checker.stdin.close()
    assert checker.wait(60) == 0


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("HNSW0", "contains the number 0"),
        ("IVF0,Flat", "contains the number 0"),
        ("IVF4_HNSW1,Flat", "is a graph with one link per row"),
        ("PQ4x0", "contains the number 0"),
        ("IVF8,FlatDedup", "stores equal rows once"),
        ("PQ8x24", "has codes of 24 bits, but at most 16"),
        ("IVF16(PQ8x10),Flat", "has too few lists to train codes of 10 bits"),
        ("IVF16,PQ8x", "is not a FAISS factory string"),
        ("NSG16", "is a graph that can't be filled step by step"),
    ],
)
def test_what_faiss_would_crash_of_is_refused(
    option: str, why: str, refused: Callable[[str, int], str]
) -> None:
    assert refused(option, 384).startswith(f"index {option}: {why}")


@pytest.mark.parametrize(
    ("option", "least"),
    [
        ("OPQ48,PQ48x4", 0),
        ("OPQ48_96,IVF64,PQ48x4fs", 0),
        ("PCAR350,SQ8", 0),
        ("PCA32,HNSW16", 0),
        ("IVF16(PQ8x4),Flat", 16),
        ("PQ8x10", 1_024),
        ("IVF16,PQ8x10", 1_024),
        ("IVF300,PQ96x4fs", 300),
        ("RQ4x8", 0),
        ("HNSW2", 1),
    ],
)
@pytest.mark.parametrize("dim", [384, 768])
def test_wide_vectors_do_not_crash_a_probe(
    option: str, least: int, dim: int, refused: Callable[[str, int], str]
) -> None:
    assert refused(option, dim) == ""
    assert kind_of(option, dim).least == (least or dim)


def test_vectors_of_odd_width_can_have_codes() -> None:
    check_factory("IVF16,PQ3x4", 27)
    check_factory("PQ9x4fs", 27)


@pytest.mark.parametrize(
    "factory",
    [
        *("Flat", "SQ4", "PQ8x4fs", "RaBitQ", "IVF8,Flat", "IVF8,SQ6", "IVF8_HNSW8,SQ8", "HNSW8"),
        *("HNSW16_SQ8", "PCA8,IVF8,Flat", "OPQ4_8,IVF8,PQ4x4", "IVF8,RQ2x4", "IVF16(PQ4x4),Flat"),
        "RR16,IVF8,PQ8x4fsr",
    ],
)
def test_the_bytes_of_a_row_are_those_that_a_file_has_of_it(factory: str) -> None:
    vectors = make_vectors(4_000, 2, DIM)
    empty = train_index(factory, DIM, vectors)
    size = len(faiss.serialize_index(made(factory, vectors))) - len(faiss.serialize_index(empty))
    assert bytes_of_row(factory, DIM) == pytest.approx(size / 4_000, rel=0.05)


def test_codes_are_probed_and_trained_without_what_nobody_uses() -> None:
    began = time.process_time()
    kind_of("IVF17,PQ96", 384)
    # What orders the codes for another kind of search takes 3 seconds for each book.
    for factory in ("PQ48", "IVF4,PQ48"):
        assert made(factory, make_vectors(300, 3, 384)).ntotal == 300
    assert time.process_time() - began < 20


def test_a_graph_of_transformed_vectors_is_searched_as_widely_as_is_asked() -> None:
    assert kind_of("PCA8,HNSW4", DIM).setting == "efSearch"
    vectors = make_vectors(2_000, 4, DIM)
    index = made("PCA8,HNSW4", vectors)
    _, most = search_index(index, vectors[:99], 10, None, 1_024)
    shares = [
        float((search_index(index, vectors[:99], 10, None, value)[1] == most).mean())
        for value in (1, 64)
    ]
    assert shares[0] < shares[1]


@pytest.mark.parametrize("option", ["Nonsense", "IVF", "PQ5x4", "", "flat,"])
def test_a_string_that_faiss_does_not_know_is_refused_with_a_remedy(option: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_factory(option, DIM)
    assert (caught.value.option, caught.value.value) == ("index", option)
    assert "16 dimensions" in caught.value.problem
    assert "auto, flat, hnsw" in caught.value.remedy


@pytest.mark.parametrize(
    ("factory", "lists", "setting", "selects"),
    [
        ("Flat", 0, "", True),
        ("SQ8", 0, "", True),
        ("HNSW8", 0, "efSearch", True),
        ("IVF64,SQ8", 64, "nprobe", True),
        ("OPQ4,IVF16,PQ4", 16, "nprobe", True),
        ("IVF16,PQ4x4fs", 16, "nprobe", False),
        ("PQ4x4fs", 0, "", False),
    ],
)
def test_what_a_factory_makes_is_found_out(
    factory: str, lists: int, setting: str, selects: bool
) -> None:
    kind = kind_of(factory, DIM)
    assert (kind.lists, kind.setting) == (lists, setting)
    if kind.selects != selects:
        # Newer builds may learn to select; none may select wrong rows.
        assert kind.selects
    vectors = make_vectors(2_000, 3, DIM)
    index = made(factory, vectors)
    if kind.selects:
        live = np.arange(2_000) % 3 == 0
        _, rows = search_index(index, vectors[:20], 5, live, ladder(factory, DIM, 2_000)[-1])
        assert (rows[rows >= 0] % 3 == 0).all()


def test_settings_are_raised_until_all_lists_are_searched() -> None:
    assert ladder("IVF10,Flat", DIM, 1_000) == (1, 2, 4, 8, 10)
    assert ladder("IVF1,Flat", DIM, 1_000) == (1,)
    assert ladder("IVF90,Flat", DIM, 9_000) == (1, 2, 4, 8, 16, 24, 32, 48, 64, 90)
    assert ladder("IVF96,Flat", DIM, 9_000) == (1, 2, 4, 8, 16, 24, 32, 48, 64, 96)
    assert ladder("HNSW8", DIM, 50) == (16, 32)
    assert ladder("HNSW8", DIM, 1_000_000)[-1] == 1024
    assert ladder("SQ8", DIM, 1_000) == (1,)
    vectors = make_vectors(1_000, 4, DIM)
    index = made("IVF10,Flat", vectors)
    _, exact = brute_force(vectors, vectors[:50], 10)
    shares = [
        float((search_index(index, vectors[:50], 10, None, value)[1] == exact).mean())
        for value in ladder("IVF10,Flat", DIM, 1_000)
    ]
    assert shares == sorted(shares)
    assert shares[0] < 0.9
    assert shares[-1] > 0.99


def test_lists_that_were_assigned_before_give_the_same_hits() -> None:
    vectors = make_vectors(1_000, 4, DIM)
    index = made("IVF10,SQ8", vectors)
    live = np.arange(1_000) % 2 == 0
    for chosen in (None, live):
        plain = search_index(index, vectors[:9], 5, chosen, 3)
        lists = assign_lists(index, vectors[:9], 3)
        assert lists is not None
        again = search_index(index, vectors[:9], 5, chosen, 3, lists)
        np.testing.assert_array_equal(plain[1], again[1])
    assert assign_lists(made("HNSW8", vectors), vectors[:9], 3) is None


def test_an_index_that_can_not_be_trained_on_so_few_rows_is_refused() -> None:
    with pytest.raises(BadInput) as caught:
        train_index("PQ4", DIM, make_vectors(3, 0, DIM))
    assert (caught.value.option, caught.value.value) == ("index", "PQ4")
    assert "3 rows" in caught.value.problem
    assert "--index flat" in caught.value.remedy


@pytest.fixture(params=["Flat", "IVF4,Flat", "HNSW8"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    vectors = make_vectors(200, 7, DIM)
    path = tmp_path / "index.faiss"
    write_index(made(request.param, vectors), str(path))
    return request.param, path


def test_a_written_index_is_read_back_and_finds_the_same(written: tuple[str, Path]) -> None:
    factory, path = written
    vectors = make_vectors(200, 7, DIM)
    before = search_index(made(factory, vectors), vectors[:20], 10)
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
        with pytest.raises(Damaged, match=r"(can't be read|has \d+ bytes)") as caught:
            read_index(path, factory, DIM, 200)
        assert (caught.value.option, caught.value.value) == ("index file", str(path))


def test_an_index_of_another_kind_than_its_factory_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "index.faiss"
    write_index(made("SQ8", make_vectors(200, 7, DIM)), str(path))
    with pytest.raises(Damaged) as caught:
        read_index(path, "IVF4,SQ8", DIM, 200)
    assert (caught.value.option, caught.value.value) == ("index file", str(path))
    assert "albeam index STORE" in caught.value.remedy


def test_an_index_of_a_newer_faiss_says_so(written: tuple[str, Path]) -> None:
    factory, path = written
    whole = bytearray(path.read_bytes())
    whole[3] = ord("9")
    path.write_bytes(whole)
    with pytest.raises(Damaged, match=r"unknown type '\w{3}9'") as caught:
        read_index(path, factory, DIM, 200)
    assert caught.value.remedy.startswith("Install the newer FAISS")


@pytest.mark.parametrize("content", [b"hello", b"PAR1" * 5_000, bytes(20_000), b"IxFI" * 5_000])
def test_a_file_that_is_no_index_is_damaged(written: tuple[str, Path], content: bytes) -> None:
    factory, path = written
    path.write_bytes(content)
    with pytest.raises(Damaged) as caught:
        read_index(path, factory, DIM, 200)
    assert (caught.value.option, caught.value.value) == ("index file", str(path))


@pytest.mark.parametrize(("dim", "rows"), [(DIM, 201), (DIM, 199), (8, 200), (8, 400)])
def test_an_index_of_another_size_is_damaged(
    written: tuple[str, Path], dim: int, rows: int
) -> None:
    factory, path = written
    with pytest.raises(Damaged, match=r"index\.faiss: has "):
        read_index(path, factory, dim, rows)


def test_no_threads_read_mapped_lists_ahead(tmp_path: Path) -> None:
    rows = make_vectors(200, 0, DIM)
    index = train_index("IVF4,SQ8", DIM, rows)
    index.add(rows)
    path = tmp_path / "lists.faiss"
    write_index(index, str(path))
    opened = read_index(path, "IVF4,SQ8", DIM, 200)
    lists: Any = faiss.downcast_InvertedLists(opened.invlists)
    assert lists.prefetch_nthread == 0
