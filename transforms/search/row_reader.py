"""Read rows of a store by their global numbers, from the parts."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.parts import format_of, open_part
from transforms.catalog.segment import SegmentInfo
from transforms.catalog.vacuumed import SnapshotSource
from transforms.index.top_k import Rows
from transforms.runtime.lending import Lending
from transforms.runtime.once import Once
from transforms.runtime.search_pool import search_pool
from transforms.storage import filesystem
from transforms.storage.arrow_values import plain_rows
from transforms.storage.column_types import cast_table, common_schema
from transforms.storage.file_cache import FileCache
from transforms.storage.parquet_files import reading
from transforms.storage.schema import VECTOR

_OPEN_PARTS = 256
_CACHED_GROUPS = 4_096
_NAMES = pa.schema([("document_id", pa.string()), ("passage", pa.int32())])
_HIDDEN = frozenset({"text_hash", "metadata_hash", VECTOR})


class RowReader:
    """Reader of the rows of all segments, numbered in order. Threads may share one."""

    def __init__(
        self,
        source: SnapshotSource,
        segments: Sequence[SegmentInfo],
        files: FileCache | None = None,
    ) -> None:
        """Hold the names of all parts of a snapshot; none is opened yet.

        Args:
            source: the snapshot.
            segments: its segments.
            files: notes which parts were checked.
        """
        self._source, self._checked = source, files
        self._parts = []
        for segment in segments:
            paths, form = SegmentPaths(source.store, segment.name), format_of(segment)
            self._parts += [(paths, part, form) for part in segment.parts]
        #: The first global row of each part, then the number of all rows.
        self._edges = np.cumsum([0] + [part.rows for _, part, _ in self._parts])
        # pyarrow crashes if two threads read one open file.
        self._files = Lending(self._open_part, _OPEN_PARTS)
        self._names_of_group = Once(self._names_of_group_uncached, _CACHED_GROUPS)
        self._group_edges = Once(self._group_edges_uncached, _OPEN_PARTS)

    def __len__(self) -> int:
        """Return the number of rows, dead ones included."""
        return int(self._edges[-1])

    def document_ids(self, rows: Rows) -> list[list[str]]:
        """Return the document ids of global rows ``[questions, n]``; "" for row -1."""
        unique, inverse = np.unique(rows, return_inverse=True)
        known = self.names(unique[unique >= 0]).column("document_id").to_pylist()
        names = [""] * (len(unique) - len(known)) + known
        return [[names[i] for i in line] for line in inverse.reshape(rows.shape)]

    def names(self, rows: Rows) -> pa.Table:
        """Return ``document_id`` and ``passage`` of global rows ``[n]``; row groups are cached."""
        unique, inverse = np.unique(rows, return_inverse=True)
        tables = [_NAMES.empty_table()]
        for found in search_pool().map(self._names_of_rows, self._by_part(unique)):
            tables += found
        return pa.concat_tables(tables).take(pa.array(inverse))

    def read_rows(self, rows: Rows, columns: Sequence[str]) -> pa.Table:
        """Return columns of the parts' schema for global rows, which must ascend."""
        tables = []
        for group in self._by_group(rows):
            table = self._read_group(group.part, group.number, list(columns))
            tables.append(table.select(columns).take(pa.array(group.rows)))
        schema = common_schema(table.schema for table in tables)
        return pa.concat_tables(cast_table(table, schema) for table in tables)

    def read_part(self, place: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Return columns of a part, all by default, by its place among all parts."""
        with self._part_file(place) as file:
            return file.read(columns=None if columns is None else list(columns))

    def fetch(self, rows: list[int]) -> list[dict[str, Any]]:
        """Return all columns of sorted rows except hashes and vectors, a dict per row."""
        found: list[dict[str, Any]] = [{} for _ in rows]
        for some in search_pool().map(self._values_of, self._by_part(np.array(rows, np.int64))):
            for place, values in some:
                found[place] = values
        return found

    def _names_of_rows(self, groups: list["_Group"]) -> list[pa.Table]:
        return [
            self._names_of_group(group.part, group.number).take(pa.array(group.rows))
            for group in groups
        ]

    def _values_of(self, groups: list["_Group"]) -> list[tuple[int, dict[str, Any]]]:
        found: list[tuple[int, dict[str, Any]]] = []
        for group in groups:
            table = self._read_group(group.part, group.number)
            found += zip(group.places, plain_rows(table.take(pa.array(group.rows))), strict=True)
        return found

    def _read_group(self, part: int, group: int, columns: list[str] | None = None) -> pa.Table:
        """Return columns of a row group; by default all except hashes and vectors."""
        with self._part_file(part) as file:
            if columns is None:
                columns = [name for name in file.schema_arrow.names if name not in _HIDDEN]
            # A row group is small: other threads would take longer.
            return file.read_row_group(group, columns, use_threads=False)

    def _by_part(self, rows: Rows) -> list[list["_Group"]]:
        """Group sorted rows by part, so that a search opens each part once."""
        return [list(groups) for _, groups in itertools.groupby(self._by_group(rows), _part_of)]

    def _by_group(self, rows: Rows) -> Iterator["_Group"]:
        """Yield sorted global rows by row group, without row -1."""
        first = int(np.searchsorted(rows, 0))
        parts = np.searchsorted(self._edges, rows[first:], side="right") - 1
        starts = np.flatnonzero(np.diff(parts, prepend=-1)).tolist()
        for start, stop in itertools.pairwise([*starts, len(parts)]):
            part = int(parts[start])
            edges = self._group_edges(part)
            local = rows[first + start : first + stop] - self._edges[part]
            place = 0
            for group in np.unique(np.searchsorted(edges, local, side="right")).tolist():
                last = int(np.searchsorted(local, edges[group]))
                places = range(first + start + place, first + start + last)
                inside = local[place:last] - edges[group - 1]
                yield _Group(part, group - 1, places, inside.tolist())
                place = last

    def _group_edges_uncached(self, part: int) -> npt.NDArray[np.int64]:
        with self._part_file(part) as file:
            return np.cumsum([0, *file.group_rows])

    def _names_of_group_uncached(self, part: int, group: int) -> pa.Table:
        return self._read_group(part, group, _NAMES.names).select(_NAMES.names)

    @contextmanager
    def _part_file(self, place: int) -> Iterator[Any]:
        """Lend an open part to this thread, and name it in errors."""
        paths, part, _ = self._parts[place]
        url = filesystem.join(paths.vectors, part.name)
        with self._source.naming_vacuum(), reading(url), self._files.borrow(place) as file:
            yield file

    def _open_part(self, place: int) -> Any:
        return open_part(*self._parts[place], self._checked)


@dataclass(frozen=True)
class _Group:
    """Wanted rows of one row group.

    Attributes:
        part: the part's place among all parts.
        number: the row group's number in its part.
        places: the rows' positions in the request.
        rows: the rows' positions in the row group.
    """

    part: int
    number: int
    places: range
    rows: list[int]


def _part_of(group: _Group) -> int:
    return group.part
