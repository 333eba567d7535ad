"""Carry vectors over into a new segment, for documents of which only the metadata changed."""

import functools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyroaring import BitMap64

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.parts import open_part
from transforms.catalog.plan import Part, Plan
from transforms.catalog.segment import PartInfo, SegmentInfo
from transforms.catalog.snapshot import read_segment
from transforms.errors import Damaged
from transforms.ingest.part_tables import mark_chunks
from transforms.ingest.partitioning import MOST_ROWS, MOST_TEXT_BYTES, cut_parts
from transforms.ingest.read_parts import Reader, read_chunks
from transforms.ingest.survey import Survey
from transforms.storage import filesystem, remedies
from transforms.storage.checked_parquet import open_by_name
from transforms.storage.parquet_files import reading
from transforms.storage.schema import (
    PASSAGE_FIELDS,
    REJECT,
    SOURCE_FIELDS,
    TOKEN_FIELD,
    TOKENS,
    VECTOR,
)
from transforms.transactions.buckets import read_buckets
from transforms.transactions.change_set import ChangeSet, change_set_url, read_change_set

Ints = npt.NDArray[np.int64]
_ADDRESS = ("segment", "first", "rows")
_OLD = ("passage", "start", "end", "text", "text_hash")


def plan_carries(
    paths: SegmentPaths, survey: Survey, changes: ChangeSet, number: int, limit: int | None
) -> tuple[Part, ...]:
    """Plan the parts of documents of which only the metadata changed, and write their old rows.

    Args:
        paths: the new segment.
        survey: the survey of the input.
        changes: the change set.
        number: the number of the first such part.
        limit: rows of a part; None to choose automatically.
    """
    if not changes.counts["metadata"]:
        return ()
    wanted = [
        table.filter(pc.equal(table.column("change"), "metadata"))
        for table in read_buckets(
            paths,
            changes.buckets,
            ["change", "file", "row", *_ADDRESS],
            file=len(survey.files),
            segment=len(changes.segments),
        )
    ]
    rows = pa.concat_tables(wanted).sort_by([("file", "ascending"), ("row", "ascending")])
    files, places = rows.column("file").to_numpy(), rows.column("row").to_numpy()
    chosen = [BitMap64(places[files == file].tolist()) for file in range(len(survey.files))]
    parts = []
    first = 0
    for part in cut_parts(survey.groups, limit or MOST_ROWS, MOST_TEXT_BYTES, chosen):
        name = _write_addresses(paths, rows.slice(first, part.rows).select(_ADDRESS))
        parts.append(replace(part, number=number + part.number, carry=name))
        first += part.rows
    return tuple(parts)


def _write_addresses(paths: SegmentPaths, table: pa.Table) -> str:
    with filesystem.put_by_content(paths.changes, "carry", ".parquet") as written:
        pq.write_table(table, written.path, compression="zstd", write_page_checksum=True)
    return written.name


def open_carried(paths: SegmentPaths, plan: Plan) -> Reader:
    """Return `read_carried` for the parts of a plan; raises Damaged without the change set."""
    changes = read_change_set(paths)
    if changes is None:
        url = change_set_url(paths)
        raise Damaged("file", url, "is missing", "Run the same command again")
    return functools.partial(read_carried, paths, plan, changes)


def read_carried(
    paths: SegmentPaths, plan: Plan, changes: ChangeSet, part: Part
) -> Iterator[pa.Table]:
    """Yield the passages of a part as marked tables: old texts and vectors, new metadata.

    Raises:
        Damaged: the old rows are missing, or belong to other documents.
    """
    url = filesystem.join(paths.changes, part.carry)
    with open_by_name(url) as file, reading(url):
        addresses = file.read()
    _check_addresses(addresses, [each.base.passages for each in changes.segments], url)
    yield from mark_chunks(part.number, _carried(paths, plan, changes, part, addresses))


def _check_addresses(addresses: pa.Table, segments: list[int], url: str) -> None:
    """Raise Damaged if addresses are not those of rows of the base's segments."""
    problem = ""
    try:
        columns = [addresses.column(name).combine_chunks() for name in _ADDRESS]
        numbers, first, counts = (column.cast(pa.int64()).to_numpy() for column in columns)
        most = np.array([*segments, 0])[np.clip(numbers, -1, len(segments))]
        if not ((first >= 0) & (counts > 0) & (counts <= most - first)).all():
            problem = "has rows that no segment has"
        elif counts.sum() > sum(segments):
            problem = "has more rows than the segments"
    except (KeyError, ValueError, IndexError, pa.ArrowException) as error:
        problem = f"has other columns than {', '.join(_ADDRESS)}: {error}"
    if problem:
        raise Damaged("file", url, problem, remedies.NO_RESUME)


def _carried(
    paths: SegmentPaths, plan: Plan, changes: ChangeSet, part: Part, addresses: pa.Table
) -> Iterator[pa.Table]:
    old = _OldRows(paths.store, changes)
    first = 0
    for table in read_chunks(plan, part):
        yield carry_over(table, addresses.slice(first, table.num_rows), old)
        first += table.num_rows


def carry_over(table: pa.Table, addresses: pa.Table, old: "_OldRows") -> pa.Table:
    """Join documents with their existing passages.

    Args:
        table: documents, as `read_chunks` yields them.
        addresses: ``segment, first, rows`` of each document's passages.
        old: the reader of those passages.

    Returns:
        The table that `EmbedPassages` would give, without token ids.
    """
    segments, first, counts = (addresses.column(name).to_numpy() for name in _ADDRESS)
    source = np.repeat(np.arange(table.num_rows), counts)
    within = np.arange(len(source)) - np.repeat(np.cumsum(counts) - counts, counts)
    passages = old.read(segments[source], first[source] + within)
    taken = table.take(pa.array(source))
    if not passages.column("document_id").equals(taken.column("document_id")):
        raise Damaged(
            "plan", None, "has rows of other documents in old segments", remedies.NO_RESUME
        )
    own = {field.name for field in (*PASSAGE_FIELDS, *SOURCE_FIELDS)}
    metadata = [field for field in table.schema if field.name not in own]
    fields = [*PASSAGE_FIELDS, TOKEN_FIELD, *SOURCE_FIELDS, *metadata]
    columns = {name: taken.column(name) for name in taken.column_names}
    columns |= {name: passages.column(name) for name in _OLD}
    columns[TOKENS] = pa.nulls(len(source), TOKEN_FIELD.type)
    columns[REJECT] = pa.nulls(len(source), pa.string())
    result = pa.table([columns[field.name] for field in fields], schema=pa.schema(fields))
    return result.append_column(VECTOR, passages.column(VECTOR))


class _OldRows:
    """A reader of rows of the base's segments by number, one row group at a time."""

    def __init__(self, store: str, changes: ChangeSet) -> None:
        self._store, self._changes = store, changes
        self._segments: dict[int, SegmentInfo] = {}

    def read(self, segments: Ints, rows: Ints) -> pa.Table:
        """Return ``document_id``, the passage columns and ``vector`` of rows, in their order."""
        pieces, places = [], []
        for segment in np.unique(segments).tolist():
            info = self._segment(segment)
            edges = np.cumsum([0, *(part.rows for part in info.parts)])
            mine = np.flatnonzero(segments == segment)
            parts = np.searchsorted(edges, rows[mine], side="right") - 1
            for part in np.unique(parts).tolist():
                inside = mine[parts == part]
                paths = SegmentPaths(self._store, info.name)
                for table, at in _read_rows(paths, info.parts[part], rows[inside] - edges[part]):
                    pieces.append(table)
                    places.append(inside[at])
        order = np.argsort(np.concatenate(places))
        return pa.concat_tables(pieces).take(pa.array(order))

    def _segment(self, number: int) -> SegmentInfo:
        if number not in self._segments:
            ref = self._changes.segments[number].base
            self._segments[number] = read_segment(self._store, ref)
        return self._segments[number]


def _read_rows(paths: SegmentPaths, part: PartInfo, rows: Ints) -> Iterator[tuple[pa.Table, Ints]]:
    url = filesystem.join(paths.vectors, part.name)
    with open_part(paths, part) as file, reading(url):
        edges = np.cumsum([0, *file.group_rows])
        groups = np.searchsorted(edges, rows, side="right") - 1
        for group in np.unique(groups).tolist():
            at = np.flatnonzero(groups == group)
            table = file.read_row_group(group, columns=["document_id", *_OLD, VECTOR])
            yield table.take(pa.array(rows[at] - edges[group])), at
