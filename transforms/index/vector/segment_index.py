"""Search the index of one segment, across all its shards."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from transforms.catalog.index_manifest import IndexFile, IndexInfo, IndexShard
from transforms.catalog.layout import SegmentPaths
from transforms.index.top_k import Rows, Scores, merge_top_k, moved, no_hits
from transforms.index.vector import faiss_factory, faiss_files, faiss_search
from transforms.index.vector.exact_ranking import rank_exactly, scan
from transforms.index.vector.float16_vectors import Raw, open_raw, score
from transforms.index.vector.recall import setting_for
from transforms.runtime.once import Once
from transforms.runtime.search_pool import search_pool
from transforms.runtime.turns import Turns
from transforms.storage import filesystem
from transforms.storage.file_cache import FileCache

Bools = npt.NDArray[np.bool_]
Vectors = npt.NDArray[np.float32]

#: Result lists longer than this use the setting for recall@100.
_SHORT_LIST = 25
#: How many times as many candidates are fetched if those that were found have equal scores.
_GROWTH = 4


class SegmentIndex:
    """The index of a segment, whose files are opened when they are first needed.

    Threads may share one.
    """

    def __init__(self, paths: SegmentPaths, info: IndexInfo, dim: int, cache: FileCache) -> None:
        """Prepare the index; ``cache`` checks the files, and keeps copies of remote ones."""
        self._paths, self._info, self._dim, self._cache = paths, info, dim, cache
        self._opened = Once(self._read)
        self._row_lists = Once(self._row_lists_uncached)
        self._turns = {shard.number: Turns() for shard in info.shards}
        #: The last mask of live rows, and its lists, by shard; another thread may replace it.
        self._filled: dict[int, tuple[Bools, Bools | None]] = {}

    def search(
        self,
        queries: Vectors,
        k: int,
        live: Bools | None = None,
        value: int | None = None,
        half: bool = False,
    ) -> tuple[Scores, Rows]:
        """Return the best ``k`` live rows of the segment; row -1 marks an empty place.

        Args:
            queries: float32 ``[queries, dim]``.
            k: how many rows.
            live: selects the segment's rows that may be found; by default all.
            value: the search-time setting; by default the one chosen for this share of live rows.
            half: whether scores are those of vectors that are rounded to float16, as they always
                are in an approximate index.

        Raises:
            Damaged: a file is missing, differs from its digest, or can't be searched.
        """
        share = 1.0 if live is None else float(live.mean()) if len(live) else 1.0
        lists: tuple[Scores, Rows] | None = None
        if value is None:
            value = setting_for(self._info.settings, share).value_for(k > _SHORT_LIST)
        kind = self._kind()
        work: list[_Work] = []
        for shard in self._info.shards:
            stop = shard.first_row + shard.rows
            mine = live[shard.first_row : stop] if live is not None else None
            if mine is not None and not mine.any():
                continue
            index, raw = self.open(shard)
            setting, chosen = 0, None
            if raw is not None:
                setting = self._setting(value, shard, mine)
                with faiss_search.searching(self._url(shard.file)):
                    filled = self._filled_lists(shard, live) if setting else None
                    if filled is not None:
                        chosen = faiss_search.assign_lists(index, queries, setting, filled)
                    elif setting:
                        lists = lists or faiss_search.assign_lists(index, queries, setting)
                        chosen = lists
            turns, url = self._turns[shard.number], self._url(shard.file)
            work.append(_Work(shard, url, index, raw, mine, setting, chosen, turns))
        # FAISS spreads several questions over all cores. One question is spread by shards or lists.
        apart = len(queries) == 1 and len(work) > 1
        wanted = kind.candidates(k)

        def search(shard: _Work) -> tuple[Scores, Rows]:
            return _search(shard, queries, k, wanted, alone=not apart, half=half)

        found = search_pool().map(search, work) if apart else map(search, work)
        return merge_top_k([no_hits(len(queries)), *found], k)

    def vectors(self, rows: Rows) -> Vectors:
        """Return the vectors of the segment's rows ``[n]``, float32 ``[n, dim]``."""
        found = np.empty((len(rows), self._dim), np.float32)
        for shard in self._info.shards:
            mine = (rows >= shard.first_row) & (rows < shard.first_row + shard.rows)
            if mine.any():
                index, raw = self.open(shard)
                inside = rows[mine] - shard.first_row
                with faiss_search.searching(self._url(shard.file)):
                    found[mine] = (
                        raw[inside] if raw is not None else faiss_search.vectors_of(index, inside)
                    )
        return found

    def _setting(self, value: int, shard: IndexShard, live: Bools | None) -> int:
        """Return the setting; 0 if a scan of the shard's live rows is needed or cheaper."""
        kind = self._kind()
        count = shard.rows if live is None else int(live.sum())
        if count < shard.rows and not kind.selects:
            return 0
        return value if faiss_factory.cost(kind, value, shard.rows) <= count else 0

    def _filled_lists(self, shard: IndexShard, live: Bools | None) -> Bools | None:
        """Return which lists of a shard have live rows; None for all. The result is cached."""
        if live is None:
            return None
        last = self._filled.get(shard.number)
        if last is None or last[0] is not live:
            mine = live[shard.first_row : shard.first_row + shard.rows]
            last = live, filled_lists(self._row_lists(shard), mine)
            self._filled[shard.number] = last
        return last[1]

    def open(self, shard: IndexShard) -> tuple[object, Raw | None]:
        """Return a shard's index and its bare vectors, if it has any; check digests first."""
        return self._opened(shard)

    def open_trained(self) -> object | None:
        """Return the index without rows that new segments may reuse; None if there is none."""
        file = self._info.trained
        return None if file is None else self._read_index(file, 0, mapped=False)

    def _row_lists_uncached(self, shard: IndexShard) -> npt.NDArray[np.int32] | None:
        return faiss_search.row_lists(self.open(shard)[0], shard.rows)

    def _read(self, shard: IndexShard) -> tuple[object, Raw | None]:
        try:
            return self._read_files(shard)
        except FileNotFoundError:
            # Another process removed the cached copy meanwhile.
            return self._read_files(shard)

    def _read_files(self, shard: IndexShard) -> tuple[object, Raw | None]:
        raw = None
        if shard.raw is not None:
            raw = open_raw(self._fetch(shard.raw), shard.rows, self._dim)
        return self._read_index(shard.file, shard.rows), raw

    def _read_index(self, file: IndexFile, rows: int, mapped: bool = True) -> object:
        def once(what: str, check: Callable[[], None]) -> None:
            self._cache.check_once(f"{file.sha256} {what}", check)

        self._kind()
        given = self._fetch(file), self._info.factory, self._dim, rows, mapped
        return faiss_files.read_index(*given, once)

    def _kind(self) -> faiss_factory.Kind:
        return faiss_factory.stored_kind(self._info.factory, self._dim, self._paths.name)

    def _url(self, file: IndexFile) -> str:
        return filesystem.join(self._paths.index, file.name)

    def _fetch(self, file: IndexFile) -> Path:
        return self._cache.fetch(self._url(file), file.bytes, file.sha256)


@dataclass(frozen=True)
class _Work:
    """The input of one shard's search; see `search_shard`."""

    shard: IndexShard
    url: str
    index: object
    raw: Raw | None
    live: Bools | None
    value: int
    lists: tuple[Scores, Rows] | None
    turns: Turns


def _search(
    work: _Work, queries: Vectors, k: int, wanted: int, alone: bool, half: bool
) -> tuple[Scores, Rows]:
    """Return the best live rows of a shard, with the segment's row numbers."""
    rows_there = work.shard.rows

    def search(some: Vectors, most: int) -> tuple[Scores, Rows]:
        found = faiss_search.search_index(work.index, some, most, work.live)
        faiss_search.check_rows(found[1], rows_there)
        return found

    take = functools.partial(faiss_search.vectors_of, work.index)
    with faiss_search.searching(work.url):
        if work.raw is None:
            count = rows_there if work.live is None else int(work.live.sum())
            found = rank_exactly(search, take, queries, k, count, half)
        else:
            given = work.live, work.value, work.lists, alone, work.turns
            found = search_shard(work.index, work.raw, queries, k, wanted, *given)
    return moved(found, work.shard.first_row)


def filled_lists(row_lists: npt.NDArray[np.int32] | None, live: Bools) -> Bools | None:
    """Return which lists of a shard have live rows; None if all have, or if there are no lists."""
    if row_lists is None:
        return None
    filled = np.bincount(row_lists[live], minlength=int(row_lists.max(initial=0)) + 1) > 0
    return None if filled.all() else filled


def search_shard(
    index: object,
    raw: Raw,
    queries: Vectors,
    k: int,
    wanted: int,
    live: Bools | None,
    value: int,
    lists: tuple[Scores, Rows] | None = None,
    alone: bool = False,
    turns: Turns | None = None,
) -> tuple[Scores, Rows]:
    """Return the best ``k`` live rows of a shard: its index's candidates, ranked by exact scores.

    Args:
        index: the shard's index.
        raw: the shard's vectors.
        queries: float32 ``[queries, dim]``.
        k: how many rows.
        wanted: how many candidates.
        live: selects the rows that may be found; by default all.
        value: nprobe or efSearch; 0 scans the live rows.
        lists: see `transforms.index.vector.faiss_search.assign_lists`.
        alone: whether no other shard is searched at the same time.
        turns: those of the index, if threads share it.
    """
    count = len(raw) if live is None else int(live.sum())
    k = min(k, count)
    if not value:
        return scan(raw, queries, k, live)
    scores, rows = np.empty((len(queries), k), np.float32), np.full((len(queries), k), -1, np.int64)
    pending = np.arange(len(queries))
    while len(pending):
        wanted = min(wanted, count)
        some = None if lists is None else (lists[0][pending], lists[1][pending])
        asked = queries[pending], wanted, live, value, some, alone, turns
        _, found = faiss_search.search_index(index, *asked)
        faiss_search.check_rows(found, len(raw))
        exact = score(raw, queries[pending], found)
        scores[pending], rows[pending] = merge_top_k([(exact, found)], k)
        # Of rows with equal scores the index gives any, and further ones may have lower numbers.
        tied = (found >= 0).all(axis=1) & (exact.min(axis=1, initial=0) == scores[pending, k - 1])
        pending = pending[tied & (wanted < count)]
        wanted *= _GROWTH
    short = np.flatnonzero((rows < 0).any(axis=1))
    if len(short):
        scores[short], rows[short] = scan(raw, queries[short], k, live)
    return scores, rows
