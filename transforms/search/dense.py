"""Dense search over a snapshot's live rows, by the segments' indexes or exactly."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.parts import read_vectors
from transforms.catalog.segment import SegmentInfo
from transforms.errors import BadInput
from transforms.index.top_k import Rows, Scores, merge_top_k, moved, no_hits
from transforms.index.vector import faiss_search
from transforms.index.vector.segment_index import SegmentIndex
from transforms.search.live_rows import LiveRows
from transforms.search.row_reader import RowReader
from transforms.storage.file_cache import FileCache
from transforms.storage.schema import VECTOR
from transforms.storage.vectors import question_vectors, vectors_to_numpy


class Dense:
    """The vectors of a snapshot's segments. Indexes are opened when they are first needed.

    Attributes:
        index: ``index(number)`` returns the index of a segment that has one.
    """

    def __init__(
        self,
        url: str,
        segments: Sequence[SegmentInfo],
        dim: int,
        rows: RowReader,
        live: LiveRows,
        cache: FileCache,
    ) -> None:
        """Hold the segments of the store ``url``; ``cache`` checks and keeps index files."""
        self._url, self._segments, self._dim = url, segments, dim
        self._rows, self._live, self._cache = rows, live, cache
        self.index = lru_cache(None)(self._index_uncached)

    def nearest(
        self, vectors: npt.ArrayLike, k: int, where: str | None = None
    ) -> tuple[Scores, Rows]:
        """Find the best ``k`` live passages for each vector by the indexes.

        Returns:
            Scores and global rows; row -1 where there are too few passages.

        Raises:
            BadInput: k is below 1, or the vectors have another width or are not finite.
        """
        if k < 1:
            raise BadInput("k", k, "must be 1 or more", "Give a number of passages")
        vectors = question_vectors(vectors, self._dim)
        found = [no_hits(len(vectors))]
        first = 0
        for number, segment in enumerate(self._segments):
            found.append(moved(self._search_segment(number, vectors, k, where), first))
            first += segment.rows
        return merge_top_k(found, k)

    def exact_nearest(self, vectors: npt.NDArray[np.float32], k: int) -> tuple[Scores, Rows]:
        """Find the best ``k`` live rows for each vector from the parts, without an index."""
        chunks = (
            chunk
            for segment in self._segments
            for chunk in read_vectors(SegmentPaths(self._url, segment.name), segment.parts)
        )
        return faiss_search.exact_search(chunks, vectors, k, self._live.mask(None))

    def vectors(self, rows: Rows) -> npt.NDArray[np.float32]:
        """Return the vectors of global rows ``[n]`` as the indexes store them, ``[n, dim]``."""
        found = np.empty((len(rows), self._dim), np.float32)
        first = 0
        for number, segment in enumerate(self._segments):
            mine = (rows >= first) & (rows < first + segment.rows)
            if mine.any() and segment.index is not None:
                found[mine] = self.index(number).vectors(rows[mine] - first)
            elif mine.any():
                ordered, back = np.unique(rows[mine], return_inverse=True)
                table = self._rows.read_rows(ordered, [VECTOR])
                found[mine] = vectors_to_numpy(table.column(0))[back]
            first += segment.rows
        return found

    def _search_segment(
        self, number: int, vectors: npt.NDArray[np.float32], k: int, where: str | None
    ) -> tuple[Scores, Rows]:
        segment, live = self._segments[number], self._live.segment_mask(number, where)
        if segment.index is None:
            chunks = read_vectors(SegmentPaths(self._url, segment.name), segment.parts)
            return faiss_search.exact_search(chunks, vectors, k, live)
        return self.index(number).search(vectors, k, live)

    def _index_uncached(self, number: int) -> SegmentIndex:
        segment = self._segments[number]
        assert segment.index is not None
        paths = SegmentPaths(self._url, segment.name)
        return SegmentIndex(paths, segment.index, self._dim, self._cache)
