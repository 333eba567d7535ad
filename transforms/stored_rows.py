"""The rows of a store by their global number, read from the parts when they are asked for."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms import storage
from transforms.errors import Damaged
from transforms.parquet import open_parquet, reading
from transforms.ranking import Rows
from transforms.records import VECTOR, plain_rows
from transforms.segment import PartInfo, SegmentInfo, SegmentPaths

_OPEN_PARTS = 256
_CACHED_GROUPS = 4_096
_HIDDEN = frozenset({"text_hash", "metadata_hash", VECTOR})


class StoredRows:
    """The rows of segments, numbered through; parts are opened when they are first needed."""

    def __init__(self, url: str, segments: Sequence[SegmentInfo]) -> None:
        """Hold the places of all parts; ``url`` is the store's."""
        self._parts = [
            (SegmentPaths(url, segment.name), part)
            for segment in segments
            for part in segment.parts
        ]
        #: The first global row of each part, and the number of all rows at the end.
        self._edges = np.cumsum([0] + [part.rows for _, part in self._parts])
        self.open_part = lru_cache(_OPEN_PARTS)(self._open_part_uncached)
        self._ids_of_group = lru_cache(_CACHED_GROUPS)(self._ids_of_group_uncached)

    def __len__(self) -> int:
        """How many rows there are, dead ones counted."""
        return int(self._edges[-1])

    def document_ids(self, rows: Rows) -> list[list[str]]:
        """The document ids of global rows ``[questions, n]``; "" for row -1."""
        unique, inverse = np.unique(rows, return_inverse=True)
        names = [""] * len(unique)
        for part, group, places, inside in self._by_group(unique):
            ids = self._ids_of_group(part, group)
            for place, row in zip(places, inside, strict=True):
                names[place] = ids[row].as_py()
        return [[names[i] for i in line] for line in inverse.reshape(rows.shape)]

    def read_rows(self, rows: Rows, columns: Sequence[str]) -> pa.Table:
        """Columns of the parts' schema for global rows, which must ascend, in their order."""
        tables = []
        for part, group, _, inside in self._by_group(rows):
            with reading(self.part_url(part)):
                table = self.open_part(part).read_row_group(group, columns=list(columns))
            tables.append(table.select(columns).take(pa.array(inside)))
        return pa.concat_tables(tables, promote_options="permissive")

    def fetch(self, rows: list[int]) -> list[dict[str, Any]]:
        """The rows' columns but hashes and vectors, in order."""
        found: list[dict[str, Any]] = [{} for _ in rows]
        for part, group, places, inside in self._by_group(np.array(rows, np.int64)):
            file = self.open_part(part)
            columns = [name for name in file.schema_arrow.names if name not in _HIDDEN]
            with reading(self.part_url(part)):
                table = file.read_row_group(group, columns=columns).take(pa.array(inside))
            for place, values in zip(places, plain_rows(table), strict=True):
                found[place] = values
        return found

    def _by_group(self, rows: Rows) -> Iterator[tuple[int, int, list[int], list[int]]]:
        """Sorted global rows by row group: part, group, places in ``rows``, rows in the group."""
        parts = np.searchsorted(self._edges, rows, side="right") - 1
        for part in np.unique(parts[rows >= 0]):
            places = np.flatnonzero((parts == part) & (rows >= 0))
            local = rows[places] - self._edges[part]
            edges = self._group_edges(int(part))
            groups = np.searchsorted(edges, local, side="right") - 1
            for group in np.unique(groups):
                chosen = groups == group
                yield (
                    int(part),
                    int(group),
                    places[chosen].tolist(),
                    (local[chosen] - edges[group]).tolist(),
                )

    def _group_edges(self, part: int) -> npt.NDArray[np.int64]:
        metadata = self.open_part(part).metadata
        counts = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        return np.cumsum([0, *counts])

    def _ids_of_group_uncached(self, part: int, group: int) -> pa.ChunkedArray:
        with reading(self.part_url(part)):
            return self.open_part(part).read_row_group(group, columns=["document_id"]).column(0)

    def part_url(self, place: int) -> str:
        """The URL of a part by its place among all."""
        paths, part = self._parts[place]
        return storage.join(paths.vectors, part.name)

    def _open_part_uncached(self, place: int) -> Any:
        paths, part = self._parts[place]
        return open_part(paths, part)


def open_part(paths: SegmentPaths, part: PartInfo) -> Any:
    """A part's Parquet file, its footer read.

    Raises:
        Damaged: it is missing, is no Parquet, or has another number of rows.
    """
    url = storage.join(paths.vectors, part.name)
    file = open_parquet(url)
    if file.metadata.num_rows != part.rows:
        raise Damaged(
            f"{url} has {file.metadata.num_rows} rows, and the manifest says {part.rows}; "
            "restore it, or embed again into a new store"
        )
    return file
