"""Compaction: fewer segments, the same documents, vectors, scores and rejects."""

import itertools
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cli import main
from pipeline.maintenance import compact, vacuum, verify
from pipeline.maintenance.options import CompactOptions, VacuumOptions
from tests.support.raising import raises
from tests.support.stores import add_segment, found, live_ids, overtake
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.segment import SegmentInfo
from transforms.catalog.snapshot import Snapshot, read_segment, read_snapshot, snapshot_numbers
from transforms.errors import AlbeamError, BadInput, Conflict, Damaged
from transforms.ingest.part_tables import chunk_of
from transforms.search.store import Store
from transforms.storage import filesystem
from transforms.storage.schema import REJECT
from transforms.storage.vectors import vectors_to_numpy
from transforms.transactions import commits
from transforms.transactions.commits import roll_back
from transforms.transactions.compaction import (
    Source,
    choose_segments,
    compacted_format,
    compacted_name,
    plan_compaction,
)
from transforms.transactions.compaction_commit import commit_compaction
from transforms.transactions.compaction_rows import read_live
from transforms.transactions.removal import remove_documents


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Three segments with rejects and tombstones."""
    store = str(tmp_path / "store")
    add_segment(store, "one", {f"a{n}": 1 + n % 3 for n in range(30)}, parts=3, seed=1, rejects=2)
    add_segment(store, "two", {f"b{n}": 1 for n in range(20)}, parts=2, seed=2)
    add_segment(store, "three", {f"c{n}": 1 + n % 2 for n in range(6)}, seed=3, rejects=1)
    remove_documents(store, ["a0", "a1", "a17", "b3", "c5"])
    return store


def rows(store: str) -> pa.Table:
    """All live passages, ordered by id and passage."""
    tables = [table.select(_PLAIN) for table in Store.open(store).documents()]
    return pa.concat_tables(tables).sort_by(
        [("document_id", "ascending"), ("passage", "ascending")]
    )


_PLAIN = ["document_id", "passage", "start", "end", "text", "text_hash", "metadata_hash", "vector"]


def same_answers(before: list[list], after: list[list]) -> None:
    assert [[hit[:3] for hit in line] for line in before] == [
        [hit[:3] for hit in line] for line in after
    ]
    for ours, theirs in zip(before, after, strict=True):
        assert [hit[3] for hit in ours] == pytest.approx([hit[3] for hit in theirs], abs=1e-6)


def test_everything_becomes_one_segment_that_answers_as_before(store: str) -> None:
    before, answers, ids = rows(store), found(store, 60), live_ids(store)
    rejects = sum(sum(ref.rejects.values()) for ref in read_snapshot(store).segments)
    done = compact.run(store)
    assert (done.segments_before, done.segments_after, done.compacted) == (3, 1, 3)
    snapshot = read_snapshot(store)
    [ref] = snapshot.segments
    assert (ref.name, ref.tombstones, snapshot.command) == (done.segment, None, "compact")
    assert (ref.documents, ref.passages) == (51, before.num_rows)
    assert (done.documents, done.passages) == (51, before.num_rows)
    assert sum(ref.rejects.values()) == rejects == 3
    assert rows(store).equals(before)
    assert live_ids(store) == ids
    same_answers(answers, found(store, 60))
    verify.run(store)
    assert verify.run(store).passages == before.num_rows
    assert done.parts == 1


def test_again_there_is_nothing_to_do(store: str) -> None:
    compact.run(store)
    again = compact.run(store)
    assert (again.compacted, again.segment) == (0, "")
    assert "Nothing to do" in again.notice
    assert snapshot_numbers(store) == [1, 2, 3, 4, 5]


def test_earlier_snapshots_answer_until_they_are_vacuumed(store: str) -> None:
    answers = {number: found(store, snapshot=number) for number in (1, 2, 3, 4)}
    compact.run(store)
    assert {number: found(store, snapshot=number) for number in answers} == answers
    vacuum.run(store, VacuumOptions(keep=1, older_than=0))
    assert len(os.listdir(Path(store, "segments"))) == 1
    same_answers(answers[4], found(store))
    verify.run(store)


def test_rejects_are_kept_with_their_rows(store: str) -> None:
    compact.run(store)
    [path] = Path(store, "segments", compact_name(store), "rejects").glob("*.parquet")
    table = pq.read_table(path).to_pylist()
    names = ["rejected-1-2-0", "rejected-1-2-1", "rejected-3-0-0"]
    assert [row["document_id"] for row in table] == names
    assert {(row["file"], row["reason"]) for row in table} == {("input", "empty text")}
    assert table[0]["row"] > 0


def compact_name(store: str) -> str:
    [ref] = read_snapshot(store).segments
    return ref.name


def test_inputs_of_the_old_segments_are_those_of_the_new_one(store: str) -> None:
    compact.run(store)
    info = read_segment(store, read_snapshot(store).segments[0])
    assert [file.url for file in info.inputs] == ["one.parquet", "two.parquet", "three.parquet"]
    plan = SegmentPaths(store, info.name).read_plan()
    assert plan is not None
    assert plan.rows == info.rows


@pytest.mark.parametrize(
    ("most", "chosen"),
    [(1, ["one", "two", "three"]), (2, ["two", "three"]), (3, ["one", "two", "three"]),
     (9, ["one", "two", "three"])],
)  # fmt: skip
def test_the_smallest_are_chosen_and_else_those_with_dead_rows(
    store: str, most: int, chosen: list[str]
) -> None:
    snapshot = read_snapshot(store)
    assert [ref.name for ref in choose_segments(snapshot, most)] == chosen
    before = found(store, 60)
    done = compact.run(store, CompactOptions(max_segments=most))
    assert done.segments_after == min(most, 4 - len(chosen))
    assert {tuple(sorted(h[:2] for h in line)) for line in found(store, 60)} == {
        tuple(sorted(h[:2] for h in line)) for line in before
    }


def test_a_single_segment_is_compacted_for_its_tombstones_alone(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    add_segment(store, "one", {f"a{n}": 2 for n in range(10)}, parts=2)
    assert choose_segments(read_snapshot(store), 1) == ()
    remove_documents(store, ["a3"])
    assert compact.run(store).passages == 18
    assert choose_segments(read_snapshot(store), 1) == ()
    with pytest.raises(BadInput) as caught:
        compact.run(store, CompactOptions(max_segments=0))
    assert (caught.value.option, caught.value.value) == ("max_segments", 0)


@pytest.mark.parametrize("index", ["Flat", "IVF4,Flat", "HNSW16", None])
def test_the_index_is_of_the_same_kind(tmp_path: Path, index: str | None) -> None:
    store = str(tmp_path / "store")
    for number in range(3):
        documents = {f"{number}-{n}": 1 for n in range(20)}
        add_segment(store, f"s{number}", documents, seed=number, index=index)
    before = rows(store)
    assert compact.run(store).index == (index or "none")
    assert rows(store).equals(before)
    verify.run(store)


def test_another_index_can_be_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = str(tmp_path / "store")
    for number in range(2):
        documents = {f"{number}-{n}": 1 for n in range(20)}
        add_segment(store, f"s{number}", documents, seed=number, index="IVF4,Flat")
    assert main(["compact", store, "--index", "hnsw", "--recall-target", "0.8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["index"] == "HNSW32"
    [info] = Store.open(store).segments
    assert info.index is not None
    assert (info.index.asked, info.index.target) == ("hnsw", 0.8)
    remove_documents(store, ["0-0"])
    with pytest.raises(SystemExit, match="2"):
        main(["compact", store, "--shards", "0"])
    assert "'0' is not auto or a number of shards from 1" in capsys.readouterr().err
    compact.run(store, CompactOptions(shards=1))
    [info] = Store.open(store).segments
    assert info.index is not None
    assert (info.index.factory, info.index.target) == ("HNSW32", 0.8)


def test_an_index_for_which_too_few_rows_are_left_becomes_exact(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    add_segment(store, "one", {f"a{n}": 1 for n in range(20)}, index="IVF8,Flat")
    remove_documents(store, [f"a{n}" for n in range(15)])
    done = compact.run(store)
    assert done.index == "Flat"
    assert done.index_reason == "too few rows (5) for IVF8,Flat: exact search"
    verify.run(store)


def test_segments_of_two_widths_become_float32_bit_by_bit(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    add_segment(store, "one", {"a": 2, "b": 1}, seed=1, vector_dtype="float16")
    add_segment(store, "two", {"c": 2}, seed=2)
    before = [vectors_to_numpy(t["vector"]) for t in Store.open(store).documents()]
    compact.run(store)
    [table] = Store.open(store).documents()
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 8)
    np.testing.assert_array_equal(vectors_to_numpy(table["vector"]), np.concatenate(before))
    verify.run(store)


def test_narrow_vectors_stay_narrow(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    for name in ("one", "two"):
        add_segment(store, name, {f"{name}{n}": 1 for n in range(9)}, vector_dtype="float16")
    before = rows(store)
    compact.run(store)
    assert rows(store).equals(before)
    assert before.schema.field("vector").type == pa.list_(pa.float16(), 8)


def test_metadata_that_a_segment_lacks_is_null(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    add_segment(store, "one", {"a": 2}, metadata={"year": pa.int16()})
    add_segment(store, "two", {"b": 2}, metadata={"tag": pa.string(), "year": pa.int16()})
    add_segment(store, "three", {"c": 1}, metadata={})
    compact.run(store)
    [table] = Store.open(store).documents(["document_id", "year", "tag"])
    assert table.to_pylist() == [
        {"document_id": "a", "year": 0, "tag": None},
        {"document_id": "a", "year": 1, "tag": None},
        {"document_id": "b", "year": 0, "tag": "0"},
        {"document_id": "b", "year": 1, "tag": "1"},
        {"document_id": "c", "year": None, "tag": None},
    ]
    verify.run(store)


def test_metadata_that_does_not_go_together_is_refused_and_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = str(tmp_path / "store")
    add_segment(store, "one", {"a": 2}, metadata={"year": pa.int16()})
    with pytest.raises(Conflict) as caught:
        add_segment(store, "two", {"b": 2}, metadata={"year": pa.string()})
    assert "another writer committed first" in caught.value.problem
    assert live_ids(store) == ["a"]
    # As two writers left it that looked before the other one's commit.
    with monkeypatch.context() as patched:
        patched.setattr(commits, "check_metadata", lambda *_: None)
        add_segment(store, "two", {"b": 2}, metadata={"year": pa.string()})
    with pytest.raises(Damaged) as damaged:
        compact.run(store)
    assert (damaged.value.option, damaged.value.value) == ("segments", "one, two")


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=9), min_size=1, max_size=3),
    dead=st.sets(st.integers(0, 20)),
    limit=st.integers(1, 12),
)
def test_plans_cover_the_living_in_order_and_split_no_document(
    tmp_path_factory: pytest.TempPathFactory,
    counts: list[list[int]],
    dead: set[int],
    limit: int,
) -> None:
    store = str(tmp_path_factory.mktemp("plan") / "store")
    names = itertools.count()
    for place, documents in enumerate(counts):
        mine = {f"d{next(names)}": count for count in documents}
        add_segment(store, f"s{place}", mine, parts=2, seed=place, index=None)
    remove_documents(store, [f"d{number}" for number in sorted(dead)] or ["x"])
    refs = read_snapshot(store).segments
    expected = [
        pair
        for table in Store.open(store).documents(["document_id", "passage"])
        for pair in zip(*table.to_pydict().values(), strict=True)
    ]
    if not refs:
        return
    sources = [Source.open(store, ref) for ref in refs]
    form = compacted_format(sources)
    plan = plan_compaction(sources, form.metadata, rows=limit)
    assert plan.rows == len(expected)
    read, homes = [], {}
    for part in plan.parts:
        tables = list(read_live(sources, part, form))
        assert [chunk_of(table).number for table in tables] == list(range(len(tables)))
        assert [chunk_of(table).last for table in tables] == [False] * (len(tables) - 1) + [True]
        assert part.rows <= limit or len(part.slices) == 1
        for table in tables:
            assert table[REJECT].null_count == table.num_rows
            pairs = table.select(["document_id", "passage"]).to_pydict().values()
            for pair in zip(*pairs, strict=True):
                read.append(pair)
                assert homes.setdefault(pair[0], part.number) == part.number
    assert read == expected


@pytest.mark.parametrize("rows_per_part", [1, 7, 25])
def test_many_parts_and_chunks_change_nothing(
    store: str, rows_per_part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.transactions.compaction_rows.ROWS_PER_CHUNK", 5)
    before, answers = rows(store), found(store, 60)
    done = compact.run(store, CompactOptions(rows_per_part=rows_per_part))
    assert (done.parts > 1, done.documents) == (True, 51)
    assert rows(store).equals(before)
    same_answers(answers, found(store, 60))
    verify.run(store)


def test_stopped_at_any_write_it_goes_on_where_it_was(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, answers = rows(store), found(store, 60)
    real = filesystem.create_exclusively
    stopped: list[str] = []
    for _ in range(20):
        fresh = 0

        def create(url: str, content: bytes) -> bool:
            nonlocal fresh
            if filesystem.exists(url):
                return real(url, content)
            if fresh:
                raise OSError(f"stopped before {url.rsplit('/', 1)[-1]}")
            fresh += 1
            stopped.append(url.rsplit("/", 1)[-1])
            return real(url, content)

        monkeypatch.setattr(filesystem, "create_exclusively", create)
        try:
            done = compact.run(store, CompactOptions(rows_per_part=25))
            break
        except (AlbeamError, OSError) as error:
            assert "stopped before" in str(error)
            assert found(store, 60) == answers
    parts = [f"part-{number:05d}.json" for number in range(done.parts)]
    first, *others = sorted(stopped)
    assert first == "00000004-compact-began"
    assert others == ["00000005.json", *parts, "plan.json", "segment.json"]
    assert done.parts_found_done == done.parts > 2
    assert rows(store).equals(before)
    same_answers(answers, found(store, 60))
    monkeypatch.setattr(filesystem, "create_exclusively", real)
    vacuum.run(store, VacuumOptions(keep=1, older_than=0))
    same_answers(answers, found(store, 60))
    verify.run(store)


def test_tombstones_that_come_meanwhile_are_carried_over(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    overtake(monkeypatch, lambda: remove_documents(store, ["a2", "b7", "c0", "a29"]))
    compact.run(store)
    gone = {"a0", "a1", "a17", "b3", "c5", "a2", "b7", "c0", "a29"}
    every = [*(f"a{n}" for n in range(30)), *(f"b{n}" for n in range(20)),
             *(f"c{n}" for n in range(6))]  # fmt: skip
    assert live_ids(store) == [name for name in every if name not in gone]
    [ref] = read_snapshot(store).segments
    assert ref.tombstones.documents == 4
    assert read_snapshot(store).documents == 56 - len(gone)
    assert verify.run(store).passages == rows(store).num_rows
    expected = found(store, 60)
    assert compact.run(store).passages == rows(store).num_rows
    same_answers(expected, found(store, 60))


def test_a_segment_that_comes_meanwhile_stays(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    overtake(monkeypatch, lambda: add_segment(store, "late", {"late": 2}, seed=9))
    done = compact.run(store)
    assert (done.segments_after, done.snapshot) == (2, 6)
    assert "late" in live_ids(store)
    verify.run(store)


def test_a_segment_that_dies_wholly_meanwhile_is_a_conflict_and_the_next_run_goes_on(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = live_ids(store)
    overtake(monkeypatch, lambda: remove_documents(store, everything[5:]))
    with raises(Conflict, "segment", "two"):
        compact.run(store)
    assert compact.run(store).documents == 5
    assert live_ids(store) == everything[:5]
    verify.run(store)


@pytest.mark.parametrize("writer", ["vanish", "revive"])
def test_a_chosen_segment_that_changed_otherwise_is_a_conflict(
    store: str, writer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    overtake(monkeypatch, lambda: roll_back(store, 2 if writer == "vanish" else 3))
    assert main(["compact", store]) == 4
    reason = "no longer live" if writer == "vanish" else "that were dead"
    assert reason in capsys.readouterr().err
    assert read_snapshot(store).command.startswith("rollback")
    verify.run(store)


def test_two_at_once_make_one_segment(store: str) -> None:
    before, answers = rows(store), found(store, 60)
    with ThreadPoolExecutor(2) as pool:
        done = list(
            pool.map(lambda _: compact.run(store, CompactOptions(rows_per_part=25)), range(2))
        )
    assert snapshot_numbers(store) == [1, 2, 3, 4, 5]
    assert {summary.segment for summary in done} >= {compact_name(store)}
    assert rows(store).equals(before)
    same_answers(answers, found(store, 60))
    vacuum.run(store, VacuumOptions(keep=1, older_than=0))
    verify.run(store)


def test_a_commit_that_is_repeated_changes_nothing(store: str) -> None:
    chosen = read_snapshot(store).segments
    compact.run(store)
    remove_documents(store, ["a5"])
    newest = read_snapshot(store)
    paths = SegmentPaths(store, compacted_name(chosen))
    content = filesystem.read_bytes(paths.manifest)
    info = SegmentInfo.from_json(content, "")
    made: Snapshot = commit_compaction(store, info, filesystem.digest(content), chosen)
    assert made == newest == read_snapshot(store)


def test_a_damaged_part_stops_it(store: str) -> None:
    path = next(Path(store, "segments", "one", "vectors").glob("part-00001-*.parquet"))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with raises(Damaged, "file", path):
        compact.run(store)
    path.write_bytes(content)
    assert compact.run(store).documents == 51


def test_what_the_command_prints(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compact", store, "--max-segments", "2", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert list(value) == [
        "store", "snapshot", "segments_before", "segments_after", "compacted", "segment",
        "documents", "passages", "parts", "parts_found_done", "bytes", "index", "index_reason",
        "recall", "seconds", "notice",
    ]  # fmt: skip
    assert (value["segments_before"], value["segments_after"], value["compacted"]) == (3, 2, 2)
    assert main(["compact", store]) == 0
    assert "2 of 2 segments merged into one: 51 documents" in capsys.readouterr().out
    assert main(["compact", store]) == 0
    assert "Nothing to do" in capsys.readouterr().out
    assert main(["compact", store, "--max-segments", "0"]) == 2
    assert "--max-segments 0: " in capsys.readouterr().err
    assert main(["compact", store + "x"]) == 2
    assert main(["compact", store, "--max-segmentz", "2"]) == 2
    assert "Perhaps you mean --max-segments." in capsys.readouterr().err
