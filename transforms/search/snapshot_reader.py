"""The reader of one snapshot: its files, and the searches over them."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.catalog.segment import SegmentInfo
from transforms.catalog.snapshot import SegmentRef, Snapshot, read_segment, read_snapshot
from transforms.catalog.tombstones import live_mask
from transforms.catalog.vacuumed import SnapshotSource
from transforms.errors import BadInput, Vacuumed
from transforms.index.lexical.open import lexical_language, open_lexical
from transforms.index.top_k import Rows
from transforms.runtime.once import Once
from transforms.search.condition import Where
from transforms.search.dense import Dense
from transforms.search.document_rows import DocumentRows
from transforms.search.live_rows import LiveRows
from transforms.search.options import RankOptions
from transforms.search.ranker import Ranker
from transforms.search.ranking import Ranked
from transforms.search.results import Answers, Hit, as_hit
from transforms.search.row_reader import RowReader
from transforms.search.timing import Stages, timed
from transforms.storage.file_cache import FileCache
from transforms.storage.vectors import question_vectors

if TYPE_CHECKING:
    from transforms.encoder.encoding import TextEncoder
    from transforms.index.lexical.tantivy_index import LexicalIndex

#: Texts, or their vectors ``[questions, dim]``.
Questions = Sequence[str] | npt.NDArray[Any]
#: How often the newest snapshot is read, if a vacuum removes it meanwhile.
_TRIES = 3


class SnapshotReader:
    """A snapshot whose files are opened when they are first needed. Threads may share one.

    Attributes:
        snapshot: the snapshot.
        segments: the manifests of its segments.
        encoder: returns the model, and loads it when it is first called.
        lexical: returns the lexical index of all segments, and opens it when it is first called.
        rows: reads rows by their numbers.
        live: tells which rows are live.
        document_rows: finds rows by the ids of their documents.
        dense: finds passages by vectors.
        ranker: ranks documents.
    """

    def __init__(
        self,
        url: str,
        snapshot: Snapshot,
        segments: tuple[SegmentInfo, ...],
        encoder: "Callable[[], TextEncoder]",
        files: FileCache,
        former: "SnapshotReader | None" = None,
    ) -> None:
        """Hold a snapshot that was read.

        Args:
            url: the store's URL.
            snapshot: the snapshot.
            segments: the manifests of its segments.
            encoder: returns the model.
            files: checks and keeps index files.
            former: the reader of an earlier snapshot, whose open indexes are used further.
        """
        self.snapshot, self.segments, self.encoder = snapshot, segments, encoder
        self._url, self._files = url, files
        self._source = source = SnapshotSource(url, snapshot.number)
        self.lexical = Once(self._open_lexical)
        self.rows = RowReader(source, segments, files)
        self.live = LiveRows(source, snapshot.segments, segments, self.rows)
        sorted_ids = None if former is None else former.document_rows
        self.document_rows: DocumentRows = DocumentRows(segments, self.rows, sorted_ids)
        opened = None if former is None else former.dense
        dim = snapshot.identity.dim
        self.dense: Dense = Dense(source, segments, dim, self.rows, self.live, files, opened)
        self.ranker = Ranker(self.dense, self.lexical, self.rows, self.live, snapshot)

    @property
    def manifests(self) -> dict[Hashable, SegmentInfo]:
        """The manifests by the files that they were read from."""
        files = map(_manifest_files, self.snapshot.segments)
        return dict(zip(files, self.segments, strict=True))

    @property
    def columns(self) -> pa.Schema:
        """The columns that a condition may name: ``document_id`` and all metadata."""
        return self.live.columns

    def search(
        self, questions: Questions, options: RankOptions, stages: Stages | None = None
    ) -> Answers:
        """Find the best documents for each question; see `Store.search`."""
        ranked = self.rank(questions, options, stages)
        texts = [""] * len(questions) if are_vectors(questions) else list(questions)
        with timed(stages, "fetch"):
            return Answers(self.fetch(ranked, options.offset), texts, self.columns)

    def rows_of(self, ids: Sequence[str], where: Where | None = None) -> Rows:
        """Return the live global rows of documents that meet a condition, in order."""
        rows, mask = self.document_rows.rows(ids), self.live.mask(where)
        return rows if mask is None else rows[mask[rows]]

    def fetch(self, ranked: Sequence[Ranked], offset: int = 0) -> list[list[Hit]]:
        """Return the hits of ranked passages, whose first rank follows ``offset``."""
        rows = sorted({row for each in ranked for row in each.rows.tolist()})
        stored = dict(zip(rows, self.rows.fetch(rows), strict=True))
        return [_hits(each, stored, offset) for each in ranked]

    def rank(
        self, questions: Questions, options: RankOptions, stages: Stages | None = None
    ) -> list[Ranked]:
        """Return the rows and scores of what `search` finds; raises what `search` raises."""
        self.mode(options.mode)
        if are_vectors(questions):
            if options.mode != "dense":
                problem = "needs the texts of questions, and vectors were given"
                raise BadInput("mode", options.mode, problem, "Give texts, or use mode dense")
            vectors = question_vectors(questions, self.snapshot.identity.dim)
            return self.ranker.rank([""] * len(vectors), vectors, options, stages)
        check_texts(questions)
        # A wrong condition is reported before the model is loaded.
        options = replace(options, where=self.live.condition(options.where))
        self.live.mask(options.where)
        texts, encoded = list(questions), None
        if options.mode != "lexical":
            with timed(stages, "encode"):
                prompt = self.snapshot.identity.query_prompt
                encoded = self.encoder().encode_texts(texts, prompt)
        return self.ranker.rank(texts, encoded, options, stages)

    def mode(self, mode: str | None = None) -> str:
        """Return the mode that was given, else the one that the indexes allow; see `Store.mode`."""
        lacking = [segment.name for segment in self.segments if segment.lexical is None]
        languages = {each.lexical.language for each in self.segments if each.lexical is not None}
        if mode is None:
            return "hybrid" if len(languages) == 1 and not lacking else "dense"
        if mode in ("hybrid", "lexical"):
            if lacking:
                problem = (
                    f"needs a lexical index, and {len(lacking)} of the {len(self.segments)} "
                    f"segments of {self._url} have none"
                )
                remedy = f"Build it: albeam index {self._url} --lexical auto"
                raise BadInput("mode", mode, problem, remedy)
            lexical_language(self._url, self.segments)
        return mode

    def documents(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield all live passages in order, one table per part; see `Store.documents`."""
        place = 0
        for number, segment in enumerate(self.segments):
            dead, first = self.live.dead(number), 0
            for part in segment.parts:
                table = self.rows.read_part(place, columns or None)
                if dead:
                    table = table.filter(pa.array(live_mask(dead, first, first + part.rows)))
                yield table
                place, first = place + 1, first + part.rows

    def _open_lexical(self) -> "LexicalIndex":
        with self._source.naming_vacuum():
            return open_lexical(self._url, self.segments, self._files)


def read_manifests(
    url: str, number: int | None = None, former: SnapshotReader | None = None
) -> tuple[Snapshot, tuple[SegmentInfo, ...]]:
    """Read a snapshot, the newest by default, and the manifests of its segments.

    Args:
        url: the store's URL.
        number: the snapshot's number.
        former: the reader of an earlier snapshot, whose manifests are not read again.

    Raises:
        BadInput: there is no store or no such snapshot.
        Damaged: a manifest is missing or differs from its digest.
        Vacuumed: a vacuum removed the snapshot meanwhile.
    """
    known = {} if former is None else former.manifests
    for _ in range(1 if number is not None else _TRIES):
        snapshot = read_snapshot(url, number)
        try:
            with SnapshotSource(url, snapshot.number).naming_vacuum():
                segments = tuple(
                    known.get(_manifest_files(ref)) or read_segment(url, ref)
                    for ref in snapshot.segments
                )
        except Vacuumed as error:
            vacuumed = error
        else:
            return snapshot, segments
    raise vacuumed


def _manifest_files(ref: SegmentRef) -> Hashable:
    return ref.name, ref.sha256, ref.index, ref.lexical


def are_vectors(questions: Questions) -> bool:
    """Return whether questions are vectors, and not texts."""
    return isinstance(questions, np.ndarray) and np.issubdtype(questions.dtype, np.number)


def check_texts(questions: Questions) -> None:
    """Raise BadInput if a question is blank or no valid Unicode."""
    if isinstance(questions, str):
        raise BadInput("questions", questions, "is a single text", "Give a list of texts")
    for number, question in enumerate(questions):
        if not isinstance(question, str):
            kind = type(question).__name__
            raise BadInput(f"question {number}", None, f"is of type {kind}", "Give a text")
        if not question.strip():
            raise BadInput(f"question {number}", None, "is blank", "Give a text")
        try:
            question.encode()
        except UnicodeEncodeError as error:
            problem = f"is not Unicode: it has half of a surrogate pair at character {error.start}"
            remedy = "Give it in UTF-8, or leave that character out"
            raise BadInput(f"question {number}", None, problem, remedy) from error


def _hits(ranked: Ranked, stored: dict[int, dict[str, Any]], offset: int) -> list[Hit]:
    dense, lexical = (
        [None] * len(ranked.rows) if half is None else half.tolist()
        for half in (ranked.dense, ranked.lexical)
    )
    each = zip(ranked.rows.tolist(), ranked.scores.tolist(), dense, lexical, strict=True)
    return [
        as_hit(place, score, stored[row], *halves)
        for place, (row, score, *halves) in enumerate(each, offset + 1)
    ]
