"""New files: which are taken, which rows of them count, and how often they are read."""

import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.raising import raises
from tests.support.stores import make_identity
from tests.support.watched import counted_requests, put, some
from transforms.catalog.options import ColumnOptions
from transforms.errors import BadInput
from transforms.index.options import IndexOptions
from transforms.storage.input_files import list_inputs
from transforms.streaming.file_intake import WatchOptions, list_new, plan_entry
from transforms.streaming.journal_entries import Entry


@pytest.fixture
def watched(tmp_path: Path) -> WatchOptions:
    return WatchOptions(
        (str(tmp_path / "in"),), str(tmp_path / "store"), ColumnOptions(), make_identity(),
        "float32", IndexOptions(), rate=1000.0, every=1.0, rows_per_part=10,
    )  # fmt: skip


def plan(watched: WatchOptions) -> Entry:
    return plan_entry(watched, watched.journal.read(), list_inputs(watched.inputs), 0.0)


def test_of_rows_with_one_id_the_last_counts(watched: WatchOptions, tmp_path: Path) -> None:
    put(tmp_path / "in", "a.parquet", {"x": "one", "y": "one"})
    put(tmp_path / "in", "b.parquet", {"y": "two", "z": "two"})
    entry = plan(watched)
    stored = watched.journal.paths(entry).read_plan()
    assert stored is not None
    assert stored.rows == 3
    ids = watched.journal.read_ids(entry.segment)
    assert {Path(url).name: names for url, names in ids.items()} == {
        "a.parquet": ["x"],
        "b.parquet": ["y", "z"],
    }


def test_files_that_do_not_fit_are_rejected_and_the_others_taken(
    watched: WatchOptions, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    put(folder, "a.parquet", some(0, 3))
    pq.write_table(pa.table({"other": [1]}), folder / "b.parquet")
    whole = put(folder, "c.parquet", some(10, 30))
    content = bytearray(whole.read_bytes())
    content[60:200] = bytes(140)
    whole.write_bytes(content)
    entry = plan(watched)
    assert {Path(url).name for url in entry.rejected} == {"b.parquet", "c.parquet"}
    assert "id column" in entry.rejected[str(folder / "b.parquet")]
    assert entry.parts == 1


@pytest.mark.parametrize("rows", [9, 29])
def test_a_file_is_opened_as_often_however_many_files_and_row_groups_there_are(
    watched: WatchOptions, tmp_path: Path, rows: int
) -> None:
    urls = [str(put(tmp_path / "in", f"{n:02d}.parquet", some(n * 50, rows))) for n in range(8)]
    with counted_requests() as requests:
        entry = plan(watched)
    stored = watched.journal.paths(entry).read_plan()
    assert stored is not None
    assert (stored.rows, entry.rejected) == (8 * rows, {})
    # For the footer, to check that all rows can be read, and for the ids.
    assert {url: requests[url] for url in urls} == dict.fromkeys(urls, 3)


def test_what_the_journal_has_is_not_new(watched: WatchOptions, tmp_path: Path) -> None:
    journal = watched.journal
    assert list_new(watched, journal.read()) == []
    put(tmp_path / "in", "a.parquet", some(0, 3))
    [file] = list_new(watched, journal.read())
    assert journal.add(Entry(1, "segment", 1, (file,), {}, 0.0))
    assert list_new(watched, journal.read()) == []
    put(tmp_path / "in", "a.parquet", some(0, 4))
    assert [each.url for each in list_new(watched, journal.read())] == [file.url]


def test_an_empty_input_hides_no_other(watched: WatchOptions, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    put(tmp_path / "in", "a.parquet", some(0, 3))
    both = replace(watched, inputs=(str(tmp_path / "empty"), *watched.inputs))
    assert [Path(file.url).name for file in list_new(both, both.journal.read())] == ["a.parquet"]
    unknown = replace(watched, inputs=("nothing://of/that/kind", *watched.inputs))
    with raises(BadInput, "path", "nothing://of/that/kind"):
        list_new(unknown, unknown.journal.read())


def test_an_interval_must_be_positive(watched: WatchOptions) -> None:
    with pytest.raises(BadInput) as caught:
        replace(watched, every=0.0)
    assert (caught.value.option, caught.value.value) == ("every", 0.0)


def names(options: WatchOptions) -> list[str]:
    return [Path(file.url).name for file in list_new(options, options.journal.read())]


def test_a_poll_lists_what_a_run_lists(watched: WatchOptions, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    put(folder, "a.parquet", some(0, 3))
    put(folder / ".checkpoints", "h.parquet", some(3, 3))
    put(tmp_path / "more", "c.parquet", some(6, 3))
    (folder / "linked").symlink_to("../more")
    (folder / "late.parquet").symlink_to("../nothing/yet")
    inside = replace(watched, inputs=(str(folder),), store=str(folder / "store"))
    put(folder / "store" / "segments", "p.parquet", some(0, 3))
    assert names(inside) == ["a.parquet", "c.parquet"]
    put(tmp_path / "nothing", "yet", some(9, 3))
    assert names(replace(inside, inputs=(str(folder / "**/*.parquet"),))) == [
        "a.parquet", "late.parquet", "c.parquet",
    ]  # fmt: skip


def test_another_target_of_a_link_is_a_new_version(watched: WatchOptions, tmp_path: Path) -> None:
    folder, journal = tmp_path / "in", watched.journal
    for name in ("one", "two"):
        path = put(tmp_path / name, "c.parquet", some(0, 3))
        os.utime(path, (1e9, 1e9))
    folder.mkdir()
    (folder / "now").symlink_to("../one")
    [file] = list_new(watched, journal.read())
    assert journal.add(Entry(1, "segment", 1, (file,), {}, 0.0))
    assert names(watched) == []
    (folder / "now").unlink()
    (folder / "now").symlink_to("../two")
    [other] = list_new(watched, journal.read())
    assert other.url == file.url


def test_an_input_that_is_a_link_is_looked_up_at_each_poll(
    watched: WatchOptions, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        put(tmp_path / name, f"{name}.parquet", some(0, 3))
    place = tmp_path / "current"
    place.symlink_to("one")
    linked = replace(watched, inputs=(str(tmp_path / "one"),), places=(str(place),))
    assert names(linked) == ["one.parquet"]
    place.unlink()
    place.symlink_to("two")
    assert names(linked) == ["two.parquet"]
