"""Files are checked before a resume, a commit, a vacuum or a rollback relies on them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli import main
from pipeline.ingest.embed import run
from pipeline.ingest.options import EmbedOptions
from pipeline.maintenance import compact, vacuum, verify
from pipeline.maintenance.delete import read_ids
from pipeline.maintenance.options import VacuumOptions
from tests.pipeline.ingest.test_sync import FIRST, assert_like_fresh, changed, embed, make_options
from tests.support.raising import raises
from tests.support.stores import add_segment, live_ids, make_identity, make_segment, overtake
from transforms.catalog.layout import VACUUMED, SegmentPaths
from transforms.catalog.snapshot import read_snapshot, snapshot_numbers
from transforms.errors import AlbeamError, BadInput, Conflict, Damaged
from transforms.index import build  # noqa: F401
from transforms.storage import filesystem
from transforms.storage.checksummed_json import seal, unseal
from transforms.transactions import commit_job, compaction_commit
from transforms.transactions.commits import commit_segment, roll_back
from transforms.transactions.removal import remove_documents


@pytest.fixture
def options(tmp_path: Path, albert: Path) -> EmbedOptions:
    return make_options(tmp_path, albert)


@pytest.fixture
def unfinished(options: EmbedOptions, monkeypatch: pytest.MonkeyPatch) -> SegmentPaths:
    """A run that did all its parts and was stopped before the commit."""

    def stop(*_: Any) -> None:
        raise KeyError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(commit_job, "commit_segment", stop)
        with pytest.raises(AlbeamError, match="stopped"):
            embed(options, FIRST)
    [name] = filesystem.list_names(filesystem.join(options.store, "segments"))
    return SegmentPaths(options.store, name)


def spoil(url: str, how: str) -> None:
    path = Path(url)
    content = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
        return
    if how == "short":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 3] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["gone", "short", "flip"])
@pytest.mark.parametrize("what", ["part", "marker"])
def test_a_damaged_part_is_written_again(
    options: EmbedOptions, unfinished: SegmentPaths, how: str, what: str
) -> None:
    part = unfinished.read_marker(1)
    assert part is not None
    part_url = filesystem.join(unfinished.vectors, part.name)
    spoil(part_url if what == "part" else unfinished.marker(1), how)
    assert embed(options, FIRST).parts_found_done == 2
    assert_like_fresh(options, FIRST)


def test_a_damaged_part_that_a_snapshot_needs_is_not_replaced(
    options: EmbedOptions,
) -> None:
    embed(options, FIRST)
    [live] = read_snapshot(options.store).segments
    paths = SegmentPaths(options.store, live.name)
    part = paths.read_marker(1)
    assert part is not None
    remove_documents(options.store, [next(iter(live_ids(options.store)))])
    spoil(filesystem.join(paths.vectors, part.name), "flip")
    with pytest.raises(Damaged) as caught:
        embed(options, FIRST, "replace")
    assert (caught.value.option, caught.value.value) == ("part", 1)
    assert part.name in caught.value.problem
    assert "--no-resume" in caught.value.remedy
    assert filesystem.exists(paths.manifest)
    assert paths.read_marker(1) == part
    assert embed(options, FIRST, "replace", resume=False).parts_found_done == 0
    assert_like_fresh(options, FIRST)


@pytest.mark.parametrize("how", ["short", "flip"])
def test_a_plan_that_was_changed_is_not_followed(
    options: EmbedOptions, unfinished: SegmentPaths, how: str
) -> None:
    spoil(unfinished.plan, how)
    with pytest.raises(Damaged) as caught:
        embed(options, FIRST)
    assert (caught.value.option, caught.value.value) == ("file", unfinished.plan)
    assert "--no-resume" in caught.value.remedy
    embed(options, FIRST, resume=False)
    assert_like_fresh(options, FIRST)


@pytest.mark.parametrize("how", ["short", "flip"])
def test_unreadable_changes_are_not_resumed(
    options: EmbedOptions, unfinished: SegmentPaths, how: str
) -> None:
    spoil(filesystem.join(unfinished.root, "changes.json"), how)
    made = embed(options, FIRST)
    assert (made.documents, made.parts_found_done) == (20, 0)
    # Unreadable changes of a live segment do no harm either.
    live = SegmentPaths(options.store, read_snapshot(options.store).segments[0].name)
    spoil(filesystem.join(live.root, "changes.json"), how)
    assert embed(options, FIRST).unchanged == 20
    after = changed(FIRST)
    embed(options, after)
    assert_like_fresh(options, after)


@given(
    st.dictionaries(st.text(max_size=5), st.integers() | st.text() | st.lists(st.floats(0, 1))),
    st.data(),
)
def test_a_flipped_bit_is_noticed(value: dict[str, Any], data: st.DataObject) -> None:
    value.pop("digest", None)
    content = bytearray(seal(value))
    assert unseal(bytes(content), "file") == value
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = unseal(bytes(content), "file.json")
    except Damaged as error:
        assert "file.json" in str(error)
    else:
        # Some bits make no other value, such as that of a letter's case after \u.
        assert found == value


@pytest.mark.parametrize("mode", ["append", "sync", "replace"])
def test_what_a_vacuum_took_is_not_made_live(
    options: EmbedOptions, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    embed(options, FIRST)
    after = changed(FIRST)
    real = commit_job.commit_segment

    def late(*arguments: Any) -> Any:
        vacuum.run(options.store, VacuumOptions(1, 0))
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(commit_job, "commit_segment", late)
        with raises(Conflict, "segment", problem="vacuum"):
            embed(options, after, mode)
    assert len(live_ids(options.store)) == 20
    verify.run(options.store)
    embed(options, after, mode)
    if mode != "append":
        assert_like_fresh(options, after)


def test_a_compaction_that_a_vacuum_took_is_not_made_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = str(tmp_path / "store")
    for name in "ab":
        add_segment(store, name, {f"{name}{n}": 1 for n in range(5)})
    before = live_ids(store)
    real = compaction_commit.commit_compaction

    def late(*arguments: Any) -> Any:
        vacuum.run(store, VacuumOptions(1, 0))
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(compaction_commit, "commit_compaction", late)
        with raises(Conflict, "segment", problem="vacuum"):
            compact.run(store)
    verify.run(store)
    assert compact.run(store).segments_after == 1
    assert live_ids(store) == before


def test_another_model_that_was_faster_is_a_conflict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = str(tmp_path / "store")
    add_segment(store, "one", {"a": 1})
    other = make_segment("other", identity=make_identity(layer=1), parts=())
    info, digest = SegmentPaths(store, "other").create_manifest(other)
    overtake(monkeypatch, lambda: commit_segment(store, info, digest, "replace", "test"))
    with pytest.raises(Conflict) as caught:
        add_segment(store, "two", {"b": 1})
    assert caught.value.option == "model"


def test_the_loss_of_the_newest_snapshot_is_noticed(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    add_segment(store, "one", {"a": 1, "b": 1})
    remove_documents(store, ["a"])
    Path(store, "snapshots", "00000002.json").unlink()
    for look in (read_snapshot, verify.run):
        with raises(Damaged, "file", Path(store, "snapshots", "00000002.json"), "missing"):
            look(store)
    with pytest.raises(Damaged) as caught:
        remove_documents(store, ["b"])
    assert caught.value.value == filesystem.join(store, "snapshots", "00000002.json")
    assert roll_back(store, 1).number == 3
    assert live_ids(store) == ["a", "b"]
    # What a writer could not note, or another one noted late, does no harm.
    Path(store, "snapshots", "newest").write_text("1")
    assert snapshot_numbers(store) == [1, 3]
    Path(store, "snapshots", "newest").unlink()
    assert read_snapshot(store).number == 3


def test_older_snapshots_stay_where_the_newest_lacks_files(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    add_segment(store, "one", {f"a{n}": 1 for n in range(4)})
    remove_documents(store, ["a0"])
    compact.run(store)
    newest = read_snapshot(store)
    paths = SegmentPaths(store, newest.segments[0].name)
    part = paths.read_marker(0)
    assert part is not None
    Path(paths.vectors, part.name).unlink()
    with pytest.raises(Damaged) as caught:
        vacuum.run(store, VacuumOptions(1, 0))
    assert (caught.value.option, caught.value.value) == ("snapshot", newest.number)
    assert part.name in caught.value.problem
    roll_back(store, 2)
    vacuum.run(store, VacuumOptions(1, 0))
    assert live_ids(store) == ["a1", "a2", "a3"]
    verify.run(store)


def test_what_a_rollback_took_back_is_not_embedded_again(options: EmbedOptions) -> None:
    embed(options, FIRST)
    after = changed(FIRST)
    once = embed(options, after)
    roll_back(options.store, 1)
    again = embed(options, after)
    assert (again.snapshot, again.segment) == (4, once.segment)
    assert (again.parts_found_done, again.model_loads) == (again.parts, 0)
    assert_like_fresh(options, after)
    # A commit in between makes the comparison stale.
    roll_back(options.store, 1)
    remove_documents(options.store, ["d00"])
    assert embed(options, after).parts_found_done == 0
    assert_like_fresh(options, after)


def test_a_rollback_to_what_lacks_a_part_is_refused(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    add_segment(store, "one", {"a": 1})
    add_segment(store, "two", {"b": 1})
    roll_back(store, 1)
    paths = SegmentPaths(store, "two")
    part = paths.read_marker(0)
    assert part is not None
    spoil(filesystem.join(paths.vectors, part.name), "short")
    with pytest.raises(Damaged) as caught:
        roll_back(store, 2)
    assert (caught.value.option, caught.value.value) == ("snapshot", 2)
    assert part.name in caught.value.problem
    verify.run(store)
    with pytest.raises(Damaged) as caught:
        verify.run(store, number=2)
    assert part.name in caught.value.problem
    assert main(["verify", store, "--snapshot", "2"]) == 1
    assert read_snapshot(store).number == 3


def test_a_mark_that_a_killed_vacuum_left_on_what_lives_goes(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    add_segment(store, "one", {"a": 1, "b": 1})
    filesystem.create_exclusively(filesystem.join(SegmentPaths(store, "one").root, VACUUMED), b"{}")
    with pytest.raises(Conflict) as conflict:
        remove_documents(store, ["a"])
    assert (conflict.value.option, conflict.value.value) == ("segment", "one")
    vacuum.run(store, VacuumOptions(1, 0))
    assert remove_documents(store, ["a"]).documents == 1


def test_ids_keep_every_character_but_the_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_bytes(b"a\rb\nc\n\n")
    assert read_ids(str(path)) == ["a\rb", "c"]
    path.write_bytes("\ufeffa\r\ncé\r\n".encode())
    assert read_ids(str(path)) == ["a", "cé"]


def test_nested_columns_of_type_null_are_refused(options: EmbedOptions, tmp_path: Path) -> None:

    rows = pa.array([{"x": 1, "y": None}], pa.struct([("x", pa.int64()), ("y", pa.null())]))
    path = tmp_path / "nested.parquet"
    pq.write_table(pa.table({"id": ["a"], "text": ["river"], "more": rows}), path)
    with pytest.raises(
        BadInput, match=r"metadata column more: .*nested\.parquet.*struct.*leave the column out"
    ):
        run(replace(options, inputs=(str(path),)))
