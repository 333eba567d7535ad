"""Plan a compaction: the live rows of several segments, written again as one, without the model.

The plan of a compacted segment is a `Plan` with slices of old parts: ``file`` is the place of a
segment among the chosen ones, ``row_group`` the number of its part, and ``stop`` the number of its
live rows. Live rows keep their order, so the old segments alone determine a row's new place.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyroaring import BitMap64

from transforms.catalog.layout import SegmentPaths, segment_name
from transforms.catalog.options import ColumnOptions
from transforms.catalog.parts import PartFormat
from transforms.catalog.plan import Part, Plan, Slice
from transforms.catalog.segment import PartInfo, SegmentInfo
from transforms.catalog.snapshot import SegmentRef, Snapshot, read_segment
from transforms.catalog.tombstones import live_mask, read_tombstones
from transforms.errors import Damaged, check_at_least
from transforms.index.options import IndexOptions
from transforms.ingest.partitioning import MOST_ROWS, MOST_TEXT_BYTES
from transforms.storage import remedies
from transforms.storage.column_types import TypesDiffer, common_schema


@dataclass(frozen=True)
class Source:
    """A segment that is compacted: its paths, its manifest and its dead rows."""

    paths: SegmentPaths
    info: SegmentInfo
    dead: BitMap64

    @classmethod
    def open(cls, store: str, ref: SegmentRef) -> "Source":
        """Read a segment's manifest and tombstones; raises Damaged."""
        paths, info = SegmentPaths(store, ref.name), read_segment(store, ref)
        return cls(paths, info, read_tombstones(paths, ref.tombstones, info.rows))

    def masks(self) -> Iterator[tuple[PartInfo, npt.NDArray[np.bool_]]]:
        """Yield each part with the mask of its live rows."""
        for number, part in enumerate(self.info.parts):
            yield part, self.mask(number)

    def mask(self, number: int) -> npt.NDArray[np.bool_]:
        """Return the mask of a part's live rows."""
        first = self._firsts[number]
        return live_mask(self.dead, first, first + self.info.parts[number].rows)

    @functools.cached_property
    def _firsts(self) -> tuple[int, ...]:
        """The number of each part's first row."""
        return tuple(accumulate((part.rows for part in self.info.parts), initial=0))


def choose_segments(snapshot: Snapshot, most: int) -> tuple[SegmentRef, ...]:
    """Choose the segments to write again as one, in order; none if there is nothing to do.

    Args:
        snapshot: the newest snapshot of the store.
        most: how many segments may remain. If there are more, the smallest ones are chosen;
            otherwise those with tombstones.

    Raises:
        BadInput: ``most`` is below 1.
    """
    check_at_least("max_segments", most, 1)
    refs = snapshot.segments
    surplus = len(refs) - most
    if surplus <= 0:
        return tuple(ref for ref in refs if ref.tombstones is not None)
    by_size = sorted(range(len(refs)), key=lambda place: (refs[place].live_passages, place))
    return tuple(refs[place] for place in sorted(by_size[: surplus + 1]))


def compacted_name(chosen: Sequence[SegmentRef]) -> str:
    """Return the name of the new segment, derived from the old ones and their tombstones."""
    return segment_name({"compact": [ref.to_dict() for ref in chosen]})


def compacted_format(sources: Sequence[Source]) -> PartFormat:
    """Return the format of the new segment's parts; float32 if the old ones differ in dtype.

    Raises:
        Damaged: metadata columns have incompatible types.
    """
    kinds = {source.info.vector_dtype for source in sources}
    try:
        metadata = common_schema(source.info.metadata for source in sources)
    except TypesDiffer as error:
        raise Damaged(
            "segments",
            ", ".join(source.info.name for source in sources),
            f"have metadata columns of incompatible types: {error}",
            remedies.NEW_STORE,
        ) from error
    identity = sources[0].info.identity
    return PartFormat(identity, kinds.pop() if len(kinds) == 1 else "float32", metadata)


def compacted_index(sources: Sequence[Source]) -> tuple[str, float]:
    """Return the index and the recall target asked for the old segment with the most rows."""
    old = max(sources, key=_rows).info.index
    return ("none", IndexOptions.recall_target) if old is None else (old.asked, old.target)


def compacted_language(sources: Sequence[Source]) -> str | None:
    """Return the language of the largest lexical index; None if no segment has one."""
    having = [source for source in sources if source.info.lexical is not None]
    old = max(having, key=_rows).info.lexical if having else None
    return old.language if old is not None else None


def _rows(source: Source) -> int:
    return source.info.rows


def plan_compaction(
    sources: Sequence[Source],
    schema: pa.Schema,
    rows: int = MOST_ROWS,
    text_bytes: int = MOST_TEXT_BYTES,
) -> Plan:
    """Join old parts, in order, into new ones of at most ``rows`` live rows and ``text_bytes``.

    An old part is never split, so a single one may exceed them; a document stays in one part.
    """
    parts: list[Part] = []
    pieces: list[Slice] = []
    free_rows, free_bytes = rows, float(text_bytes)
    for place, source in enumerate(sources):
        for part, mask in source.masks():
            live = int(mask.sum())
            if not live and not part.rejects_name:
                continue
            size = part.text_bytes * live / max(part.rows, 1)
            if pieces and (live > free_rows or size > free_bytes):
                parts.append(Part(len(parts), tuple(pieces)))
                pieces, free_rows, free_bytes = [], rows, float(text_bytes)
            pieces.append(Slice(place, part.number, 0, live, 0))
            free_rows -= live
            free_bytes -= size
    if pieces:
        parts.append(Part(len(parts), tuple(pieces)))
    inputs = dict.fromkeys(file for source in sources for file in source.info.inputs)
    return Plan(tuple(inputs), ColumnOptions(), schema, tuple(parts))


def check_compaction(plan: Plan, expected: Plan, where: str) -> None:
    """Raise Damaged if a stored plan joins other parts than those of the chosen segments.

    It may join them at other places, because that depends on options.
    """
    pieces, wanted = ([p for part in each.parts for p in part.slices] for each in (plan, expected))
    if (pieces, plan.files, plan.schema) != (wanted, expected.files, expected.schema):
        problem = "joins other parts than those of the segments"
        raise Damaged("file", where, problem, "Remove the segment's folder, and compact again")
