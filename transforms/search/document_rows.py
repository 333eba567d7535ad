"""Find the rows of documents by their ids, without a look at all rows each time."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.catalog.segment import SegmentInfo
from transforms.index.top_k import Rows
from transforms.runtime.once import Once
from transforms.search.row_reader import RowReader

_ID = "document_id"


@dataclass(frozen=True)
class _Names:
    """The runs of rows of one segment that have the same id.

    Attributes:
        names: the ids in order, ``string [runs]``.
        starts, stops: the rows of each, int64 ``[runs]``.
    """

    names: pa.Array
    starts: npt.NDArray[np.int64]
    stops: npt.NDArray[np.int64]


class DocumentRows:
    """The rows of a snapshot's documents, dead ones included. Threads may share one.

    The ids of a segment are read and sorted when one is first asked for.
    """

    def __init__(
        self,
        segments: Sequence[SegmentInfo],
        rows: RowReader,
        former: "DocumentRows | None" = None,
    ) -> None:
        """Hold the segments of a snapshot.

        Args:
            segments: the manifests of its segments.
            rows: reads their ids.
            former: that of an earlier snapshot, whose sorted ids are used further.
        """
        self._segments, self._rows = segments, rows
        #: The sorted ids by the identity of their manifests, which they keep.
        self._sorted: dict[int, tuple[SegmentInfo, _Names]] = {}
        self._former = {} if former is None else former._kept(segments)
        self._names = Once(self._names_uncached)

    def rows(self, ids: Sequence[str]) -> Rows:
        """Return the global rows of some ids in order; ids that no row has are left out."""
        # Half of a surrogate pair is in no id of a store.
        wanted = {name for name in ids if name == name.encode("utf-8", "ignore").decode()}
        found = [np.zeros(0, np.int64)]
        first = 0
        for number, segment in enumerate(self._segments):
            for name in wanted:
                known = self._names(number)
                place = bisect.bisect_left(known.names, name, key=_text)
                while place < len(known.names) and _text(known.names[place]) == name:
                    run = np.arange(known.starts[place], known.stops[place])
                    found.append(run + first)
                    place += 1
            first += segment.rows
        return np.sort(np.concatenate(found))

    def _kept(self, segments: Sequence[SegmentInfo]) -> dict[int, tuple[SegmentInfo, _Names]]:
        known = self._former | self._sorted
        return {id(each): known[id(each)] for each in segments if id(each) in known}

    def _names_uncached(self, number: int) -> _Names:
        segment = self._segments[number]
        _, names = self._former.get(id(segment), (None, None))
        if names is None:
            first = sum(len(each.parts) for each in self._segments[:number])
            parts = range(first, first + len(segment.parts))
            columns = [self._rows.read_part(part, [_ID]).column(_ID) for part in parts]
            names = _sorted([chunk for column in columns for chunk in column.chunks])
        self._sorted[id(segment)] = segment, names
        return names


def _sorted(chunks: list[pa.Array]) -> _Names:
    """Return the runs of a segment's ids; ids sort by their bytes, as texts do in Python."""
    column = pa.chunked_array(chunks, pa.string())
    if not len(column):
        nothing = np.zeros(0, np.int64)
        return _Names(pa.array([], pa.string()), nothing, nothing)
    # A document's passages are neighbours.
    differ = pc.not_equal(column.slice(1), column.slice(0, len(column) - 1)).to_numpy()
    starts = np.flatnonzero(np.concatenate([[True], differ]))
    stops = np.append(starts[1:], len(column))
    some = column.take(pa.array(starts))
    order = pc.sort_indices(some).to_numpy().astype(np.int64)
    names = some.take(pa.array(order)).combine_chunks()
    return _Names(names, starts[order], stops[order])


def _text(value: pa.Scalar) -> str:
    return str(value.as_py())
