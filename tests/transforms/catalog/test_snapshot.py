"""Snapshots: committed whole or not at all, by any number of writers."""

import dataclasses
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.stores import make_format, make_identity, make_segment, sign, write_part
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.segment import SegmentInfo
from transforms.catalog.snapshot import (
    SegmentRef,
    Snapshot,
    newest_snapshot,
    read_segment,
    read_snapshot,
    snapshot_numbers,
    snapshot_of,
)
from transforms.errors import BadInput, Conflict, Damaged
from transforms.storage import filesystem
from transforms.transactions.commits import check_identity, commit_segment

TEXT = st.text(max_size=8)
COUNT = st.integers(0, 2**53)
NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
REF = st.builds(SegmentRef, NAME, TEXT, COUNT, COUNT, st.dictionaries(TEXT, COUNT, max_size=2))
SNAPSHOT = st.builds(
    Snapshot,
    number=COUNT,
    created=TEXT,
    command=TEXT,
    commit=TEXT,
    identity=st.builds(make_identity, name=TEXT, passage_prompt=TEXT),
    segments=st.lists(REF, max_size=3).map(tuple),
    version=st.just(1),
)


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "store")


def bare_segment(name: str, **changes: Any) -> SegmentInfo:
    """A segment without parts: there are no files whose documents a commit could compare."""
    return make_segment(name, **{"parts": ()} | changes)


def commit(store: str, name: str, mode: str = "append", **changes: Any) -> Snapshot:
    info, digest = SegmentPaths(store, name).create_manifest(bare_segment(name, **changes))
    return commit_segment(store, info, digest, mode, "test")


def live(snapshot: Snapshot) -> list[str]:
    return [segment.name for segment in snapshot.segments]


def rewrite(store: str, number: int, **changes: Any) -> Path:
    """Change a snapshot's file by hand."""
    path = Path(store, "snapshots", f"{number:08d}.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


@given(SNAPSHOT)
def test_a_snapshot_survives_json(snapshot: Snapshot) -> None:
    again = Snapshot.from_json(snapshot.to_json(), "1.json")
    assert again == snapshot
    assert again.documents == sum(ref.documents for ref in snapshot.segments)
    assert again.passages == sum(ref.passages for ref in snapshot.segments)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b"[]", b"null", b"{}", b'{"version": 1}', b'{"version": 1, '
    b'"segments": [{}], "identity": {}}', b'{"version": 1, "segments": [], "identity": "x"}'],
)  # fmt: skip
def test_a_broken_snapshot_is_damaged_and_named(store: str, content: bytes) -> None:
    commit(store, "a")
    path = Path(store, "snapshots", "00000001.json")
    path.write_bytes(content)
    with pytest.raises(Damaged) as caught:
        read_snapshot(store)
    assert (caught.value.option, caught.value.value) == ("file", str(path))


def test_a_snapshot_of_another_format_is_refused_and_named(store: str) -> None:
    commit(store, "a")
    path = rewrite(store, 1, version=99)
    with pytest.raises(Damaged) as caught:
        read_snapshot(store)
    assert (caught.value.option, caught.value.value) == ("file", str(path))
    assert "format 99" in caught.value.problem


@pytest.mark.parametrize("name", ["../x", "/etc", "a/b", ".."])
def test_a_snapshot_whose_names_leave_the_store_is_refused_and_named(store: str, name: str) -> None:
    ref = dataclasses.asdict(commit(store, "a").segments[0]) | {"name": name}
    path = rewrite(store, 1, segments=[ref])
    with pytest.raises(Damaged) as caught:
        read_snapshot(store)
    assert (caught.value.option, caught.value.value) == ("file", str(path))
    assert repr(name) in caught.value.problem


def test_a_folder_without_snapshots_is_no_store(store: str) -> None:
    assert newest_snapshot(store) is None
    with pytest.raises(BadInput) as caught:
        read_snapshot(store)
    assert (caught.value.option, caught.value.value) == ("store", store)


def test_a_snapshot_that_is_not_there_is_refused_with_those_that_are(store: str) -> None:
    commit(store, "a")
    commit(store, "b")
    assert live(read_snapshot(store, 1)) == ["a"]
    for number in (0, 3, -1, 10**300, -(10**300)):
        with pytest.raises(BadInput) as caught:
            read_snapshot(store, number)
        assert (caught.value.option, caught.value.value) == ("snapshot", number)
        assert "1 to 2" in caught.value.problem


def test_appended_segments_add_up_and_earlier_snapshots_stay(store: str) -> None:
    form = make_format(year=pa.int16())
    parts = [write_part(SegmentPaths(store, "ab"[n]), form, n, 10, rejects=2) for n in (0, 1)]
    first, second = commit(store, "a", parts=(parts[0],)), commit(store, "b", parts=(parts[1],))
    assert (first.number, second.number) == (1, 2)
    assert live(second) == ["a", "b"]
    assert (second.documents, second.passages) == (10, 20)
    assert second.segments[0].rejects == {"empty text": 2}
    assert read_snapshot(store) == second
    assert read_snapshot(store, 1) == first


def test_replacing_starts_from_nothing_and_may_change_the_model(store: str) -> None:
    commit(store, "a")
    commit(store, "b")
    third = commit(store, "c", "replace", identity=make_identity(weights_sha256="f" * 64))
    assert live(third) == ["c"]
    assert third.identity.weights_sha256 == "f" * 64
    assert live(commit(store, "a", "replace")) == ["a"]
    assert snapshot_numbers(store) == [1, 2, 3, 4]


def test_a_segment_that_is_live_is_not_committed_again(store: str) -> None:
    commit(store, "a")
    second = commit(store, "b")
    assert commit(store, "a") == second
    assert commit(store, "b") == second
    third = commit(store, "b", "replace")
    assert live(third) == ["b"]
    assert commit(store, "b", "replace") == third
    assert snapshot_numbers(store) == [1, 2, 3]


def test_the_newest_snapshot_of_a_segment_is_found(store: str) -> None:
    commit(store, "a")
    commit(store, "b")
    commit(store, "c", "replace")
    assert (snapshot_of(store, "a"), snapshot_of(store, "c")) == (2, 3)
    with pytest.raises(BadInput) as caught:
        snapshot_of(store, "d")
    assert (caught.value.option, caught.value.value) == ("segment", "d")


def test_a_copied_snapshot_is_damaged_and_named(store: str) -> None:
    commit(store, "one")
    folder = Path(store, "snapshots")
    (folder / "00000002.json").write_bytes((folder / "00000001.json").read_bytes())
    with pytest.raises(Damaged) as caught:
        read_snapshot(store)
    assert caught.value.value == str(folder / "00000002.json")
    assert "snapshot 1" in caught.value.problem


def test_stray_files_are_no_snapshots(store: str) -> None:
    commit(store, "a")
    for name in ("9.json", "00000009.json.bak", ".tmp-00000008.json", "x"):
        Path(store, "snapshots", name).touch()
    assert snapshot_numbers(store) == [1]


def test_of_eight_racing_writers_all_segments_are_live_afterwards(store: str) -> None:
    start = threading.Barrier(8)

    def write(number: int) -> Snapshot:
        start.wait()
        return commit(store, f"segment{number}")

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(write, range(8)))
    assert sorted(snapshot.number for snapshot in made) == list(range(1, 9))
    assert sorted(live(read_snapshot(store))) == [f"segment{number}" for number in range(8)]
    for snapshot in made:
        assert read_snapshot(store, snapshot.number) == snapshot
        assert len(snapshot.segments) == snapshot.number


def test_racing_writers_of_one_segment_make_it_live_once(store: str) -> None:
    start = threading.Barrier(8)

    def write(_: int) -> Snapshot:
        start.wait()
        return commit(store, "same")

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(write, range(8)))
    assert snapshot_numbers(store) == [1]
    assert made == [read_snapshot(store)] * 8


def test_a_writer_that_always_comes_late_gives_up_with_a_conflict(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(store, "a")
    info, digest = SegmentPaths(store, "b").create_manifest(bare_segment("b"))
    real = filesystem.create_exclusively

    def overtaken(url: str, content: bytes) -> bool:
        other = sign(json.loads(content) | {"segments": []})
        assert real(url, json.dumps(other).encode())
        return real(url, content)

    monkeypatch.setattr(filesystem, "create_exclusively", overtaken)
    with pytest.raises(Conflict) as caught:
        commit_segment(store, info, digest, "append", "test")
    assert (caught.value.option, caught.value.value) == ("store", store)
    assert len(snapshot_numbers(store)) == 21


def test_a_commit_whose_first_request_had_arrived_is_a_success(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = filesystem.create_exclusively

    def arrived_twice(url: str, content: bytes) -> bool:
        real(url, content)
        return real(url, content)

    info, digest = SegmentPaths(store, "a").create_manifest(bare_segment("a"))
    monkeypatch.setattr(filesystem, "create_exclusively", arrived_twice)
    made = commit_segment(store, info, digest, "append", "test")
    assert made == read_snapshot(store)
    assert snapshot_numbers(store) == [1]


def test_vectors_of_another_model_are_refused_with_both_sides_named(store: str) -> None:
    commit(store, "a")
    other = make_identity(name="models/other", pooling="cls", dim=16)
    with pytest.raises(Conflict) as caught:
        commit(store, "b", identity=other)
    assert (caught.value.option, caught.value.value) == ("model", "models/other")
    assert "models/tiny (pooling: 'cls', 'mean'; dim: 16, 8)" in caught.value.problem
    assert live(read_snapshot(store)) == ["a"]


@pytest.mark.parametrize(
    "changes",
    [
        {"weights_sha256": "0"}, {"tokenizer_sha256": "0"}, {"pooling": "cls"}, {"layer": 0},
        {"normalize": False}, {"max_tokens": 9}, {"query_prompt": "q"}, {"passage_prompt": "p"},
        {"dim": 4},
    ],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_every_field_of_the_identity_counts(changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(changes))):
        check_identity("store", make_identity(), make_identity(**changes))


def test_the_place_of_a_model_may_differ(store: str) -> None:
    commit(store, "a")
    moved = make_identity(name="elsewhere", revision="main")
    assert live(commit(store, "b", identity=moved)) == ["a", "b"]


def test_a_segment_is_read_as_it_was_committed(store: str) -> None:
    ref = commit(store, "a").segments[0]
    assert read_segment(store, ref) == bare_segment("a")


@pytest.mark.parametrize("damage", ["digest", "missing"])
def test_a_segment_file_that_differs_or_is_missing_is_damaged_and_named(
    store: str, damage: str
) -> None:
    ref = commit(store, "a").segments[0]
    path = Path(SegmentPaths(store, "a").manifest)
    content = path.read_bytes()
    path.unlink()
    if damage == "digest":
        path.write_bytes(content + b" ")
        assert SegmentInfo.from_json(path.read_bytes(), "") == bare_segment("a")
    with pytest.raises(Damaged) as caught:
        read_segment(store, ref)
    assert (caught.value.option, caught.value.value) == ("file", str(path))
    assert ("SHA-256" if damage == "digest" else "missing") in caught.value.problem
