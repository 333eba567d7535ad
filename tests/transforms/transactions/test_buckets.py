"""The files of a comparison that someone else made are checked before their numbers are used."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.raising import raises
from transforms.catalog.layout import SegmentPaths
from transforms.errors import Damaged
from transforms.storage import filesystem
from transforms.transactions.buckets import chosen_rows, read_buckets, write_bucket
from transforms.transactions.change_set import ChangeSet
from transforms.transactions.diff import CHANGE_SCHEMA

ROW = {
    "document_id": "a", "text_hash": bytes(16), "metadata_hash": bytes(16), "reason": None,
    "file": 0, "row": 3, "segment": 0, "first": 0, "rows": 1, "change": "new",
}  # fmt: skip


def _buckets(store: Path, table: pa.Table) -> tuple[SegmentPaths, ChangeSet]:
    paths = SegmentPaths(str(store), "s")
    whole = pa.Table.from_pylist([ROW], CHANGE_SCHEMA)
    bucket = write_bucket(paths, 0, whole)
    path = Path(paths.changes, bucket.name)
    pq.write_table(table, path)
    bucket = replace(bucket, sha256=filesystem.digest(path.read_bytes()))
    return paths, ChangeSet(1, "sync", 1, (), (bucket,))


@pytest.mark.parametrize(
    "changed",
    [{"file": 7}, {"file": -1}, {"row": -1}, {"row": 1 << 62}, {"segment": 5}, {"rows": -1}],
)
def test_numbers_of_a_bucket_that_nothing_has_are_damage(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    paths, changes = _buckets(tmp_path, pa.Table.from_pylist([ROW | changed], CHANGE_SCHEMA))
    with raises(Damaged, "bucket"):
        list(read_buckets(paths, changes.buckets, file=1, segment=1))


@pytest.mark.parametrize("name", ["change", "file", "row"])
def test_a_bucket_with_other_columns_is_damage(tmp_path: Path, name: str) -> None:
    table = pa.Table.from_pylist([ROW], CHANGE_SCHEMA)
    place = table.column_names.index(name)
    for other in (
        table.drop_columns([name]),
        table.set_column(place, name, pa.array([b"x"])),
    ):
        paths, changes = _buckets(tmp_path / str(len(other.columns)), other)
        with raises(Damaged, "bucket"):
            chosen_rows(paths, changes, 1, frozenset({"new"}))


def test_a_sound_bucket_is_read(tmp_path: Path) -> None:
    paths, changes = _buckets(tmp_path, pa.Table.from_pylist([ROW], CHANGE_SCHEMA))
    [rows] = chosen_rows(paths, changes, 1, frozenset({"new"}))
    assert list(rows) == [3]
