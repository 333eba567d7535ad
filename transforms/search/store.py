"""The reader's side of a store: open a snapshot, search it, read its documents."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.catalog.segment import SegmentInfo
from transforms.catalog.snapshot import Snapshot, read_segment, read_snapshot
from transforms.catalog.tombstones import live_mask
from transforms.errors import BadInput
from transforms.index.lexical.open import lexical_language, open_lexical
from transforms.index.top_k import Rows, Scores
from transforms.models.options import Placement
from transforms.models.resolve import find_model, options_for
from transforms.search.dense import Dense
from transforms.search.live_rows import LiveRows
from transforms.search.options import RankOptions
from transforms.search.predicate import check_condition
from transforms.search.ranker import Ranked, Ranker
from transforms.search.results import Answers, Hit, as_hit
from transforms.search.row_reader import RowReader
from transforms.search.timing import Stages, timed
from transforms.storage import filesystem
from transforms.storage.file_cache import FileCache, default_folder
from transforms.storage.parquet_files import reading
from transforms.storage.vectors import question_vectors

if TYPE_CHECKING:
    from transforms.encoder.encoder import Encoder
    from transforms.index.lexical.tantivy_index import LexicalIndex

#: Texts, or their vectors ``[questions, dim]``.
Questions = Sequence[str] | npt.NDArray[Any]


class Store:
    """One snapshot of a store. Files are opened when they are first needed.

    Attributes:
        url: the store's absolute URL.
        snapshot: the snapshot that was read.
        segments: the manifests of its segments.
        live: tells which rows are live.
        dense: finds passages by vectors.
        ranker: ranks documents.
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
        self.url, self.snapshot, self.segments = url, snapshot, segments
        self._model, self._placement = model, placement
        self._encoder: Encoder | None = None
        files = FileCache(cache or default_folder())
        self._open_lexical = functools.cache(functools.partial(open_lexical, url, segments, files))
        self._rows = RowReader(url, segments)
        self.live = LiveRows(url, snapshot.segments, segments, self._rows)
        self.dense = Dense(url, segments, snapshot.identity.dim, self._rows, self.live, files)
        self.ranker = Ranker(self.dense, self._open_lexical, self._rows, self.live, snapshot)

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
            cache: a folder that keeps copies of remote index files and notes which index files
                were checked; ``~/.cache/albeam`` by default.

        Raises:
            BadInput: there is no store or no such snapshot.
            Damaged: a manifest is missing or differs from its digest.
        """
        url = filesystem.absolute(url)
        found = read_snapshot(url, snapshot)
        segments = tuple(read_segment(url, ref) for ref in found.segments)
        return cls(url, found, segments, model, Placement(device, dtype), cache)

    def search(
        self,
        questions: Questions,
        k: int = RankOptions.k,
        mode: str | None = None,
        where: str | None = None,
        fusion: str = RankOptions.fusion,
        weight: float | None = None,
        diverse: bool = False,
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
            where: a condition on metadata columns; only documents that meet it are ranked.
            fusion: the scores of hybrid. ``combination`` is the weighted sum of the cosine and of
                BM25, divided by the question's best BM25. ``rrf`` is reciprocal rank fusion.
            weight: the weight of the cosine in that sum; by default the snapshot's, else 0.6.
            diverse: leave out documents whose passage is nearly identical to a better one.
            stages: receives the durations of encoding, of each half of the search, and of fetching.

        Returns:
            A list of hits for each question, which also converts to tables: see `Answers`.

        Raises:
            BadInput: ``questions`` is a single text, a question is blank, a vector has another
                width or is not finite, an option can't be used, or the mode needs a lexical index
                that the store lacks.
        """
        mode = "dense" if mode is None and _are_vectors(questions) else self.mode(mode)
        options = RankOptions(k, mode, where, fusion, weight, diverse)
        ranked = self.rank(questions, options, stages)
        texts = [""] * len(questions) if _are_vectors(questions) else list(questions)
        with timed(stages, "fetch"):
            rows = sorted({row for each in ranked for row in each.rows.tolist()})
            stored = dict(zip(rows, self._rows.fetch(rows), strict=True))
            return Answers((_hits(each, stored) for each in ranked), texts, self.columns)

    def rank(
        self, questions: Questions, options: RankOptions, stages: Stages | None = None
    ) -> list[Ranked]:
        """Return the rows and scores of what `search` finds; raises what `search` raises."""
        self.mode(options.mode)
        if _are_vectors(questions):
            if options.mode != "dense":
                problem = "needs the texts of questions, and vectors were given"
                raise BadInput("mode", options.mode, problem, "Give texts, or use mode dense")
            vectors = question_vectors(questions, self.snapshot.identity.dim)
            return self.ranker.rank([""] * len(vectors), vectors, options, stages)
        _check_texts(questions)
        if options.where is not None:
            # A wrong condition is reported before the model is loaded.
            check_condition(options.where, self.columns)
        texts, encoded = list(questions), None
        if options.mode != "lexical":
            with timed(stages, "encode"):
                encoded = self.encoder.encode_texts(texts, self.snapshot.identity.query_prompt)
        return self.ranker.rank(texts, encoded, options, stages)

    def mode(self, mode: str | None = None) -> str:
        """Return the mode that was given, else the one that the store's indexes allow.

        Raises:
            BadInput: the mode needs a lexical index, and a segment has none or one of another
                language.
        """
        lacking = [segment.name for segment in self.segments if segment.lexical is None]
        languages = {each.lexical.language for each in self.segments if each.lexical is not None}
        if mode is None:
            return "hybrid" if len(languages) == 1 and not lacking else "dense"
        if mode in ("hybrid", "lexical"):
            if lacking:
                problem = (
                    f"needs a lexical index, and {len(lacking)} of the {len(self.segments)} "
                    f"segments of {self.url} have none"
                )
                remedy = f"Build it: albeam index {self.url} --lexical auto"
                raise BadInput("mode", mode, problem, remedy)
            lexical_language(self.url, self.segments)
        return mode

    def weight(self, weight: float | None = None) -> float:
        """Return the weight of the cosine in hybrid scores; see `search`."""
        return self.ranker.weight(weight)

    @property
    def encoder(self) -> "Encoder":
        """The store's model, loaded when first used.

        Raises:
            BadInput: the model is not where it was, or has changed.
        """
        from transforms.encoder.encoder import load_encoder

        if self._encoder is None:
            identity = self.snapshot.identity
            try:
                model = find_model(options_for(identity, self._model))
            except BadInput as error:
                problem = f"can't be loaded for the store {self.url}: {error}"
                remedy = "If the model has moved, give its present folder with --model"
                raise BadInput("model", identity.name, problem, remedy) from error
            self._encoder = load_encoder(model, self._placement)
        return self._encoder

    @property
    def lexical(self) -> "LexicalIndex":
        """The lexical index of all segments, opened when first used."""
        return self._open_lexical()

    def nearest(
        self, vectors: npt.ArrayLike, k: int, where: str | None = None
    ) -> tuple[Scores, Rows]:
        """Find the best ``k`` live passages by the indexes; see `Dense.nearest`."""
        return self.dense.nearest(vectors, k, where)

    @property
    def rows(self) -> int:
        """How many passages the snapshot's segments have, dead ones included."""
        return len(self._rows)

    @property
    def columns(self) -> pa.Schema:
        """The columns that a condition may name: ``document_id`` and all metadata."""
        return self.live.columns

    def document_ids(self, rows: Rows) -> list[list[str]]:
        """Return the document ids of global rows ``[questions, n]``; "" for row -1."""
        return self._rows.document_ids(rows)

    def names(self, rows: Rows) -> pa.Table:
        """Return ``document_id`` and ``passage`` of global rows ``[n]``, in their order."""
        return self._rows.names(rows)

    def read_rows(self, rows: Rows, columns: Sequence[str]) -> pa.Table:
        """Return columns of the parts' schema for global rows, which must ascend."""
        return self._rows.read_rows(rows, columns)

    def documents(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield all live passages in order, one table per part.

        ``columns`` names columns of the parts' schema; all by default.
        """
        place = 0
        for number, segment in enumerate(self.segments):
            dead, first = self.live.dead(number), 0
            for part in segment.parts:
                with reading(self._rows.part_url(place)):
                    table = self._rows.open_part(place).read(
                        columns=list(columns) if columns else None
                    )
                if dead:
                    table = table.filter(pa.array(live_mask(dead, first, first + part.rows)))
                yield table
                place, first = place + 1, first + part.rows


def _are_vectors(questions: Questions) -> bool:
    return isinstance(questions, np.ndarray) and np.issubdtype(questions.dtype, np.number)


def _check_texts(questions: Questions) -> None:
    if isinstance(questions, str):
        raise BadInput("questions", questions, "is a single text", "Give a list of texts")
    for number, question in enumerate(questions):
        if not isinstance(question, str):
            kind = type(question).__name__
            raise BadInput(f"question {number}", None, f"is of type {kind}", "Give a text")
        if not question.strip():
            raise BadInput(f"question {number}", None, "is blank", "Give a text")


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
