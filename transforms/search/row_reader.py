"""Read rows of a store by their global numbers, from the parts."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.parts import open_part
from transforms.catalog.segment import SegmentInfo
from transforms.index.top_k import Rows
from transforms.runtime.search_pool import search_pool
from transforms.storage import filesystem
from transforms.storage.arrow_values import plain_rows
from transforms.storage.parquet_files import reading
from transforms.storage.schema import VECTOR

_OPEN_PARTS = 256
_CACHED_GROUPS = 4_096
_NAMES = pa.schema([("document_id", pa.string()), ("passage", pa.int32())])
_HIDDEN = frozenset({"text_hash", "metadata_hash", VECTOR})


class RowReader:
    """Reader of the rows of all segments, numbered in order.

    Attributes:
        open_part: ``open_part(place)`` opens a part by its place among all parts, and keeps it.
    """

    def __init__(self, url: str, segments: Sequence[SegmentInfo]) -> None:
        """Hold the names of all parts of the store ``url``; none is opened yet."""
        self._parts = [
            (SegmentPaths(url, segment.name), part)
            for segment in segments
            for part in segment.parts
        ]
        #: The first global row of each part, then the number of all rows.
        self._edges = np.cumsum([0] + [part.rows for _, part in self._parts])
        self.open_part = lru_cache(_OPEN_PARTS)(self._open_part_uncached)
        self._names_of_group = lru_cache(_CACHED_GROUPS)(self._names_of_group_uncached)
        self._group_edges = lru_cache(_OPEN_PARTS)(self._group_edges_uncached)

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
            table = self._read_group(group.part, group.number, columns)
            tables.append(table.select(columns).take(pa.array(group.rows)))
        return pa.concat_tables(tables, promote_options="permissive")

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
            columns = [
                name
                for name in self.open_part(group.part).schema_arrow.names
                if name not in _HIDDEN
            ]
            table = self._read_group(group.part, group.number, columns)
            found += zip(group.places, plain_rows(table.take(pa.array(group.rows))), strict=True)
        return found

    def _read_group(self, part: int, group: int, columns: Sequence[str]) -> pa.Table:
        with reading(self.part_url(part)):
            # A row group is small: other threads would take longer.
            return self.open_part(part).read_row_group(group, list(columns), use_threads=False)

    def _by_part(self, rows: Rows) -> list[list["_Group"]]:
        """Group sorted rows by part, because only one thread at a time may read an open part."""
        return [list(groups) for _, groups in itertools.groupby(self._by_group(rows), _part_of)]

    def _by_group(self, rows: Rows) -> Iterator["_Group"]:
        """Yield sorted global rows by row group, without row -1."""
        parts = np.searchsorted(self._edges, rows, side="right") - 1
        for part in np.unique(parts[rows >= 0]).tolist():
            places = np.flatnonzero((parts == part) & (rows >= 0))
            local = rows[places] - self._edges[part]
            edges = self._group_edges(part)
            groups = np.searchsorted(edges, local, side="right") - 1
            cuts = np.flatnonzero(np.diff(groups)) + 1
            for some, inside in zip(np.split(places, cuts), np.split(local, cuts), strict=True):
                group = int(np.searchsorted(edges, inside[0], side="right")) - 1
                yield _Group(part, group, some.tolist(), (inside - edges[group]).tolist())

    def _group_edges_uncached(self, part: int) -> npt.NDArray[np.int64]:
        metadata = self.open_part(part).metadata
        counts = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        return np.cumsum([0, *counts])

    def _names_of_group_uncached(self, part: int, group: int) -> pa.Table:
        return self._read_group(part, group, _NAMES.names).select(_NAMES.names)

    def part_url(self, place: int) -> str:
        """Return the URL of a part by its place among all parts."""
        paths, part = self._parts[place]
        return filesystem.join(paths.vectors, part.name)

    def _open_part_uncached(self, place: int) -> Any:
        paths, part = self._parts[place]
        return open_part(paths, part)


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
    places: list[int]
    rows: list[int]


def _part_of(group: _Group) -> int:
    return group.part
