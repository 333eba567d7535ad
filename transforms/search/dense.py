"""Dense search over a snapshot's live rows, by the segments' indexes or exactly."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.parts import read_vectors
from transforms.catalog.segment import SegmentInfo
from transforms.catalog.vacuumed import SnapshotSource
from transforms.errors import check_at_least
from transforms.index.top_k import (
    Rows,
    Scores,
    append_further,
    merge_top_k,
    moved,
    no_hits,
)
from transforms.index.vector.exact_ranking import exact_search
from transforms.index.vector.float16_vectors import rounded
from transforms.index.vector.segment_index import SegmentIndex
from transforms.runtime.once import Once
from transforms.search.condition import Where
from transforms.search.live_rows import LiveRows
from transforms.search.row_reader import RowReader
from transforms.storage.file_cache import FileCache
from transforms.storage.schema import VECTOR
from transforms.storage.vectors import question_vectors, vectors_to_numpy

#: How many passages an approximate index is asked for at first, and how many times as many later.
_FIRST_DEPTH, _DEEPER = 25, 4


class Dense:
    """The vectors of a snapshot's segments. Indexes are opened when they are first needed.

    Threads may share one.

    Attributes:
        index: ``index(number)`` returns the index of a segment that has one.
    """

    def __init__(
        self,
        source: SnapshotSource,
        segments: Sequence[SegmentInfo],
        dim: int,
        rows: RowReader,
        live: LiveRows,
        cache: FileCache,
        former: "Dense | None" = None,
    ) -> None:
        """Hold the segments of a snapshot.

        Args:
            source: the snapshot.
            segments: the manifests of its segments.
            dim: the width of the vectors.
            rows: reads the vectors of segments without an index.
            live: tells which rows may be found.
            cache: checks and keeps index files.
            former: that of an earlier snapshot; indexes that it has open are used further.
        """
        self._source, self._segments, self._dim = source, segments, dim
        #: The open indexes by the identity of their manifests, which they keep.
        self._opened: dict[int, tuple[SegmentInfo, SegmentIndex]] = {}
        self._former = {} if former is None else former._kept(segments)
        self._rows, self._live, self._cache = rows, live, cache
        self.index = Once(self._index_uncached)
        raw = [shard.raw for each in segments if each.index for shard in each.index.shards]
        self._approximate = any(raw)
        # An approximate index scores float16. Equal passages of other segments must score the same.
        self._half = self._approximate or any(each.vector_dtype == "float16" for each in segments)

    def nearest(
        self, vectors: npt.ArrayLike, k: int, where: Where | None = None
    ) -> tuple[Scores, Rows]:
        """Find the best ``k`` live passages for each vector by the indexes.

        Returns:
            Scores and global rows; row -1 where there are too few passages.

        Raises:
            BadInput: k is below 1, or the vectors have another width or are not finite.
        """
        scores, rows = self.ranked(vectors, k, where)
        return np.minimum.accumulate(scores, axis=1), rows

    def ranked(
        self, vectors: npt.ArrayLike, k: int, where: Where | None = None
    ) -> tuple[Scores, Rows]:
        """Return what `nearest` finds, with the scores that the passages have.

        An approximate index finds a passage that it missed before when more are asked for. Such a
        passage comes after those that were found before, so that its score may be above theirs.
        Therefore the best ``k`` are the same, however many are asked for.
        """
        check_at_least("k", k, 1)
        vectors = question_vectors(vectors, self._dim)
        where = self._live.condition(where)
        if not self._approximate:
            return self.candidates(vectors, k, where)
        best, depth = no_hits(len(vectors)), _FIRST_DEPTH
        while True:
            best = append_further(best, self.candidates(vectors, depth, where))
            if depth >= min(k, len(self._rows)):
                return best[0][:, :k], best[1][:, :k]
            depth *= _DEEPER

    def candidates(
        self, vectors: npt.NDArray[np.float32], depth: int, where: Where | None = None
    ) -> tuple[Scores, Rows]:
        """Return the best passages that the indexes find if they are asked for so many."""
        vectors = question_vectors(vectors, self._dim)
        where = self._live.condition(where)
        found = [no_hits(len(vectors))]
        first = 0
        for number, segment in enumerate(self._segments):
            found.append(moved(self._search_segment(number, vectors, depth, where), first))
            first += segment.rows
        return merge_top_k(found, depth)

    def exact_nearest(self, vectors: npt.NDArray[np.float32], k: int) -> tuple[Scores, Rows]:
        """Find the best ``k`` live rows for each vector from the parts, without an index."""
        chunks = (chunk for segment in self._segments for chunk in self._read_vectors(segment))
        return exact_search(chunks, vectors, k, self._live.mask(None), self._half)

    def vectors(self, rows: Rows) -> npt.NDArray[np.float32]:
        """Return the vectors of global rows ``[n]`` as they are scored, float32 ``[n, dim]``."""
        found = np.empty((len(rows), self._dim), np.float32)
        first = 0
        for number, segment in enumerate(self._segments):
            mine = (rows >= first) & (rows < first + segment.rows)
            if mine.any() and segment.index is not None:
                with self._source.naming_vacuum():
                    found[mine] = self.index(number).vectors(rows[mine] - first)
            elif mine.any():
                ordered, back = np.unique(rows[mine], return_inverse=True)
                table = self._rows.read_rows(ordered, [VECTOR])
                found[mine] = vectors_to_numpy(table.column(0))[back]
            first += segment.rows
        return rounded(found) if self._half else found

    def _search_segment(
        self, number: int, vectors: npt.NDArray[np.float32], k: int, where: Where | None
    ) -> tuple[Scores, Rows]:
        segment, live = self._segments[number], self._live.segment_mask(number, where)
        if segment.index is None:
            return exact_search(self._read_vectors(segment), vectors, k, live, self._half)
        with self._source.naming_vacuum():
            return self.index(number).search(vectors, k, live, half=self._half)

    def _read_vectors(self, segment: SegmentInfo) -> Iterator[npt.NDArray[np.float32]]:
        with self._source.naming_vacuum():
            paths = SegmentPaths(self._source.store, segment.name)
            yield from read_vectors(paths, segment.parts, self._cache)

    def _kept(self, segments: Sequence[SegmentInfo]) -> dict[int, tuple[SegmentInfo, SegmentIndex]]:
        """Return the open indexes of some segments."""
        known = self._former | self._opened
        return {id(each): known[id(each)] for each in segments if id(each) in known}

    def _index_uncached(self, number: int) -> SegmentIndex:
        segment = self._segments[number]
        assert segment.index is not None
        _, opened = self._former.get(id(segment), (None, None))
        if opened is None:
            paths = SegmentPaths(self._source.store, segment.name)
            opened = SegmentIndex(paths, segment.index, self._dim, self._cache)
        self._opened[id(segment)] = segment, opened
        return opened
