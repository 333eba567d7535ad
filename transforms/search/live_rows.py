"""Live rows of a snapshot: rows without a tombstone that meet a condition."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyroaring import BitMap64

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.segment import SegmentInfo
from transforms.catalog.snapshot import SegmentRef
from transforms.catalog.tombstones import live_mask, read_tombstones
from transforms.catalog.vacuumed import SnapshotSource
from transforms.index.top_k import Rows
from transforms.runtime.once import Once
from transforms.search.predicate import as_schema, matching, named_columns, unified
from transforms.search.row_reader import RowReader

Mask = npt.NDArray[np.bool_]
#: Conditions whose masks are kept in memory.
_CACHED_CONDITIONS = 4
_ID = "document_id"


class LiveRows:
    """Masks of the live rows of a snapshot's segments, read when they are first needed.

    Threads may share one.

    Attributes:
        dead: ``dead(number)`` returns the tombstones of a segment.
        segment_mask: ``segment_mask(number, where)`` returns which rows of a segment are live and
            meet a condition; None means all. Without a condition, ``where`` is None.
        mask: ``mask(where)`` returns the same for all global rows.
    """

    def __init__(
        self,
        source: SnapshotSource,
        refs: Sequence[SegmentRef],
        segments: Sequence[SegmentInfo],
        rows: RowReader,
    ) -> None:
        """Hold the segments of a snapshot; ``refs`` name their tombstones."""
        self._source, self._refs, self._segments, self._rows = source, refs, segments, rows
        masks = _CACHED_CONDITIONS * max(1, len(segments))
        self.dead = Once(self._dead_uncached)
        self.segment_mask = Once(self._segment_mask_uncached, masks)
        self.mask = Once(self._mask_uncached, _CACHED_CONDITIONS)

    @property
    def columns(self) -> pa.Schema:
        """The columns that a condition may name: ``document_id`` and all metadata."""
        schemas = [segment.metadata for segment in self._segments]
        return unified([pa.schema([(_ID, pa.string())]), *schemas])

    def count(self, where: str | None = None) -> int:
        """Return how many rows are live and meet a condition."""
        mask = self.mask(where)
        return len(self._rows) if mask is None else int(mask.sum())

    def numbers(self) -> Rows:
        """Return the global numbers of all live rows, in order."""
        mask = self.mask(None)
        return np.arange(len(self._rows)) if mask is None else np.flatnonzero(mask)

    def _mask_uncached(self, where: str | None) -> Mask | None:
        masks = [self.segment_mask(number, where) for number in range(len(self._segments))]
        if all(mask is None for mask in masks):
            return None
        rows = [np.ones(segment.rows, np.bool_) for segment in self._segments]
        return np.concatenate([r if m is None else m for r, m in zip(rows, masks, strict=True)])

    def _segment_mask_uncached(self, number: int, where: str | None) -> Mask | None:
        segment, dead = self._segments[number], self.dead(number)
        live = live_mask(dead, 0, segment.rows) if dead else None
        if where is None:
            return live
        masks = [np.ones(0, np.bool_)]
        columns = named_columns(where, self.columns)
        names = [name for name in (_ID, *segment.metadata.names) if name in columns.names]
        first = sum(len(each.parts) for each in self._segments[:number])
        for part in range(first, first + len(segment.parts)):
            table = self._rows.read_part(part, names or [_ID])
            masks.append(matching(as_schema(table, columns), where, self.columns))
        met = np.concatenate(masks)
        return met if live is None else live & met

    def _dead_uncached(self, number: int) -> BitMap64:
        ref, segment = self._refs[number], self._segments[number]
        paths = SegmentPaths(self._source.store, ref.name)
        with self._source.naming_vacuum():
            return read_tombstones(paths, ref.tombstones, segment.rows)
