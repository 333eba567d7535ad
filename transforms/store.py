"""The reader's face of a store: open, search, documents."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyroaring import BitMap64

from transforms import storage
from transforms.dense import Dense
from transforms.errors import BadInput
from transforms.file_cache import FileCache, default_folder
from transforms.filters import as_schema, check_condition, matching, named_columns, unified
from transforms.model import Placement, find_model, options_for
from transforms.parquet import reading
from transforms.ranking import Rows, Scores, best_of_each
from transforms.records import PASSAGE_FIELDS, question_vectors
from transforms.segment import SegmentInfo, SegmentPaths
from transforms.shards import SegmentIndex
from transforms.snapshot import Snapshot, read_segment, read_snapshot
from transforms.stored_rows import StoredRows
from transforms.tombstones import live_mask, read_tombstones

if TYPE_CHECKING:
    from transforms.encoder import Encoder

MODES = ("dense",)
#: Conditions whose rows are remembered.
_CACHED_MASKS = 4
_ID = "document_id"
_OWN = frozenset(field.name for field in PASSAGE_FIELDS)


@dataclass(frozen=True)
class Hit:
    """The best passage of one document.

    Attributes:
        rank: from 1.
        score: inner product of question and passage; the cosine, where vectors are normalized.
        document_id: of the document.
        passage: its number in the document.
        start, end: its span in the document's text, in Unicode code points.
        text: of the passage.
        metadata: the document's metadata columns.
    """

    rank: int
    score: float
    document_id: str
    passage: int
    start: int
    end: int
    text: str
    metadata: dict[str, Any]


class Store:
    """One snapshot of a store. Files are opened when they are first needed."""

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
        self.url = url
        self.snapshot = snapshot
        self.segments = segments
        self._model, self._placement = model, placement
        self._encoder: Encoder | None = None
        self._rows = StoredRows(url, segments)
        self._dead = lru_cache(None)(self._dead_uncached)
        self.live = lru_cache(_CACHED_MASKS * max(1, len(self.segments)))(self._live_uncached)
        files = FileCache(cache or default_folder())
        self.dense = Dense(url, segments, snapshot.identity.dim, self.live, files)

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
            model: where the store's model lies now, if it has moved.
            device: where questions are embedded: ``auto``, ``cpu`` or ``cuda``.
            dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
            cache: a folder in which it is remembered which index files were checked, and in which
                copies of remote ones are kept; ``~/.cache/albeam`` by default.

        Raises:
            BadInput: there is no store or no such snapshot.
            Damaged: a manifest is missing or differs from its digest.
        """
        url = storage.absolute(url)
        found = read_snapshot(url, snapshot)
        segments = tuple(read_segment(url, ref) for ref in found.segments)
        return cls(url, found, segments, model, Placement(device, dtype), cache)

    @property
    def rows(self) -> int:
        """Passages in the snapshot's segments, dead ones counted: the range of global rows."""
        return len(self._rows)

    @property
    def encoder(self) -> "Encoder":
        """The store's model, loaded when first used.

        Raises:
            BadInput: it is not where it was, or is another model now.
        """
        from transforms.encoder import load_encoder

        if self._encoder is None:
            identity = self.snapshot.identity
            try:
                model = find_model(options_for(identity, self._model))
            except BadInput as error:
                raise BadInput(
                    f"{error}; {self.url!r} was made with {identity.name!r}: "
                    "if that lies elsewhere now, give its place with --model"
                ) from error
            self._encoder = load_encoder(model, self._placement)
        return self._encoder

    def search(
        self,
        questions: Sequence[str],
        k: int = 10,
        mode: str = "dense",
        where: str | None = None,
    ) -> list[list[Hit]]:
        """The best ``k`` documents for each question, by their best passages.

        Args:
            questions: what to ask.
            k: how many documents.
            mode: ``dense``.
            where: a condition on metadata columns; only documents for which it holds are ranked.

        Raises:
            BadInput: a blank question, a k below 1, an unknown mode, or a condition that can't be
                used.
        """
        if mode not in MODES:
            raise BadInput(f"mode {mode!r} is not one of {', '.join(MODES)}")
        if k < 1:
            raise BadInput(f"k is {k}; give 1 or more")
        for number, question in enumerate(questions):
            if not question.strip():
                raise BadInput(f"question {number} is blank; ask something")
        prompt = self.snapshot.identity.query_prompt
        if where is not None:
            # Before the model is loaded.
            check_condition(where, self.columns)
        return self.search_vectors(self.encoder.encode_texts(list(questions), prompt), k, where)

    def search_vectors(
        self, vectors: npt.ArrayLike, k: int = 10, where: str | None = None
    ) -> list[list[Hit]]:
        """The same for vectors ``[questions, dim]``.

        Raises:
            BadInput: vectors of another shape, one that is not finite, a k below 1, or a condition
                that can't be used.
        """
        ranked = self.rank(vectors, k, where)
        rows = sorted({row for rows, _ in ranked for row in rows})
        found = dict(zip(rows, self._rows.fetch(rows), strict=True))
        return [
            [
                _hit(rank, score, found[row])
                for rank, (row, score) in enumerate(zip(rows, scores, strict=True), 1)
            ]
            for rows, scores in ranked
        ]

    def rank(
        self, vectors: npt.ArrayLike, k: int, where: str | None = None
    ) -> list[tuple[list[int], list[float]]]:
        """Global rows and scores of the best passage of each of the best ``k`` documents."""
        vectors = question_vectors(vectors, self.snapshot.identity.dim)
        if k < 1:
            raise BadInput(f"k is {k}; give 1 or more")
        results: dict[int, tuple[list[int], list[float]]] = {}
        live_rows = self.snapshot.passages
        if where is not None:
            masks = (self.live(number, where) for number in range(len(self.segments)))
            live_rows = sum(int(mask.sum()) for mask in masks if mask is not None)
        if not live_rows:
            return [([], []) for _ in vectors]
        pending = list(range(len(vectors)))
        wanted = min(live_rows, k + max(k // 2, 10))
        while pending:
            scores, rows = self.nearest(vectors[pending], wanted, where)
            keys = self.document_ids(rows)
            unsettled = []
            for place, question in enumerate(pending):
                live = int((rows[place] >= 0).sum())
                best = best_of_each(keys[place][:live], k)
                if len(best) < k and wanted < live_rows:
                    unsettled.append(question)
                results[question] = (
                    [int(rows[place, b]) for b in best],
                    [float(scores[place, b]) for b in best],
                )
            pending, wanted = unsettled, min(live_rows, wanted * 2)
        return [results[question] for question in range(len(vectors))]

    def nearest(
        self, vectors: npt.ArrayLike, k: int, where: str | None = None
    ) -> tuple[Scores, Rows]:
        """The best ``k`` live passages by the indexes: scores and global rows, -1 where too few."""
        return self.dense.nearest(vectors, k, where)

    def index(self, number: int) -> SegmentIndex:
        """The index of a segment, which has one."""
        return self.dense.index(number)

    def document_ids(self, rows: Rows) -> list[list[str]]:
        """The document ids of global rows ``[questions, n]``; "" for row -1."""
        return self._rows.document_ids(rows)

    def read_rows(self, rows: Rows, columns: Sequence[str]) -> pa.Table:
        """Columns of the parts' schema for global rows, which must ascend, in their order."""
        return self._rows.read_rows(rows, columns)

    def documents(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """All live passages, a table a part, in order; ``columns`` as in the part's schema."""
        place = 0
        for number, segment in enumerate(self.segments):
            dead, first = self._dead(number), 0
            for part in segment.parts:
                with reading(self._rows.part_url(place)):
                    table = self._rows.open_part(place).read(
                        columns=list(columns) if columns else None
                    )
                if dead:
                    table = table.filter(pa.array(live_mask(dead, first, first + part.rows)))
                yield table
                place, first = place + 1, first + part.rows

    def _live_uncached(self, number: int, where: str | None = None) -> npt.NDArray[np.bool_] | None:
        """Which rows of a segment live and meet a condition; None for all."""
        segment, dead = self.segments[number], self._dead(number)
        live = live_mask(dead, 0, segment.rows) if dead else None
        if where is None:
            return live
        masks = [np.ones(0, np.bool_)]
        columns = named_columns(where, self.columns)
        names = [name for name in (_ID, *segment.metadata.names) if name in columns.names]
        place = sum(len(each.parts) for each in self.segments[:number])
        for part in range(place, place + len(segment.parts)):
            with reading(self._rows.part_url(part)):
                table = self._rows.open_part(part).read(columns=names or [_ID])
            masks.append(matching(as_schema(table, columns), where, self.columns))
        met = np.concatenate(masks)
        return met if live is None else live & met

    @property
    def columns(self) -> pa.Schema:
        """The columns that a condition may name: ``document_id`` and all metadata."""
        schemas = [segment.metadata for segment in self.segments]
        return unified([pa.schema([(_ID, pa.string())]), *schemas])

    def _dead_uncached(self, number: int) -> BitMap64:
        ref, segment = self.snapshot.segments[number], self.segments[number]
        return read_tombstones(SegmentPaths(self.url, ref.name), ref.tombstones, segment.rows)


def _hit(rank: int, score: float, row: dict[str, Any]) -> Hit:
    metadata = {name: value for name, value in row.items() if name not in _OWN}
    own: Iterable[str] = ("document_id", "passage", "start", "end", "text")
    return Hit(rank=rank, score=score, metadata=metadata, **{name: row[name] for name in own})
