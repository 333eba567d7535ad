"""The reader's side of a store: open a snapshot, search it, read its documents."""

from collections.abc import Iterator, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import pyarrow as pa

from transforms.catalog.segment import SegmentInfo
from transforms.catalog.snapshot import Snapshot
from transforms.index.top_k import Rows, Scores
from transforms.models.options import Placement
from transforms.runtime.forks import Lock
from transforms.runtime.once import Once
from transforms.search.condition import Where
from transforms.search.dense import Dense
from transforms.search.live_rows import LiveRows
from transforms.search.more_like import search_like
from transforms.search.options import RankOptions
from transforms.search.ranker import Ranker
from transforms.search.ranking import Ranked
from transforms.search.results import Answers, Hit
from transforms.search.snapshot_reader import (
    Questions,
    SnapshotReader,
    are_vectors,
    read_manifests,
)
from transforms.search.store_model import load_store_model
from transforms.search.timing import Stages
from transforms.storage import filesystem
from transforms.storage.file_cache import FileCache, default_folder

if TYPE_CHECKING:
    from transforms.encoder.encoding import TextEncoder
    from transforms.index.lexical.tantivy_index import LexicalIndex


class Store:
    """One snapshot of a store. Files are opened when they are first needed.

    Threads may share a store: each file is opened and the model is loaded once. A forked process
    may use its parent's store, unless the model is on a GPU. A store that is pickled is opened
    again, at the same snapshot, where it is unpickled. The snapshot stays the same until `refresh`
    replaces it. Numbers of rows belong to a snapshot.

    Attributes:
        url: the store's absolute URL.
    """

    def __init__(
        self,
        url: str,
        snapshot: Snapshot,
        segments: tuple[SegmentInfo, ...],
        model: str | None,
        placement: Placement,
        cache: Path | None = None,
    ) -> None:
        """Hold a snapshot that was read; use `Store.open`."""
        self.url, self._model, self._placement, self._cache = url, model, placement, cache
        self._reader = self._read(snapshot, segments)
        self._refreshing = Lock()

    @classmethod
    def open(
        cls,
        url: str,
        snapshot: int | None = None,
        model: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        cache: Path | None = None,
    ) -> "Store":
        """Open a snapshot of a store, the newest by default.

        Args:
            url: the store's folder, any fsspec URL.
            snapshot: the snapshot's number.
            model: the present folder of the store's model, if it has moved.
            device: where questions are embedded: ``auto``, ``cpu`` or ``cuda``.
            dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
            cache: keeps copies of remote files and checks; ``~/.cache/albeam`` by default.

        Raises:
            BadInput: there is no store or no such snapshot.
            Damaged: a manifest is missing or differs from its digest.
        """
        url = filesystem.absolute(url)
        return cls(url, *read_manifests(url, snapshot), model, Placement(device, dtype), cache)

    def refresh(self) -> bool:
        """Replace the snapshot by the store's newest one; return whether it is another one.

        The model stays loaded, unless the new snapshot has another one, and indexes of segments
        that both have stay open. Searches that run end with the snapshot that they began with, and
        after an error it stays the same.

        Raises:
            BadInput: there is no store any more.
            Damaged: a manifest is missing or differs from its digest.
        """
        with self._refreshing:
            former = self._reader
            snapshot, segments = read_manifests(self.url, former=former)
            if snapshot == former.snapshot:
                return False
            self._reader = self._read(snapshot, segments, former)
            return True

    def at(self, number: int | None = None) -> "Store":
        """Return the store at a snapshot, the newest by default, with what `refresh` keeps."""
        other = copy(self)
        other._reader = self._read(*read_manifests(self.url, number, self._reader), self._reader)
        other._refreshing = Lock()
        return other

    def search(
        self,
        questions: Questions,
        k: int = RankOptions.k,
        mode: str | None = None,
        where: Where | None = None,
        fusion: str = RankOptions.fusion,
        weight: float | None = None,
        diverse: bool = False,
        offset: int = RankOptions.offset,
        *,
        stages: Stages | None = None,
    ) -> Answers:
        """Find the best ``k`` documents for each question, by their best passages.

        Args:
            questions: texts, in which no character is query syntax; or a numpy array of vectors
                ``[questions, dim]``, which only mode ``dense`` can rank by.
            k: how many documents to find.
            mode: ``dense`` ranks by vectors, ``lexical`` by BM25, ``hybrid`` by both. The default
                for texts is hybrid, or dense if the store has no lexical index.
            where: a condition on metadata columns; only documents that meet it are ranked. Values
                are best given apart from it, such as ``("lang = ?", ["en"])`` or
                ``("lang = $lang", {"lang": "en"})``. Times are those of UTC.
            fusion: the scores of hybrid. ``combination`` is the weighted sum of the standardized
                cosine and of BM25 in units of the question's best; see `combine`. ``rrf`` is
                reciprocal rank fusion.
            weight: the weight of the cosine in that sum; by default the snapshot's, else 0.7.
            diverse: leave out documents whose passage is nearly identical to a better one.
            offset: how many of the best documents to leave out. Pages of one ranking, such as
                ``k=10`` with ``offset=0``, ``10`` and ``20``, have each document once.
            stages: receives the durations of encoding, of each half of the search, and of fetching.

        Returns:
            A list of hits for each question, which also converts to tables: see `Answers`.

        Raises:
            BadInput: ``questions`` is a single text, a question is blank or no valid Unicode, a
                vector has another width or is not finite, an option can't be used, or the mode
                needs a lexical index that the store lacks.
        """
        mode = "dense" if mode is None and are_vectors(questions) else mode
        reader = self._reader
        options = RankOptions(k, reader.mode(mode), where, fusion, weight, diverse, offset)
        return reader.search(questions, options, stages)

    def search_like(
        self,
        like: Sequence[str],
        unlike: Sequence[str] = (),
        k: int = RankOptions.k,
        where: Where | None = None,
        diverse: bool = False,
        offset: int = RankOptions.offset,
    ) -> Answers:
        """Find the best ``k`` documents that are like some documents; see `more_like`.

        Args:
            like: ids of documents; they are not found themselves.
            unlike: ids of documents that hits shall not be like; they are not found either.
            k, where, diverse, offset: see `search`.
        """
        options = RankOptions(k, "dense", where, diverse=diverse, offset=offset)
        return search_like(self, like, unlike, options)

    def rank(
        self, questions: Questions, options: RankOptions, stages: Stages | None = None
    ) -> list[Ranked]:
        """Return the rows and scores of what `search` finds; raises what `search` raises."""
        return self._reader.rank(questions, options, stages)

    def mode(self, mode: str | None = None) -> str:
        """Return the mode that was given, else the one that the store's indexes allow.

        Raises:
            BadInput: the mode needs a lexical index, and a segment has none or one of another
                language.
        """
        return self._reader.mode(mode)

    def weight(self, weight: float | None = None) -> float:
        """Return the weight of the cosine in hybrid scores; see `search`."""
        return self.ranker.weight(weight)

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that was read."""
        return self._reader.snapshot

    @property
    def segments(self) -> tuple[SegmentInfo, ...]:
        """The manifests of the snapshot's segments."""
        return self._reader.segments

    @property
    def live(self) -> LiveRows:
        """The masks of the snapshot's live rows."""
        return self._reader.live

    @property
    def dense(self) -> Dense:
        """The search by vectors."""
        return self._reader.dense

    @property
    def ranker(self) -> Ranker:
        """The ranking of documents."""
        return self._reader.ranker

    @property
    def encoder(self) -> "TextEncoder":
        """The store's model, loaded when first used.

        Raises:
            BadInput: the model is not where it was, or has changed.
        """
        return self._reader.encoder()

    @property
    def lexical(self) -> "LexicalIndex":
        """The lexical index of all segments, opened when first used."""
        return self._reader.lexical()

    def fetch(self, ranked: Sequence[Ranked], offset: int = 0) -> list[list[Hit]]:
        """Return the hits of what `rank` found."""
        return self._reader.fetch(ranked, offset)

    def nearest(
        self, vectors: npt.ArrayLike, k: int, where: Where | None = None
    ) -> tuple[Scores, Rows]:
        """Find the best ``k`` live passages by the indexes; see `Dense.nearest`."""
        return self.dense.nearest(vectors, k, where)

    @property
    def rows(self) -> int:
        """How many passages the snapshot's segments have, dead ones included."""
        return len(self._reader.rows)

    @property
    def columns(self) -> pa.Schema:
        """The columns that a condition may name: ``document_id`` and all metadata."""
        return self._reader.columns

    def document_ids(self, rows: Rows) -> list[list[str]]:
        """Return the document ids of global rows ``[questions, n]``; "" for row -1."""
        return self._reader.rows.document_ids(rows)

    def rows_of(self, ids: Sequence[str], where: Where | None = None) -> Rows:
        """Return the live rows of documents that meet a condition, in order."""
        return self._reader.rows_of(ids, where)

    def names(self, rows: Rows) -> pa.Table:
        """Return ``document_id`` and ``passage`` of global rows ``[n]``, in their order."""
        return self._reader.rows.names(rows)

    def read_rows(self, rows: Rows, columns: Sequence[str]) -> pa.Table:
        """Return columns of the parts' schema for global rows, which must ascend."""
        return self._reader.rows.read_rows(rows, columns)

    def documents(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield all live passages in order, a table per part; all columns of it by default."""
        return self._reader.documents(columns)

    def __reduce__(self) -> tuple[Any, ...]:
        placed = self._placement.device, self._placement.dtype
        return type(self).open, (self.url, self.snapshot.number, self._model, *placed, self._cache)

    def _read(
        self,
        snapshot: Snapshot,
        segments: tuple[SegmentInfo, ...],
        former: SnapshotReader | None = None,
    ) -> SnapshotReader:
        if former is not None and not snapshot.identity.difference(former.snapshot.identity):
            encoder = former.encoder
        else:
            given = self.url, snapshot.identity, self._model, self._placement
            encoder = Once(partial(load_store_model, *given))
        files = FileCache(self._cache or default_folder())
        return SnapshotReader(self.url, snapshot, segments, encoder, files, former)
