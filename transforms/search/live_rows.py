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
from transforms.search.condition import Condition, Where, as_condition
from transforms.search.predicate import (
    Evaluation,
    as_schema,
    check_condition,
    may_change,
)
from transforms.search.row_reader import RowReader
from transforms.storage.column_types import common_schema

Mask = npt.NDArray[np.bool_]
#: The fewest and the most conditions whose masks are kept, and the bytes that these may take.
_FEWEST_KEPT, _MOST_KEPT, _KEPT_BYTES = 4, 256, 64_000_000
_ID = "document_id"


class LiveRows:
    """Masks of the live rows of a snapshot's segments, read when they are first needed.

    Threads may share one.

    Attributes:
        dead: ``dead(number)`` returns the tombstones of a segment.
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
        self.dead = Once(self._dead_uncached)
        # Each of both has a byte for each row.
        kept = min(max(_KEPT_BYTES // max(2 * len(rows), 1), _FEWEST_KEPT), _MOST_KEPT)
        self._segment_masks = Once(self._segment_masks_uncached, kept)
        self._mask = Once(self._mask_uncached, kept)

    @property
    def columns(self) -> pa.Schema:
        """The columns that a condition may name: ``document_id`` and all metadata."""
        schemas = [segment.metadata for segment in self._segments]
        return common_schema([pa.schema([(_ID, pa.string())]), *schemas])

    def condition(self, where: Where | None) -> Condition | None:
        """Return a condition as it is at this moment.

        What rows meet it is kept and found again, except if that depends on the time or on chance:
        then it is kept for the returned condition alone.

        Raises:
            BadInput: the condition can't be parsed.
        """
        if where is None or isinstance(where, Condition):
            return where
        condition = as_condition(where)
        return condition.at_this_moment() if may_change(condition, self.columns) else condition

    def segment_mask(self, number: int, where: Where | None = None) -> Mask | None:
        """Return which rows of a segment are live and meet a condition; None means all.

        Raises:
            BadInput: the condition can't be evaluated.
        """
        return self._segment_masks(self.condition(where))[number]

    def mask(self, where: Where | None = None) -> Mask | None:
        """Return which global rows are live and meet a condition, as `segment_mask` does."""
        return self._mask(self.condition(where))

    def is_kept(self, where: Condition | None) -> bool:
        """Return whether it is known which rows meet a condition, as `condition` returned it."""
        return self._mask.holds(where)

    def count(self, where: Where | None = None) -> int:
        """Return how many rows are live and meet a condition."""
        mask = self.mask(where)
        return len(self._rows) if mask is None else int(mask.sum())

    def numbers(self, where: Where | None = None) -> Rows:
        """Return the global numbers of the rows that are live and meet a condition, in order."""
        mask = self.mask(where)
        return np.arange(len(self._rows)) if mask is None else np.flatnonzero(mask)

    def _mask_uncached(self, where: Condition | None) -> Mask | None:
        masks = self._segment_masks(where)
        if all(mask is None for mask in masks):
            return None
        rows = [np.ones(segment.rows, np.bool_) for segment in self._segments]
        return np.concatenate([r if m is None else m for r, m in zip(rows, masks, strict=True)])

    def _segment_masks_uncached(self, where: Condition | None) -> list[Mask | None]:
        lives = [
            live_mask(dead, 0, segment.rows) if (dead := self.dead(number)) else None
            for number, segment in enumerate(self._segments)
        ]
        if where is None:
            return lives
        if not any(segment.parts for segment in self._segments):
            check_condition(where, self.columns)
        inside = lives if where.within is None else self._segment_masks(where.within)
        if where.within is not None and not any(mask is None or mask.any() for mask in inside):
            # A wrong condition is an error although there is no row to evaluate it on.
            check_condition(where, self.columns)
        with Evaluation(where, self.columns) as evaluation:
            mets = [
                self._met(number, evaluation, None if where.within is None else mask)
                for number, mask in enumerate(inside)
            ]
        return [met if live is None else live & met for met, live in zip(mets, lives, strict=True)]

    def _met(self, number: int, evaluation: Evaluation, inside: Mask | None) -> Mask:
        """Return which rows of a segment meet a condition; only those ``inside`` are looked at."""
        segment, columns = self._segments[number], evaluation.columns
        names = [name for name in (_ID, *segment.metadata.names) if name in columns.names]
        first = sum(len(each.parts) for each in self._segments[:number])
        masks, row = [np.ones(0, np.bool_)], 0
        for place, part in enumerate(segment.parts, first):
            wanted = None if inside is None else inside[row : row + part.rows]
            row += part.rows
            if wanted is not None and not wanted.any():
                masks.append(np.zeros(part.rows, np.bool_))
                continue
            table = self._rows.read_part(place, names) if names else pa.table({})
            given = as_schema(table, columns, part.rows)
            if wanted is None:
                masks.append(evaluation.matching(given, part.rows))
                continue
            met = np.zeros(part.rows, np.bool_)
            some = given.filter(pa.array(wanted)) if columns.names else given
            met[wanted] = evaluation.matching(some, int(wanted.sum()))
            masks.append(met)
        return np.concatenate(masks)

    def _dead_uncached(self, number: int) -> BitMap64:
        ref, segment = self._refs[number], self._segments[number]
        paths = SegmentPaths(self._source.store, ref.name)
        with self._source.naming_vacuum():
            return read_tombstones(paths, ref.tombstones, segment.rows)
