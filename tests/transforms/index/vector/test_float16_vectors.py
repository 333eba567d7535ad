"""Bare float16 rows: written, mapped, scored and scanned, against numpy."""

import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.stores import make_vectors
from transforms.errors import Damaged
from transforms.index.vector import exact_ranking, float16_vectors
from transforms.index.vector.exact_ranking import scan
from transforms.index.vector.float16_vectors import (
    blocks,
    open_raw,
    pick,
    rescore,
    widen,
    write_raw,
)


def rounded(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Round vectors to float16, as reading them from the file does."""
    return vectors.astype(np.float16).astype(np.float32)


def test_what_is_written_is_mapped_back(tmp_path: Path) -> None:
    vectors = make_vectors(50, 1)
    path = tmp_path / "raw.f16"
    write_raw(str(path), np.split(vectors, [7, 7, 30]))
    raw = open_raw(path, 50, vectors.shape[1])
    np.testing.assert_array_equal(np.asarray(raw, np.float32), rounded(vectors))
    assert not raw.flags.writeable
    with pytest.raises(Damaged) as caught:
        open_raw(path, 51, vectors.shape[1])
    assert (caught.value.option, caught.value.value) == ("index file", str(path))
    assert {"800", "816"} <= set(caught.value.problem.split())
    write_raw(str(path), [])
    assert open_raw(path, 0, 8).shape == (0, 8)


@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 20), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_a_scan_finds_the_best_live_rows(rows: int, k: int, block: int, seed: int) -> None:
    raw = make_vectors(rows, seed).astype(np.float16)
    queries = make_vectors(3, seed + 1)
    live = np.random.default_rng(seed).random(rows) < 0.6
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(exact_ranking, "BLOCK", block)
        scores, found = scan(raw, queries, k, live)
    products = np.where(live, queries @ raw.astype(np.float32).T, -np.inf)
    order = np.argsort(-products, axis=1, kind="stable")[:, : min(k, int(live.sum()))]
    np.testing.assert_array_equal(found, order)
    np.testing.assert_allclose(scores, np.take_along_axis(products, order, 1), atol=1e-6)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_rows_read_in_order_give_the_memory_back(tmp_path: Path) -> None:
    def mapped() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))

    vectors = np.random.default_rng(1).normal(size=(70_001, 128)).astype(np.float32)
    write_raw(str(tmp_path / "raw.f16"), [vectors])
    raw = open_raw(tmp_path / "raw.f16", len(vectors), 128)
    before = mapped()
    for place, block in enumerate(blocks(raw)):
        first = place * float16_vectors._BLOCK
        np.testing.assert_array_equal(block, rounded(vectors[first : first + len(block)]))
        assert mapped() < before + 8_000
    assert np.isfinite(raw).all()
    assert mapped() > before + 12_000
    some = np.arange(0, len(vectors), 99)
    np.testing.assert_array_equal(pick(raw, some), vectors[some].astype(np.float16))
    assert mapped() < before + 8_000


@given(
    rows=st.integers(0, 50),
    block=st.integers(1, 60),
    places=st.sets(st.integers(0, 49)),
)
@settings(deadline=None)
def test_picked_rows_are_those_of_the_file(rows: int, block: int, places: set[int]) -> None:
    raw = make_vectors(rows, 1).astype(np.float16)
    chosen = np.array(sorted(place for place in places if place < rows), np.int64)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(float16_vectors, "_BLOCK", block)
        path = Path(folder, "rows.f16")
        write_raw(str(path), [raw.astype(np.float32)])
        assert pick(open_raw(path, rows, raw.shape[1]), chosen).tobytes() == raw[chosen].tobytes()


def test_candidates_are_ranked_by_their_exact_scores() -> None:
    raw = make_vectors(20, 2).astype(np.float16)
    queries = make_vectors(2, 3)
    candidates = np.array([[3, 9, 17, -1], [5, -1, -1, -1]])
    scores, rows = rescore(raw, queries, candidates, 3)
    products = queries @ raw.astype(np.float32).T
    best = sorted([3, 9, 17], key=lambda row: -products[0, row])
    assert rows.tolist() == [best, [5, -1, -1]]
    np.testing.assert_allclose(scores[0], products[0, best], atol=1e-6)


def test_every_finite_half_is_widened_as_numpy_does_it() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)].reshape(-1, 2)
    assert widen(halves).tobytes() == halves.astype(np.float32).tobytes()
    assert widen(halves[::3]).tobytes() == halves[::3].astype(np.float32).tobytes()
