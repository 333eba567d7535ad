"""Deletes and rollbacks: one new snapshot each, whoever else writes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.maintenance import verify
from tests.support.stores import (
    DIM,
    add_segment,
    always_overtake,
    found,
    live_ids,
    make_vectors,
    overtake,
)
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.snapshot import read_snapshot, snapshot_numbers
from transforms.errors import BadInput, Conflict, Damaged
from transforms.search.store import Store
from transforms.storage import filesystem
from transforms.transactions.commits import roll_back
from transforms.transactions.removal import remove_documents

INDEXES = ["Flat", "IVF8,Flat", "HNSW16", None]


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "store")


def two_segments(store: str, index: str | None = "Flat") -> None:
    """Forty documents of one to three passages, in two segments of two parts."""
    add_segment(store, "one", documents(0, 20), parts=2, seed=1, index=index, rejects=2)
    add_segment(store, "two", documents(20, 40), parts=2, seed=2, index=index)


def documents(start: int, stop: int) -> dict[str, int]:
    return {f"d{number}": 1 + number % 3 for number in range(start, stop)}


def test_deleted_documents_are_gone_and_counted(store: str) -> None:
    two_segments(store)
    removal = remove_documents(store, ["d1", "d2", "d21", "nobody", "d1"])
    assert (removal.snapshot, removal.documents, removal.passages) == (3, 3, 2 + 3 + 1)
    assert removal.missing == ("nobody",)
    snapshot = read_snapshot(store)
    assert (snapshot.documents, snapshot.passages) == (37, read_snapshot(store, 2).passages - 6)
    assert snapshot.command == "delete"
    gone = {"d1", "d2", "d21"}
    assert live_ids(store) == [f"d{n}" for n in range(40) if f"d{n}" not in gone]
    assert {hit[0] for line in found(store, 40) for hit in line} == set(live_ids(store))
    assert verify.run(store).passages == snapshot.passages


def test_earlier_snapshots_still_have_what_was_deleted(store: str) -> None:
    two_segments(store)
    before = found(store, 40)
    remove_documents(store, ["d1", "d30"])
    assert found(store, 40, snapshot=2) == before
    assert len(live_ids(store, 2)) == 40


def test_segments_without_dead_rows_are_left_as_they_are(store: str) -> None:
    two_segments(store)
    before = read_snapshot(store).segments
    remove_documents(store, ["d1"])
    after = read_snapshot(store).segments
    assert after[1] == before[1]
    assert after[0].tombstones is not None
    assert not Path(SegmentPaths(store, "two").tombstones).exists()


def test_deleting_twice_makes_no_second_snapshot(store: str) -> None:
    two_segments(store)
    remove_documents(store, ["d1", "d21"])
    again = remove_documents(store, ["d21", "d1"])
    assert (again.snapshot, again.documents, again.passages) == (3, 0, 0)
    assert again.missing == ("d1", "d21")
    assert snapshot_numbers(store) == [1, 2, 3]


def test_deletes_add_up(store: str) -> None:
    two_segments(store)
    remove_documents(store, ["d1"])
    assert remove_documents(store, ["d2", "d1"]).documents == 1
    assert read_snapshot(store).segments[0].tombstones.documents == 2
    assert len(live_ids(store)) == 38
    verify.run(store)


def test_a_segment_of_which_nothing_lives_leaves_the_snapshot(store: str) -> None:
    two_segments(store)
    removal = remove_documents(store, [f"d{number}" for number in range(20)])
    assert removal.documents == 20
    assert [ref.name for ref in read_snapshot(store).segments] == ["two"]
    assert read_snapshot(store).documents == 20
    verify.run(store)


def test_a_segment_of_rejects_alone_stays_when_others_die(store: str) -> None:
    add_segment(store, "none", {}, rejects=3)
    two_segments(store)
    remove_documents(store, ["d1"])
    assert [ref.name for ref in read_snapshot(store).segments] == ["none", "one", "two"]


@pytest.mark.parametrize("index", INDEXES)
def test_a_store_in_which_everything_is_deleted_finds_nothing(
    store: str, index: str | None
) -> None:
    two_segments(store, index)
    remove_documents(store, [f"d{number}" for number in range(40)])
    snapshot = read_snapshot(store)
    assert (snapshot.documents, snapshot.passages, snapshot.segments) == (0, 0, ())
    assert found(store, queries=2) == [[], []]
    assert live_ids(store) == []
    assert verify.run(store).passages == 0
    add_segment(store, "again", documents(0, 5))
    assert len(live_ids(store)) == 5


def test_without_ids_or_store_nothing_is_deleted(store: str) -> None:
    with pytest.raises(BadInput) as caught:
        remove_documents(store, ["d1"])
    assert (caught.value.option, caught.value.value) == ("store", store)
    two_segments(store)
    with pytest.raises(BadInput) as caught:
        remove_documents(store, [])
    assert caught.value.option == "ids"
    with pytest.raises(BadInput) as caught:
        remove_documents(store, ["d1", "\ud800"])
    assert (caught.value.option, caught.value.value) == ("id", "'\\ud800'")


def test_a_delete_that_is_overtaken_by_an_append_reaches_the_new_documents(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_segments(store)
    overtake(monkeypatch, lambda: add_segment(store, "late", {"late": 2, "d99": 1}))
    removal = remove_documents(store, ["d1", "late"])
    assert (removal.snapshot, removal.documents, removal.passages) == (4, 2, 4)
    assert removal.missing == ()
    assert "d99" in live_ids(store)
    assert not {"d1", "late"} & set(live_ids(store))


def test_a_delete_that_is_overtaken_by_a_delete_keeps_both(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_segments(store)
    overtake(monkeypatch, lambda: remove_documents(store, ["d1", "d2"]))
    removal = remove_documents(store, ["d2", "d3"])
    assert (removal.snapshot, removal.documents, removal.missing) == (4, 1, ("d2",))
    assert set(live_ids(store)) == {f"d{n}" for n in range(40) if n not in {1, 2, 3}}
    assert read_snapshot(store).documents == 37
    verify.run(store)


def test_a_delete_that_is_always_overtaken_is_a_conflict(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_segments(store)
    always_overtake(monkeypatch, store)
    with pytest.raises(Conflict) as caught:
        remove_documents(store, ["d1"])
    assert (caught.value.option, caught.value.value) == ("store", store)


def test_a_rollback_is_a_new_snapshot_of_an_old_content(store: str) -> None:
    two_segments(store)
    before = found(store)
    remove_documents(store, ["d1", "d30"])
    made = roll_back(store, 2)
    assert (made.number, made.documents, made.command) == (4, 40, "rollback 2")
    assert found(store) == before
    assert roll_back(store, 2) == made
    assert roll_back(store, 3).documents == 38
    assert snapshot_numbers(store) == [1, 2, 3, 4, 5]
    verify.run(store)


def test_a_rollback_to_what_is_not_there_is_refused(store: str) -> None:
    two_segments(store)
    with pytest.raises(BadInput) as caught:
        roll_back(store, 7)
    assert (caught.value.option, caught.value.value) == ("snapshot", 7)
    remove_documents(store, ["d1"])
    shutil.rmtree(SegmentPaths(store, "one").root)
    with pytest.raises(Damaged) as missing:
        roll_back(store, 1)
    assert missing.value.value == SegmentPaths(store, "one").manifest
    assert snapshot_numbers(store) == [1, 2, 3]


def test_a_rollback_whose_tombstones_are_gone_is_refused(store: str) -> None:
    two_segments(store)
    remove_documents(store, ["d1"])
    remove_documents(store, ["d2"])
    name = read_snapshot(store, 3).segments[0].tombstones.name
    url = filesystem.join(SegmentPaths(store, "one").tombstones, name)
    filesystem.remove(url)
    with pytest.raises(Damaged) as caught:
        roll_back(store, 3)
    assert caught.value.value == url
    assert snapshot_numbers(store) == [1, 2, 3, 4]


def exact(store: str, queries: np.ndarray, k: int) -> list[list[tuple[str, float]]]:
    """The best k documents by brute force over the live passages."""
    table = [
        (row["document_id"], np.array(row["vector"], np.float32))
        for part in Store.open(store).documents(["document_id", "vector"])
        for row in part.to_pylist()
    ]
    lines = []
    for query in queries:
        best: dict[str, float] = {}
        for name, vector in table:
            best[name] = max(best.get(name, -2.0), float(query @ vector))
        lines.append(sorted(best.items(), key=lambda pair: -pair[1])[:k])
    return lines


@pytest.mark.parametrize("index", INDEXES)
@pytest.mark.parametrize("share", [0.02, 0.4, 0.9])
def test_k_live_documents_are_found_however_many_are_dead(
    store: str, index: str | None, share: float
) -> None:
    names = {f"d{number}": 1 + number % 2 for number in range(400)}
    add_segment(store, "one", names, parts=4, seed=1, index=index, recall_target=0.95)
    chosen = np.random.default_rng(5).permutation(400)[int(400 * share) :]
    gone = {f"d{number}" for number in chosen}
    remove_documents(store, sorted(gone))
    left = 400 - len(gone)
    queries = make_vectors(8, seed=999)
    met = wanted = 0
    for line, best in zip(found(store, 10), exact(store, queries, 10), strict=True):
        assert len(line) == min(10, left)
        assert not gone & {hit[0] for hit in line}
        scores = dict(best)
        common = [hit for hit in line if hit[0] in scores]
        met, wanted = met + len(common), wanted + len(best)
        # Bare rows have half the bits.
        bound = 1e-5 if index in ("Flat", None) else 5e-4
        assert [h[3] for h in common] == pytest.approx([scores[h[0]] for h in common], abs=bound)
        if index in ("Flat", None):
            assert [hit[0] for hit in line] == [name for name, _ in best]
    assert met >= 0.9 * wanted
    assert all(len(line) == left for line in found(store, 1_000, queries=2))


@settings(max_examples=15, deadline=None)
@given(
    deletes=st.lists(st.lists(st.integers(0, 45), min_size=1, max_size=12), max_size=4),
    index=st.sampled_from(INDEXES),
)
def test_what_is_found_is_what_brute_force_over_the_living_finds(
    tmp_path_factory: pytest.TempPathFactory, deletes: list[list[int]], index: str | None
) -> None:
    store = str(tmp_path_factory.mktemp("deletes") / "store")
    two_segments(store, index)
    gone: set[str] = set()
    for some in deletes:
        names = {f"d{number}" for number in some}
        there = {f"d{number}" for number in range(40)} - gone
        removal = remove_documents(store, sorted(names))
        assert removal.documents == len(names & there)
        assert set(removal.missing) == names - there
        gone |= names & there
    assert live_ids(store) == [f"d{n}" for n in range(40) if f"d{n}" not in gone]
    assert read_snapshot(store).documents == 40 - len(gone)
    queries = np.random.default_rng(3).normal(size=(3, DIM)).astype(np.float32)
    hits = Store.open(store).search(queries, 50)
    for line, best in zip(hits, exact(store, queries, 50), strict=True):
        assert {hit.document_id for hit in line} <= {name for name, _ in best}
        if index in ("Flat", None):
            assert [hit.document_id for hit in line] == [name for name, _ in best]
    verify.run(store)
