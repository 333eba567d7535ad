"""The reader's face of a store: open, search, documents."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyroaring import BitMap64

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.segment import SegmentInfo
from transforms.catalog.snapshot import Snapshot, read_segment, read_snapshot
from transforms.catalog.tombstones import live_mask, read_tombstones
from transforms.errors import BadInput
from transforms.index.lexical.open import lexical_language, open_lexical
from transforms.index.top_k import Rows, Scores
from transforms.index.vector.segment_index import SegmentIndex
from transforms.models.options import Placement
from transforms.models.resolve import find_model, options_for
from transforms.search.dense import Dense
from transforms.search.fusion import default_weight
from transforms.search.options import RankOptions
from transforms.search.predicate import as_schema, check_condition, matching, named_columns, unified
from transforms.search.ranker import Ranked, rank
from transforms.search.results import Answers, Hit, as_hit
from transforms.search.row_reader import StoredRows
from transforms.search.timing import Stages, timed
from transforms.storage import filesystem
from transforms.storage.file_cache import FileCache, default_folder
from transforms.storage.parquet_files import reading
from transforms.storage.vectors import question_vectors

if TYPE_CHECKING:
    from transforms.encoder.encoder import Encoder
    from transforms.index.lexical.tantivy_index import LexicalIndex

#: Conditions whose rows are remembered.
_CACHED_MASKS = 4
_ID = "document_id"


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
        self.live_rows = lru_cache(_CACHED_MASKS)(self._live_rows_uncached)
        self._files = FileCache(cache or default_folder())
        self._lexical: LexicalIndex | None = None
        dim = snapshot.identity.dim
        self.dense = Dense(url, segments, dim, self._rows, self.live, self._files)

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
        url = filesystem.absolute(url)
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
        from transforms.encoder.encoder import load_encoder

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
        mode: str | None = None,
        where: str | None = None,
        fusion: str = "combination",
        weight: float | None = None,
        diverse: bool = False,
    ) -> Answers:
        """The best ``k`` documents for each question, by their best passages.

        Args:
            questions: what to ask; text alone, no character of it is query syntax.
            k: how many documents.
            mode: ``dense`` ranks by vectors, ``lexical`` by BM25, ``hybrid`` by both; hybrid by
                default, or dense where the store has no lexical index.
            where: a condition on metadata columns; only documents for which it holds are ranked.
            fusion: of hybrid: ``combination``, the weighted sum of the cosine and of BM25 divided
                by the question's best; or ``rrf``, reciprocal rank fusion.
            weight: of the cosine in that sum; by default the store's, else 0.6.
            diverse: leave out documents whose passage is nearly identical to a better one's.

        Returns:
            A list of hits a question, which also gives tables: `Answers.to_arrow`, ``to_pandas``.

        Raises:
            BadInput: one text instead of a list, a blank question, an option that can't be used, or
                no lexical index where the mode needs one.
        """
        return self.search_as(
            questions, RankOptions(k, self.mode(mode), where, fusion, weight, diverse)
        )

    def search_as(
        self, questions: Sequence[str], options: RankOptions, stages: Stages | None = None
    ) -> Answers:
        """The same with options that are one value; raises what `search` raises.

        ``stages`` counts how long it takes to encode, to search by each half, and to fetch.
        """
        ranked = self.rank_questions(questions, options, stages)
        with timed(stages, "fetch"):
            return self._answers(questions, ranked)

    def rank_questions(
        self, questions: Sequence[str], options: RankOptions, stages: Stages | None = None
    ) -> list[Ranked]:
        """The global rows that `search_as` would fetch, and their scores; raises what it raises."""
        self.mode(options.mode)
        _check_asked(questions)
        if options.where is not None:
            # Before the model is loaded.
            check_condition(options.where, self.columns)
        vectors = None
        if options.mode != "lexical":
            prompt = self.snapshot.identity.query_prompt
            with timed(stages, "encode"):
                vectors = self.encoder.encode_texts(list(questions), prompt)
        return rank(self, questions, vectors, options, stages)

    def search_vectors(
        self, vectors: npt.ArrayLike, k: int = 10, where: str | None = None
    ) -> Answers:
        """The same for vectors ``[questions, dim]``, in mode ``dense``.

        Raises:
            BadInput: vectors of another shape, one that is not finite, a k below 1, or a condition
                that can't be used.
        """
        vectors = question_vectors(vectors, self.snapshot.identity.dim)
        questions = [""] * len(vectors)
        return self._answers(questions, rank(self, questions, vectors, RankOptions(k, where=where)))

    def rank(
        self, vectors: npt.ArrayLike, k: int, where: str | None = None
    ) -> list[tuple[list[int], list[float]]]:
        """Global rows and scores of the best passage of each of the best ``k`` documents."""
        vectors = question_vectors(vectors, self.snapshot.identity.dim)
        ranked = rank(self, [""] * len(vectors), vectors, RankOptions(k, where=where))
        return [(each.rows.tolist(), each.scores.tolist()) for each in ranked]

    def _answers(self, questions: Sequence[str], ranked: Sequence[Ranked]) -> Answers:
        rows = sorted({row for each in ranked for row in each.rows.tolist()})
        stored = dict(zip(rows, self._rows.fetch(rows), strict=True))
        return Answers((_hits(each, stored) for each in ranked), questions, self.columns)

    def mode(self, mode: str | None = None) -> str:
        """The mode that is meant: what was given, else what the store has indexes for.

        Raises:
            BadInput: it needs a lexical index, and a segment has none or one of another language.
        """
        lacking = [segment.name for segment in self.segments if segment.lexical is None]
        languages = {each.lexical.language for each in self.segments if each.lexical is not None}
        if mode is None:
            return "hybrid" if len(languages) == 1 and not lacking else "dense"
        if mode in ("hybrid", "lexical") and lacking:
            raise BadInput(
                f"{self.url!r} has no lexical index in {len(lacking)} of its "
                f"{len(self.segments)} segments, and mode {mode!r} needs one; build it: albeam "
                f"index {self.url} --lexical auto"
            )
        if mode in ("hybrid", "lexical"):
            lexical_language(self.url, self.segments)
        return mode

    def weight(self, weight: float | None = None) -> float:
        """The weight of the cosine in hybrid scores: what is given, else learnt, else 0.6."""
        return default_weight(weight, self.snapshot.weight)

    @property
    def lexical(self) -> "LexicalIndex":
        """The lexical index of all segments, opened when first used."""
        if self._lexical is None:
            self._lexical = open_lexical(self.url, self.segments, self._files)
        return self._lexical

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

    def names(self, rows: Rows) -> pa.Table:
        """``document_id`` and ``passage`` of global rows ``[n]``, a row each, in their order."""
        return self._rows.names(rows)

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

    def _live_rows_uncached(self, where: str | None = None) -> npt.NDArray[np.bool_] | None:
        """Which global rows live and meet a condition; None for all."""
        masks = [self.live(number, where) for number in range(len(self.segments))]
        if all(mask is None for mask in masks):
            return None
        rows = [np.ones(segment.rows, np.bool_) for segment in self.segments]
        return np.concatenate([r if m is None else m for r, m in zip(rows, masks, strict=True)])

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


def _check_asked(questions: Sequence[str]) -> None:
    if isinstance(questions, str):
        raise BadInput(f"questions are one text, {questions[:60]!r}; give a list of texts")
    for number, question in enumerate(questions):
        if not isinstance(question, str):
            raise BadInput(f"question {number} is {question!r} and no text; ask something")
        if not question.strip():
            raise BadInput(f"question {number} is blank; ask something")


def _hits(ranked: Ranked, stored: dict[int, dict[str, Any]]) -> list[Hit]:
    dense, lexical = (
        [None] * len(ranked.rows) if half is None else half.tolist()
        for half in (ranked.dense, ranked.lexical)
    )
    each = zip(ranked.rows.tolist(), ranked.scores.tolist(), dense, lexical, strict=True)
    return [
        as_hit(place, score, stored[row], *halves)
        for place, (row, score, *halves) in enumerate(each, 1)
    ]
