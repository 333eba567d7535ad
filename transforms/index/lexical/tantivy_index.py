"""BM25 on tantivy: texts to terms, terms to index files, and files of many shards to one ranking.

tantivy ranks by the statistics of the index that it has open, so the shards of all segments are
opened as one index: its own list of segments is written anew over their files. A passage's score
then depends on the corpus, and not on the shard that it lies in. Passages whose rows are dead count
in these statistics until they are compacted away.
"""

import json
import math
import os
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tantivy

from transforms.errors import Damaged
from transforms.index.lexical.analyzer import ANALYZER, MOST_TERMS, Analyzer, normalized
from transforms.index.top_k import Rows, Scores

#: Of tantivy, which says what its files look like.
VERSION = version("tantivy")
#: Memory of a writer, in bytes; what does not fit goes to a further piece.
_HEAP = 128_000_000
#: Rows that are asked for by their numbers at once; so few live ones are ranked one by one.
AT_ONCE = 1_000
#: In a corpus of more rows, terms that a greater share of them holds don't choose candidates.
_LARGE, _COMMON = 100_000, 0.1
_CANDIDATES_PER_HIT = 4
_META = "meta.json"
_TEXT, _ROW = "text", "row"


@dataclass(frozen=True)
class WrittenPiece:
    """A tantivy segment in a local folder: its rows, and its files by the ends of their names."""

    rows: int
    files: dict[str, Path]


def write_index(folder: Path, texts: Iterable[str], language: str) -> list[WrittenPiece]:
    """Index texts, numbered from 0, with one thread and a bounded memory.

    Args:
        folder: an empty local folder.
        texts: in the order of their rows.
        language: whose stems.
    """
    index = tantivy.Index(_schema(), str(folder))
    index.register_tokenizer(ANALYZER, Analyzer(language).built)
    writer = index.writer(heap_size=_HEAP, num_threads=1)
    for row, text in enumerate(texts):
        document = tantivy.Document()
        document.add_text(_TEXT, normalized(text))
        document.add_unsigned(_ROW, row)
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()
    meta = json.loads((folder / _META).read_text())
    pieces = []
    for segment in meta["segments"]:
        stem = uuid.UUID(segment["segment_id"]).hex
        files = {path.suffix: path for path in sorted(folder.glob(f"{stem}.*"))}
        pieces.append(WrittenPiece(segment["max_doc"], files))
    return pieces


@dataclass(frozen=True)
class OpenPiece:
    """A tantivy segment that is to be searched.

    Attributes:
        rows: passages in it.
        first: the global row that is row 0 of its shard.
        files: its files by the ends of their names.
    """

    rows: int
    first: int
    files: dict[str, Path]


class LexicalIndex:
    """Many pieces as one index: BM25 (k1 1.2, b 0.75) with the statistics of all."""

    def __init__(self, pieces: Sequence[OpenPiece], language: str) -> None:
        """Open the pieces.

        Raises:
            Damaged: tantivy can't read them.
        """
        self._analyzer = Analyzer(language)
        self._schema = _schema()
        self._firsts = np.array([piece.first for piece in pieces], np.int64)
        self._starts = np.unique(self._firsts)
        self._filter: tuple[npt.NDArray[np.bool_], Rows] | None = None
        # A thread of tantivy's that looks for changes may lock the folder just when it goes.
        passing = tempfile.TemporaryDirectory(prefix="albeam-", ignore_cleanup_errors=True)
        with passing as folder, _reading():
            _compose(folder, self._schema, pieces)
            index = tantivy.Index.open(folder)
            # The folder goes, and nothing comes that would have to be noticed.
            index.config_reader("manual")
            self._searcher = index.searcher()

    @property
    def rows(self) -> int:
        """Passages of all pieces, dead ones counted."""
        return int(self._searcher.num_docs)

    def search(
        self, question: str, k: int, live: npt.NDArray[np.bool_] | None = None
    ) -> tuple[Scores, Rows]:
        """The best ``k`` live rows that share a term with a question, equal scores by row.

        In a large corpus the terms that few passages hold choose candidates, four times as many,
        which are ranked by all terms.

        Args:
            question: text; no character of it is query syntax.
            k: how many rows; fewer are found where fewer share a term.
            live: which global rows may be found; all by default.

        Returns:
            float32 and int64 ``[n]``, best first.
        """
        if self._is_large(k):
            rows = self.candidates(question, _CANDIDATES_PER_HIT * k, live)
            return _best(self.scores(question, rows), rows, k)
        return self._search(self._query(self._weights(question)), k, live)

    def candidates(
        self, question: str, wanted: int, live: npt.NDArray[np.bool_] | None = None
    ) -> Rows:
        """About the best ``wanted`` live rows that share a term with a question, best first."""
        weights = self._weights(question)
        rare = {term: each for term, each in weights.items() if each.share <= _COMMON}
        if self._is_large(wanted) and 0 < len(rare) < len(weights):
            _, rows = self._search(self._query(rare), wanted, live)
            if len(rows) == wanted:
                return rows
        return self._search(self._query(weights), wanted, live)[1]

    def scores(self, question: str, rows: Rows) -> Scores:
        """The scores of global rows ``[n]``, 0 where no term is shared; float32 ``[n]``."""
        query = self._query(self._weights(question))
        if query is None:
            return np.zeros(len(rows), np.float32)
        pieces = [
            self._score(query, rows[start : start + AT_ONCE])
            for start in range(0, len(rows), AT_ONCE)
        ]
        return np.concatenate([np.empty(0, np.float32), *pieces])

    def _is_large(self, wanted: int) -> bool:
        """Whether to rank so many candidates costs less than to rank all rows."""
        return self.rows > _LARGE and wanted <= AT_ONCE

    def _search(
        self, query: tantivy.Query | None, k: int, live: npt.NDArray[np.bool_] | None
    ) -> tuple[Scores, Rows]:
        """The best live rows by one query; what is not live is left out and more are asked for."""
        if query is None or not k or not self.rows:
            return _nothing()
        wanted = k
        if live is not None:
            few = self._live_rows(live)
            if len(few) <= AT_ONCE:
                # However few share a term: none of the others is looked at.
                scores = self._score(query, few)
                keep = scores > 0
                return _best(scores[keep], few[keep], k)
            wanted = math.ceil(1.2 * k * self.rows / len(few))
        while True:
            wanted = min(wanted, self.rows)
            scores, rows = self._found(query, wanted)
            whole = len(rows) < wanted or wanted == self.rows
            if live is not None:
                keep = live[rows]
                scores, rows = scores[keep], rows[keep]
            if len(rows) >= k or whole:
                return _best(scores, rows, k)
            wanted *= 2

    def _live_rows(self, live: npt.NDArray[np.bool_]) -> Rows:
        # Another thread may put its own there at any time.
        last = self._filter
        if last is None or last[0] is not live:
            last = self._filter = live, np.flatnonzero(live)
        return last[1]

    def _score(self, query: tantivy.Query, rows: Rows) -> Scores:
        """The scores of some rows, which are asked for by their numbers in their shards."""
        result = np.zeros(len(rows), np.float32)
        if not len(rows):
            return result
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        inside = np.unique(rows - self._starts[shards])
        numbers = [tantivy.Query.term_query(self._schema, _ROW, row) for row in inside.tolist()]
        either = tantivy.Query.boolean_query([(tantivy.Occur.Should, each) for each in numbers])
        only = tantivy.Query.boolean_query(
            [
                (tantivy.Occur.Must, tantivy.Query.const_score_query(either, 0.0)),
                (tantivy.Occur.Should, query),
            ]
        )
        # Rows of other shards have the same numbers there.
        scores, found = self._found(only, min(self.rows, len(inside) * len(self._starts)))
        order = np.argsort(found)
        places = np.minimum(np.searchsorted(found[order], rows), len(found) - 1)
        at = order[places]
        same = found[at] == rows
        result[same] = scores[at[same]]
        return result

    def _found(self, query: tantivy.Query, limit: int) -> tuple[Scores, Rows]:
        hits = self._searcher.search(query, limit=limit, count=False).hits
        if not hits:
            return _nothing()
        addresses = [address for _, address in hits]
        inside = np.array(self._searcher.fast_field_values(_ROW, addresses), np.int64)
        pieces = np.array([address.segment_ord for address in addresses], np.int64)
        scores = np.array([score for score, _ in hits], np.float32)
        return scores, inside + self._firsts[pieces]

    def _weights(self, question: str) -> dict[str, "_Weight"]:
        """The terms of a question that some passage holds: of many, those that tell most."""
        weights = {}
        for term, count in Counter(self._analyzer.terms(question)).items():
            held = self._searcher.doc_freq(_TEXT, term)
            if held:
                rarity = math.log1p((self.rows - held + 0.5) / (held + 0.5))
                weights[term] = _Weight(count, held / self.rows, count * rarity)
        chosen = sorted(weights, key=lambda term: (-weights[term].tells, term))[:MOST_TERMS]
        return {term: weights[term] for term in sorted(chosen)}

    def _query(self, weights: Mapping[str, "_Weight"]) -> tantivy.Query | None:
        """Any of the terms, each as often as it was said; None where there is none."""
        queries = []
        for term, weight in weights.items():
            query = tantivy.Query.term_query(self._schema, _TEXT, term, "freq")
            if weight.count > 1:
                query = tantivy.Query.boost_query(query, float(weight.count))
            queries.append((tantivy.Occur.Should, query))
        return tantivy.Query.boolean_query(queries) if queries else None


@dataclass(frozen=True)
class _Weight:
    """How often a question has a term, the share of passages that hold it, and what it tells."""

    count: int
    share: float
    tells: float


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field(_TEXT, stored=False, tokenizer_name=ANALYZER, index_option="freq")
    builder.add_unsigned_field(_ROW, indexed=True, fast=True)
    return builder.build()


def _compose(folder: str, schema: tantivy.Schema, pieces: Sequence[OpenPiece]) -> None:
    """Write an index whose segments are the pieces, in their order."""
    tantivy.Index(schema, folder)
    meta = Path(folder, _META)
    value = json.loads(meta.read_text())
    value["segments"] = []
    for number, piece in enumerate(pieces):
        # tantivy's own names are random; a file may serve two pieces of equal content.
        name = uuid.UUID(int=number + 1)
        for suffix, path in piece.files.items():
            os.symlink(path.resolve(), Path(folder, name.hex + suffix))
        value["segments"].append({"segment_id": str(name), "max_doc": piece.rows, "deletes": None})
    meta.write_text(json.dumps(value))


@contextmanager
def _reading() -> Iterator[None]:
    """Turn what tantivy says of files that it can't read into Damaged."""
    try:
        yield
    except (ValueError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise Damaged(
            f"a lexical index can't be read: {error}; build it anew: albeam index STORE "
            "--lexical auto"
        ) from error


def _nothing() -> tuple[Scores, Rows]:
    return np.empty(0, np.float32), np.empty(0, np.int64)


def _best(scores: Scores, rows: Rows, k: int) -> tuple[Scores, Rows]:
    order = np.lexsort((rows, -scores))[:k]
    return scores[order], rows[order]
