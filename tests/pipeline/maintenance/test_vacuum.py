"""Vacuum keeps needed files and removes the others; a kill in between does no harm."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.maintenance import compact, vacuum, verify
from pipeline.maintenance.options import VacuumOptions
from tests.support.raising import raises
from tests.support.stores import add_segment, found, live_ids, make_vectors
from transforms.catalog import integrity
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.open_snapshot import OpenSnapshot
from transforms.catalog.options import ColumnOptions
from transforms.catalog.segment import SegmentInfo
from transforms.catalog.snapshot import (
    SegmentRef,
    Snapshot,
    read_segment,
    read_snapshot,
    snapshot_numbers,
)
from transforms.errors import BadInput, Conflict, Damaged
from transforms.ingest.survey import Survey
from transforms.search.store import Store
from transforms.storage import filesystem
from transforms.transactions import commits, compaction_commit
from transforms.transactions.commits import roll_back
from transforms.transactions.diff_job import Comparison
from transforms.transactions.removal import remove_documents
from transforms.transactions.resume import choose_generation
from transforms.transactions.vacuum import Orphans, find_orphans

DAY = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Store with six snapshots, which need different segments and tombstones."""
    store = str(tmp_path / "store")
    add_segment(store, "one", {f"a{n}": 2 for n in range(12)}, parts=3, seed=1, rejects=2)
    add_segment(store, "two", {f"b{n}": 1 for n in range(10)}, parts=2, seed=2)
    remove_documents(store, ["a1", "b2"])
    remove_documents(store, ["a3", "b4"])
    remove_documents(store, [f"a{n}" for n in range(12)])
    add_segment(store, "three", {f"c{n}": 3 for n in range(5)}, seed=3, index=None)
    return store


def leftovers(store: str) -> set[str]:
    """Create what killed runs leave: a segment without a manifest, and temporary files."""
    paths = SegmentPaths(store, "cut")
    made = {
        paths.plan: b"{}",
        paths.marker(0): b"{}",
        filesystem.join(paths.vectors, "part-00000-abcd.parquet"): b"PAR1",
        filesystem.join(paths.vectors, ".tmp-1"): b"PAR",
        filesystem.join(store, "snapshots", ".tmp-2"): b"{",
        filesystem.join(SegmentPaths(store, "two").vectors, "part-00001-lost.parquet"): b"PAR1",
    }
    for url, content in made.items():
        Path(url).parent.mkdir(parents=True, exist_ok=True)
        Path(url).write_bytes(content)
    return set(made)


def age(store: str, seconds: float, *below: str) -> None:
    """Set the modification times of files to an earlier time."""
    then = time.time() - seconds
    for path in Path(store, *below).rglob("*"):
        os.utime(path, (then, then))


def files(store: str) -> set[str]:
    return {file.path for file in filesystem.list_files(store)}


def test_only_files_that_kept_snapshots_need_are_kept(store: str) -> None:
    left = leftovers(store)
    expected = {
        number: (found(store, snapshot=number), live_ids(store, number)) for number in (5, 6)
    }
    done = vacuum.run(store, VacuumOptions(keep=2, older_than=0))
    assert done.snapshots == (1, 2, 3, 4)
    assert snapshot_numbers(store) == [5, 6]
    assert not any(Path(url).exists() for url in left)
    assert sorted(os.listdir(Path(store, "segments"))) == ["three", "two"]
    for number, was in expected.items():
        assert (found(store, snapshot=number), live_ids(store, number)) == was
    verify.run(store)
    with pytest.raises(BadInput) as caught:
        Store.open(store, 4)
    assert (caught.value.option, caught.value.value) == ("snapshot", 4)


def test_after_a_vacuum_of_everything_no_orphan_is_left(store: str) -> None:
    leftovers(store)
    vacuum.run(store, VacuumOptions(keep=1, older_than=0))
    again = vacuum.run(store, VacuumOptions(keep=1, older_than=0))
    assert (again.snapshots, again.files, again.bytes) == ((), 0, 0)
    needed = {"plan.json", "segment.json"}
    assert {path for path in files(store) if path.endswith(tuple(needed))} == {
        f"segments/{name}/{file}" for name in ("two", "three") for file in needed
    }
    assert len([path for path in files(store) if "tombstones" in path]) == 1
    assert live_ids(store) == [*(f"b{n}" for n in range(10) if n not in (2, 4)),
                               *(f"c{n}" for n in range(5))]  # fmt: skip


@pytest.mark.parametrize("keep", [1, 2, 3, 4, 5, 6, 9])
def test_kept_snapshots_answer_as_before(store: str, keep: int) -> None:
    kept = snapshot_numbers(store)[-keep:]
    expected = {number: found(store, snapshot=number) for number in kept}
    vacuum.run(store, VacuumOptions(keep, older_than=0))
    assert snapshot_numbers(store) == kept
    assert {number: found(store, snapshot=number) for number in kept} == expected
    for number in kept:
        roll_back(store, number)
        assert found(store) == expected[number]
        verify.run(store)


def test_a_manifest_is_read_once_however_many_snapshots_have_it(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def read(store: str, ref: SegmentRef) -> SegmentInfo:
        asked.append((ref.name, ref.index))
        return read_segment(store, ref)

    monkeypatch.setattr(integrity, "read_segment", read)
    kept = [read_snapshot(store, number) for number in snapshot_numbers(store)]
    assert sum(len(snapshot.segments) for snapshot in kept) > len(kept)
    find_orphans(store, len(kept), time.time())
    assert len(asked) == len(set(asked)) > 1


def test_a_dry_run_lists_files_and_removes_nothing(store: str) -> None:
    leftovers(store)
    before = files(store)
    said = vacuum.run(store, VacuumOptions(keep=2, older_than=0, dry_run=True))
    assert files(store) == before
    done = vacuum.run(store, VacuumOptions(keep=2, older_than=0))
    assert said.snapshots == done.snapshots == (1, 2, 3, 4)
    assert (said.dry_run, done.dry_run) == (True, False)
    assert (said.files, said.bytes) == (done.files, done.bytes)
    manifests = {f"snapshots/{number:08d}.json" for number in said.snapshots}
    assert before - files(store) == {*said.names, *manifests}
    assert len(said.names) == said.files


def test_young_files_are_kept(store: str) -> None:
    leftovers(store)
    before = files(store)
    done = vacuum.run(store, VacuumOptions(keep=1, older_than=DAY))
    assert (done.snapshots, done.files) == ((), 0)
    assert files(store) == before


def test_an_unfinished_segment_has_the_age_of_its_youngest_file(store: str) -> None:
    leftovers(store)
    age(store, 9 * DAY)
    marker = Path(SegmentPaths(store, "cut").marker(0))
    os.utime(marker, (time.time() - DAY / 2,) * 2)
    vacuum.run(store, VacuumOptions(keep=1, older_than=DAY))
    assert {path for path in files(store) if path.startswith("segments/cut/")} == {
        "segments/cut/plan.json",
        "segments/cut/vectors/part-00000.json",
        "segments/cut/vectors/part-00000-abcd.parquet",
        "segments/cut/vectors/.tmp-1",
    }
    age(store, 9 * DAY)
    vacuum.run(store, VacuumOptions(keep=1, older_than=DAY))
    assert not Path(SegmentPaths(store, "cut").root).exists()


def test_the_snapshot_that_a_run_was_compared_with_is_kept_as_long_as_the_run(store: str) -> None:
    comparison = Comparison(
        SegmentPaths(store, "cut"), Survey((), ColumnOptions(), (), pa.schema([])),
        OpenSnapshot(store, read_snapshot(store, 2)), "sync", "error",
    )  # fmt: skip
    filesystem.create_exclusively(comparison.lease, b"{}")
    age(store, 9 * DAY)
    os.utime(comparison.lease, (time.time() - DAY / 2,) * 2)
    assert vacuum.run(store, VacuumOptions(keep=1, older_than=DAY)).snapshots == (1, 3, 4, 5)
    assert found(store, snapshot=2)[0]
    age(store, 9 * DAY)
    assert vacuum.run(store, VacuumOptions(keep=1, older_than=DAY)).snapshots == (2,)


def test_young_snapshots_are_kept_besides_the_number_to_keep(store: str) -> None:
    age(store, 9 * DAY)
    for number in (4, 5, 6):
        path = Path(store, "snapshots", f"{number:08d}.json")
        os.utime(path, (time.time(),) * 2)
    done = vacuum.run(store, VacuumOptions(keep=1, older_than=DAY))
    # The third was the newest until the fourth came.
    assert done.snapshots == (1, 2)
    assert snapshot_numbers(store) == [3, 4, 5, 6]
    assert found(store, snapshot=3)[0]


def test_the_last_snapshot_before_the_newest_is_kept_for_its_readers(store: str) -> None:
    age(store, 30 * DAY)
    reader, answers = Store.open(store), found(store)
    remove_documents(store, ["c1"])
    compact.run(store)
    assert vacuum.run(store, VacuumOptions(keep=1, older_than=7 * DAY)).snapshots == (1, 2, 3, 4, 5)
    hits = reader.search(make_vectors(8, seed=999), 10)
    assert [[(h.document_id, h.passage, h.text, h.score) for h in line] for line in hits] == [
        [tuple(hit) for hit in line] for line in answers
    ]


def test_a_rollback_keeps_its_snapshot_or_fails(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    age(store, 30 * DAY)
    answers = found(store, snapshot=2)
    removal = vacuum.remove_files
    outcomes: list[object] = []

    def remove(place: str, orphans: Orphans) -> None:
        # The snapshot is removed already, its files are not.
        try:
            roll_back(store, 2)
        except BadInput as error:
            outcomes.append((error.option, error.value))
        removal(place, orphans)

    monkeypatch.setattr(vacuum, "remove_files", remove)
    vacuum.run(store, VacuumOptions(keep=1, older_than=7 * DAY))
    assert outcomes[0] == ("snapshot", 2)
    verify.run(store)

    add_segment(store, "four", {"d": 1}, seed=4)
    remove_documents(store, ["d"])
    age(store, 30 * DAY)
    answers = found(store, snapshot=7)
    real = commits.read_snapshot
    waiting = [1]

    def read(place: str, number: int | None = None) -> Snapshot:
        snapshot = real(place, number)
        if waiting:
            waiting.pop()
            # Between the read of the snapshot and the claim.
            monkeypatch.setattr(vacuum, "remove_files", removal)
            vacuum.run(store, VacuumOptions(keep=1, older_than=7 * DAY))
        return snapshot

    monkeypatch.setattr(commits, "read_snapshot", read)
    with pytest.raises(BadInput) as caught:
        roll_back(store, 7)
    assert (caught.value.option, caught.value.value) == ("snapshot", 7)
    verify.run(store)
    assert answers


def test_a_claim_and_a_vacuum_of_the_same_segment_notice_each_other(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    leftovers(store)
    age(store, 30 * DAY)
    paths = SegmentPaths(store, "cut")
    real = filesystem.create_exclusively
    order = []

    def create(url: str, content: bytes) -> bool:
        if url.endswith("/cut/vacuumed.json") and not order:
            order.append("claimed before the mark")
            paths.claim()
        return real(url, content)

    monkeypatch.setattr(filesystem, "create_exclusively", create)
    before = files(store)
    vacuum.run(store, VacuumOptions(keep=1, older_than=7 * DAY))
    assert order
    mine = {path for path in before if path.startswith("segments/cut/")}
    assert mine <= files(store)
    assert not Path(paths.root, "vacuumed.json").exists()
    paths.claim()

    # The other way round: the mark exists, so no run uses a segment that is being removed.
    filesystem.create_exclusively(filesystem.join(paths.root, "vacuumed.json"), b"{}")
    with raises(Conflict, "segment", "cut", "vacuum"):
        paths.claim()
    assert choose_generation(store, "cut", "append", None).paths.name == "cut-2"
    vacuum.run(store, VacuumOptions(keep=1, older_than=0))
    assert not Path(paths.root).exists()
    assert choose_generation(store, "cut", "append", None).paths.name == "cut"


def test_an_old_listing_removes_no_needed_file(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names, listing = filesystem.list_names, filesystem.list_files(store)
    old = names(filesystem.join(store, "snapshots"))
    remove_documents(store, ["c1"])
    answers = found(store)

    def list_names(url: str) -> list[str]:
        return old if url.endswith("/snapshots") else names(url)

    monkeypatch.setattr(filesystem, "list_names", list_names)
    assert snapshot_numbers(store)[-1] == 7
    assert remove_documents(store, ["c1"]).snapshot == 7
    monkeypatch.setattr(filesystem, "list_files", lambda _: listing)
    vacuum.run(store, VacuumOptions(keep=1, older_than=-60))
    monkeypatch.undo()
    assert found(store) == answers
    verify.run(store)


class Killed(BaseException):
    """A kill: nothing after it runs, cleaning up included."""


def test_the_next_run_finishes_a_vacuum_killed_at_any_removal(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leftovers(store)
    whole = tmp_path / "whole"
    shutil.copytree(store, whole)
    vacuum.run(store, VacuumOptions(keep=2, older_than=0))
    expected, answers = files(store), found(store)
    real = filesystem.remove
    for last in range(1_000):
        cut = str(tmp_path / "store-cut")
        shutil.rmtree(cut, ignore_errors=True)
        shutil.copytree(whole, cut)
        done = 0

        def remove(url: str, last: int = last) -> None:
            nonlocal done
            if done == last:
                raise Killed
            done += 1
            real(url)

        monkeypatch.setattr(filesystem, "remove", remove)
        try:
            vacuum.run(cut, VacuumOptions(keep=2, older_than=0))
        except Killed:
            monkeypatch.setattr(filesystem, "remove", real)
        else:
            break
        for number in (5, 6):
            assert found(cut, snapshot=number) == found(str(whole), snapshot=number)
        verify.run(cut)
        # An earlier snapshot is either intact or removed.
        vacuum.run(cut, VacuumOptions(keep=2, older_than=0))
        assert files(cut) == expected
        assert found(cut) == answers
    assert 20 < last < 999


def test_a_killed_vacuum_leaves_no_marker_without_its_part(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = [file.path for file in find_orphans(store, 1, time.time() + DAY).files]
    for name in ("one",):
        mine = [path.rsplit("/", 1)[-1] for path in order if path.startswith(f"segments/{name}/")]
        kinds = [2 if path == "plan.json" else int(not path.endswith(".json")) for path in mine]
        assert kinds == sorted(kinds)
        assert kinds[0] == 0
        assert kinds[-1] in (1, 2)


def test_a_new_snapshot_of_another_writer_keeps_its_files(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = filesystem.remove
    answers = found(store, snapshot=2)
    waiting = [2]

    def remove(url: str) -> None:
        if waiting:
            roll_back(store, waiting.pop())
        real(url)

    monkeypatch.setattr(filesystem, "remove", remove)
    vacuum.run(store, VacuumOptions(keep=1, older_than=0))
    assert snapshot_numbers(store) == [6, 7]
    assert found(store) == answers
    verify.run(store)


def test_a_new_snapshot_of_another_writer_removes_no_files_of_kept_ones(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = snapshot_numbers(store)
    remove = vacuum.remove_snapshots

    def then_commit(store: str, found: Orphans) -> None:
        remove(store, found)
        remove_documents(store, ["b5"])

    monkeypatch.setattr(vacuum, "remove_snapshots", then_commit)
    vacuum.run(store, VacuumOptions(keep=4, older_than=0))
    left = snapshot_numbers(store)
    assert left == [*numbers[-4:], numbers[-1] + 1]
    for number in left:
        verify.run(store, number=number)


def test_a_damaged_manifest_stops_the_vacuum_before_it_removes_anything(store: str) -> None:
    leftovers(store)
    Path(SegmentPaths(store, "two").manifest).write_bytes(b"{}")
    before = files(store)
    with raises(Damaged, "file", SegmentPaths(store, "two").manifest, "SHA-256"):
        vacuum.run(store, VacuumOptions(keep=1, older_than=0))
    assert files(store) == before


def test_the_newest_snapshot_is_always_kept_and_a_store_is_needed(
    store: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput) as caught:
        vacuum.run(store, VacuumOptions(keep=0, older_than=0))
    assert (caught.value.option, caught.value.value) == ("keep", 0)
    nothing = str(tmp_path / "nothing")
    with pytest.raises(BadInput) as caught:
        vacuum.run(nothing, VacuumOptions(keep=1, older_than=0))
    assert (caught.value.option, caught.value.value) == ("store", nothing)


def test_tombstones_that_another_writer_wrote_again_are_kept(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove_documents(store, ["b5"])
    roll_back(store, 6)
    age(store, 30 * DAY)
    removal = vacuum.remove_files

    def remove(place: str, orphans: Orphans) -> None:
        # The same rows die again, so the file has the same name as in the older listing.
        remove_documents(place, ["b5"])
        removal(place, orphans)

    monkeypatch.setattr(vacuum, "remove_files", remove)
    vacuum.run(store, VacuumOptions(keep=1, older_than=7 * DAY))
    verify.run(store)
    assert "b5" not in live_ids(store)


def test_the_rest_of_a_killed_vacuum_is_removed_whatever_the_age_of_its_mark(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    leftovers(store)
    age(store, 30 * DAY)
    real, seen = filesystem.remove, []

    def remove(url: str) -> None:
        if "/segments/cut/" in url:
            seen.append(url)
            if len(seen) == 2:
                raise KeyboardInterrupt
        real(url)

    with monkeypatch.context() as patched:
        patched.setattr(filesystem, "remove", remove)
        with pytest.raises(KeyboardInterrupt):
            vacuum.run(store, VacuumOptions(keep=1, older_than=7 * DAY))
    paths = SegmentPaths(store, "cut")
    assert Path(paths.root, "vacuumed.json").exists()
    # A claim in between fails, and does not make the segment younger.
    with raises(Conflict, "segment", "cut", "vacuum"):
        paths.claim()
    assert choose_generation(store, "cut", "append", None).paths.name == "cut-2"
    vacuum.run(store, VacuumOptions(keep=1, older_than=7 * DAY))
    assert not Path(paths.root).exists()
    verify.run(store)


def test_files_that_do_not_belong_to_the_store_are_kept(store: str) -> None:
    mine = [Path(store, "README.md"), Path(store, "corpus", "docs.parquet")]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    age(store, 30 * DAY)
    vacuum.run(store, VacuumOptions(keep=1, older_than=0))
    assert all(path.read_text() == "mine" for path in mine)


def test_a_running_compaction_keeps_the_files_that_it_reads(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = compaction_commit.commit_compaction

    def commit(*given: Any) -> Snapshot:
        remove_documents(store, ["c1"])
        for below in ("snapshots", "segments/two", "segments/three"):
            age(store, 2 * 3600, below)
        vacuum.run(store, VacuumOptions(keep=1, older_than=3600))
        return real(*given)

    monkeypatch.setattr(compaction_commit, "commit_compaction", commit)
    done = compact.run(store)
    assert done.segments_after == 1
    assert set(live_ids(store)) == {f"b{n}" for n in (0, 1, 3, 5, 6, 7, 8, 9)} | {
        f"c{n}" for n in (0, 2, 3, 4)
    }
    verify.run(store)
