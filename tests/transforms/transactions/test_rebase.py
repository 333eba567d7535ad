"""Commits on top of what others did meanwhile, against a store that is a dictionary."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.stores import make_format, make_identity, make_segment, make_vectors
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.open_snapshot import OpenSnapshot
from transforms.catalog.options import ColumnOptions
from transforms.catalog.snapshot import newest_snapshot
from transforms.errors import Conflict
from transforms.ingest.part_tables import Chunk, mark_chunk
from transforms.ingest.part_writer import PartWriter
from transforms.ingest.survey import Survey
from transforms.search.store import Store
from transforms.storage.schema import FILE, HASH, REJECT, ROW, TOKEN_FIELD, TOKENS, VECTOR
from transforms.storage.vectors import vectors_to_arrow
from transforms.transactions.buckets import gather_changes, write_bucket
from transforms.transactions.change_set import ChangeSet
from transforms.transactions.commits import commit_removals, commit_segment, roll_back
from transforms.transactions.diff import RECORD_SCHEMA, compare
from transforms.transactions.diff_job import Comparison, Unit, read_records
from transforms.transactions.removal import remove_documents

#: Id to version; an even and the next odd version differ in their metadata alone.
Documents = dict[str, int]
IDS = "abcdef"
REJECTED = -1
DOCUMENTS = st.dictionaries(st.sampled_from(IDS), st.integers(0, 3), max_size=5)
INPUTS = st.dictionaries(st.sampled_from(IDS), st.integers(REJECTED, 3), max_size=5)


def text_of(version: int) -> bytes:
    return bytes([version // 2]) * 16


def metadata_of(version: int) -> bytes:
    return bytes([version]) * 16


def write_segment(store: str, name: str, documents: Documents) -> tuple[Any, str]:
    """A segment of one part with one or two passages a document; its place and digest."""
    paths = SegmentPaths(store, name)
    rows = [
        (number, identifier, version, passage)
        for number, (identifier, version) in enumerate(documents.items())
        for passage in range(1 + ord(identifier) % 2)
    ]
    count = len(rows)
    table = pa.table(
        {
            "document_id": pa.array([row[1] for row in rows], pa.string()),
            "passage": pa.array([row[3] for row in rows], pa.int32()),
            "start": pa.array([0] * count, pa.int32()),
            "end": pa.array([1] * count, pa.int32()),
            "text": pa.array([f"{row[1]}{row[2]}" for row in rows], pa.string()),
            "text_hash": pa.array([text_of(row[2]) for row in rows], HASH),
            "metadata_hash": pa.array([metadata_of(row[2]) for row in rows], HASH),
            FILE: pa.array(["f"] * count, pa.string()),
            ROW: pa.array([row[0] for row in rows], pa.int64()),
            REJECT: pa.nulls(count, pa.string()),
            TOKENS: pa.nulls(count, TOKEN_FIELD.type),
            VECTOR: vectors_to_arrow(make_vectors(count), pa.float32()),
        }
    )
    writer = PartWriter(paths, 0, make_format())
    writer.write(mark_chunk(table, Chunk(0, 0, last=True)))
    info = make_segment(name, parts=(writer.finish(),), metadata=pa.schema([]))
    return paths.create_manifest(info)


def contents(store: str) -> Documents:
    """What the newest snapshot holds; every document once, with all its passages."""
    if newest_snapshot(store) is None:
        return {}
    opened = Store.open(store)
    found: Documents = {}
    rows = [row for table in opened.documents() for row in table.to_pylist()]
    for row in rows:
        version = row["metadata_hash"][0]
        assert row["text"] == f"{row['document_id']}{version}"
        if row["passage"] == 0:
            assert row["document_id"] not in found
            found[row["document_id"]] = version
    assert len(rows) == sum(1 + ord(name) % 2 for name in found) == opened.snapshot.passages
    assert opened.snapshot.documents == len(found)
    return found


@dataclass
class Writer:
    """A run of ``albeam embed`` in two steps: it compares, and it commits later."""

    store: str
    name: str
    mode: str
    inputs: Documents

    def compare(self) -> None:
        base = OpenSnapshot(self.store, newest_snapshot(self.store))
        self.paths = SegmentPaths(self.store, self.name)
        survey = Survey((), ColumnOptions(), pa.schema([]), ())
        comparison = Comparison(self.paths, survey, base, self.mode, "error")
        live = [RECORD_SCHEMA.empty_table()]
        for place, info in enumerate(base.infos()):
            unit = Unit("live", place, 0, 0, info.rows)
            live.append(read_records(comparison, unit))
        records = [
            {
                "document_id": name, "file": 0, "row": row,
                "text_hash": None if version == REJECTED else text_of(version),
                "metadata_hash": None if version == REJECTED else metadata_of(version),
                "reason": "blank text" if version == REJECTED else None,
            }
            for row, (name, version) in enumerate(self.inputs.items())
        ]  # fmt: skip
        found = compare(
            pa.Table.from_pylist(records, RECORD_SCHEMA), pa.concat_tables(live), self.mode, "error"
        )
        buckets = [write_bucket(self.paths, 0, found)] if found.num_rows else []
        rows = len(self.inputs)
        changes = gather_changes(self.paths, base, self.mode, rows, tuple(buckets))
        assert ChangeSet.from_json(changes.to_json(), "changes.json") == changes
        kinds = ("new", "changed", "metadata")
        self.written = {
            row["document_id"]: self.inputs[row["document_id"]]
            for row in found.to_pylist()
            if row["change"] in kinds
        }
        self.changes = changes

    def commit(self) -> None:
        changes = self.changes
        if changes.writes_documents or newest_snapshot(self.store) is None:
            info, digest = write_segment(self.store, self.name, self.written)
            commit_segment(self.store, info, digest, self.mode, "test", changes)
        else:
            identity = make_identity()
            commit_removals(self.store, self.name, self.mode, "test", identity, changes)

    def expected(self, before: Documents) -> Documents:
        rest = {} if self.mode == "sync" else dict(before)
        for name, version in self.inputs.items():
            rest.pop(name, None)
            if version != REJECTED:
                rest[name] = version
        return rest


def compact(store: str, name: str) -> None:
    """All live rows into one segment."""
    info, digest = write_segment(store, name, contents(store))
    [ref] = commit_segment(store, info, digest, "replace", "compact").segments
    assert ref.live_documents == ref.documents


@pytest.fixture
def store() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield f"{folder}/store"


MEANWHILE = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(["append", "sync"]), INPUTS),
        st.tuples(st.just("delete"), st.sets(st.sampled_from(IDS), min_size=1), st.none()),
        st.tuples(st.just("compact"), st.none(), st.none()),
        st.tuples(st.just("rollback"), st.integers(0, 9), st.none()),
    ),
    max_size=3,
)


def happen(store: str, number: int, what: tuple[str, Any, Any]) -> None:
    kind, detail, inputs = what
    newest = newest_snapshot(store)
    if kind == "write":
        writer = Writer(store, f"other{number}", detail, inputs)
        writer.compare()
        before = contents(store)
        writer.commit()
        assert contents(store) == writer.expected(before)
    elif newest is not None and kind == "delete":
        remove_documents(store, sorted(detail))
    elif newest is not None and kind == "compact":
        compact(store, f"compact{number}")
    elif newest is not None and kind == "rollback":
        roll_back(store, 1 + detail % newest.number)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.just("write"), st.just("append"), INPUTS), max_size=3),
    st.sampled_from(["append", "sync"]),
    INPUTS,
    MEANWHILE,
)
def test_the_later_commit_wins_whatever_happened_meanwhile(
    before: list[tuple[str, Any, Any]],
    mode: str,
    inputs: Documents,
    meanwhile: list[tuple[str, Any, Any]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = f"{folder}/store"
        for number, what in enumerate(before):
            happen(store, number, what)
        writer = Writer(store, "ours", mode, inputs)
        writer.compare()
        for number, what in enumerate(meanwhile, len(before)):
            happen(store, number, what)
        there = contents(store)
        writer.commit()
        assert contents(store) == writer.expected(there)


def start(store: str, mode: str, inputs: Documents, **live: int) -> Writer:
    info, digest = write_segment(store, "first", live)
    commit_segment(store, info, digest, "append", "test")
    writer = Writer(store, "ours", mode, inputs)
    writer.compare()
    return writer


def test_unchanged_documents_that_a_compaction_moved_stay_there(store: str) -> None:
    writer = start(store, "sync", {"a": 0, "b": 2}, a=0, b=0, c=0)
    compact(store, "compacted")
    writer.commit()
    assert contents(store) == {"a": 0, "b": 2}
    newest = newest_snapshot(store)
    assert newest is not None
    assert [ref.name for ref in newest.segments] == ["compacted", "ours"]


def test_unchanged_documents_that_somebody_deleted_live_again(store: str) -> None:
    writer = start(store, "append", {"a": 0, "b": 2}, a=0, b=0, c=0)
    remove_documents(store, ["a", "c"])
    writer.commit()
    assert contents(store) == {"a": 0, "b": 2}


def test_unchanged_documents_that_are_nowhere_come_back_or_are_a_conflict(store: str) -> None:
    writer = start(store, "append", {"a": 0, "b": 2}, a=0, b=0)
    remove_documents(store, ["a"])
    compact(store, "compacted")
    manifest = Path(SegmentPaths(store, "first").manifest)
    content = manifest.read_bytes()
    manifest.unlink()
    with pytest.raises(Conflict) as caught:
        writer.commit()
    assert (caught.value.option, caught.value.value) == ("document", "a")
    assert contents(store) == {"b": 0}
    manifest.write_bytes(content)
    writer.commit()
    assert contents(store) == {"a": 0, "b": 2}


def test_a_segment_without_a_comparison_replaces_documents_of_its_ids(store: str) -> None:
    start(store, "append", {}, a=0, b=0)
    info, digest = write_segment(store, "second", {"b": 2, "c": 2})
    commit_segment(store, info, digest, "append", "test")
    assert contents(store) == {"a": 0, "b": 2, "c": 2}
