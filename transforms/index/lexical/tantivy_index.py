"""BM25 with tantivy: the files of many shards are searched as one index.

tantivy ranks by the statistics of the index that is open. The shards of all segments are therefore
opened as one index, for which a new ``meta.json`` lists their files. A passage's score then depends
on the corpus, and not on its shard. Passages with dead rows count in the statistics until a
compaction removes them.
"""

import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tantivy

from transforms.errors import Damaged
from transforms.index.lexical.analyzer import MAX_TERMS, Analyzer
from transforms.index.lexical.tantivy_files import ROW, TEXT, OpenPiece, compose_index, schema
from transforms.index.top_k import Rows, Scores

#: Rows that one query selects by their numbers. If so few rows are live, each one is scored.
AT_ONCE = 1_000
#: In a corpus with more rows, terms that occur in a larger share of them don't select candidates.
_LARGE, _COMMON = 100_000, 0.1
_CANDIDATES_PER_HIT = 4


class LexicalIndex:
    """Many pieces as one index, ranked by BM25 (k1 1.2, b 0.75) with the statistics of all."""

    def __init__(self, pieces: Sequence[OpenPiece], language: str) -> None:
        """Open the pieces.

        Raises:
            Damaged: tantivy can't read them.
        """
        self._analyzer = Analyzer(language)
        self._schema = schema()
        self._firsts = np.array([piece.first for piece in pieces], np.int64)
        self._starts = np.unique(self._firsts)
        self._filter: tuple[npt.NDArray[np.bool_], Rows] | None = None
        # One of tantivy's threads watches for changes, and may lock the folder during its removal.
        temporary = tempfile.TemporaryDirectory(prefix="albeam-", ignore_cleanup_errors=True)
        with temporary as folder, _reading():
            compose_index(folder, pieces)
            index = tantivy.Index.open(folder)
            # The folder is removed, so there is nothing to reload.
            index.config_reader("manual")
            self._searcher = index.searcher()

    @property
    def rows(self) -> int:
        """The number of passages of all pieces, including dead ones."""
        return int(self._searcher.num_docs)

    def search(
        self, question: str, k: int, live: npt.NDArray[np.bool_] | None = None
    ) -> tuple[Scores, Rows]:
        """Return the best ``k`` live rows that share a term with a question, ties by row.

        In a large corpus, the rare terms select four times as many candidates, which are then
        ranked by all terms.

        Args:
            question: a text; no character of it is query syntax.
            k: how many rows; the result is shorter if fewer share a term.
            live: selects the global rows that may be found; by default all.

        Returns:
            Scores and rows, float32 and int64 ``[n]``, best first.
        """
        if self._is_large(k):
            rows = self.candidates(question, _CANDIDATES_PER_HIT * k, live)
            return _best(self.scores(question, rows), rows, k)
        return self._search(self._query(self._terms(question)), k, live)

    def candidates(
        self, question: str, wanted: int, live: npt.NDArray[np.bool_] | None = None
    ) -> Rows:
        """Return about the best ``wanted`` live rows that share a term with a question."""
        terms = self._terms(question)
        rare = {term: each for term, each in terms.items() if each.share <= _COMMON}
        if self._is_large(wanted) and 0 < len(rare) < len(terms):
            _, rows = self._search(self._query(rare), wanted, live)
            if len(rows) == wanted:
                return rows
        return self._search(self._query(terms), wanted, live)[1]

    def scores(self, question: str, rows: Rows) -> Scores:
        """Return the scores of global rows ``[n]``, float32 ``[n]``; 0 if no term is shared."""
        query = self._query(self._terms(question))
        if query is None:
            return np.zeros(len(rows), np.float32)
        pieces = [
            self._score(query, rows[start : start + AT_ONCE])
            for start in range(0, len(rows), AT_ONCE)
        ]
        return np.concatenate([np.empty(0, np.float32), *pieces])

    def _is_large(self, wanted: int) -> bool:
        """Return whether ranking so many candidates costs less than ranking all rows."""
        return self.rows > _LARGE and wanted <= AT_ONCE

    def _search(
        self, query: tantivy.Query | None, k: int, live: npt.NDArray[np.bool_] | None
    ) -> tuple[Scores, Rows]:
        """Return the best live rows of a query; request more while dead rows take their places."""
        if query is None or not k or not self.rows:
            return _nothing()
        wanted = k
        if live is not None:
            few = self._live_rows(live)
            if len(few) <= AT_ONCE:
                # Only the live rows are scored, even if few of them share a term.
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
        # Another thread may replace it at any time.
        last = self._filter
        if last is None or last[0] is not live:
            last = self._filter = live, np.flatnonzero(live)
        return last[1]

    def _score(self, query: tantivy.Query, rows: Rows) -> Scores:
        """Return the scores of some rows; select them by their numbers in their shards."""
        result = np.zeros(len(rows), np.float32)
        if not len(rows):
            return result
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        inside = np.unique(rows - self._starts[shards])
        numbers = [tantivy.Query.term_query(self._schema, ROW, row) for row in inside.tolist()]
        either = tantivy.Query.boolean_query([(tantivy.Occur.Should, each) for each in numbers])
        only = tantivy.Query.boolean_query(
            [
                (tantivy.Occur.Must, tantivy.Query.const_score_query(either, 0.0)),
                (tantivy.Occur.Should, query),
            ]
        )
        # The same numbers also select rows of other shards.
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
        inside = np.array(self._searcher.fast_field_values(ROW, addresses), np.int64)
        pieces = np.array([address.segment_ord for address in addresses], np.int64)
        scores = np.array([score for score, _ in hits], np.float32)
        return scores, inside + self._firsts[pieces]

    def _terms(self, question: str) -> dict[str, "_Term"]:
        """Return the question's terms with the largest weights that occur in a passage."""
        terms = {}
        for term, count in Counter(self._analyzer.terms(question)).items():
            held = self._searcher.doc_freq(TEXT, term)
            if held:
                rarity = math.log1p((self.rows - held + 0.5) / (held + 0.5))
                terms[term] = _Term(count, held / self.rows, count * rarity)
        chosen = sorted(terms, key=lambda term: (-terms[term].weight, term))[:MAX_TERMS]
        return {term: terms[term] for term in sorted(chosen)}

    def _query(self, terms: Mapping[str, "_Term"]) -> tantivy.Query | None:
        """Return a query for any of the terms, boosted by their counts; None without terms."""
        queries = []
        for text, term in terms.items():
            query = tantivy.Query.term_query(self._schema, TEXT, text, "freq")
            if term.count > 1:
                query = tantivy.Query.boost_query(query, float(term.count))
            queries.append((tantivy.Occur.Should, query))
        return tantivy.Query.boolean_query(queries) if queries else None


@dataclass(frozen=True)
class _Term:
    """A term of a question.

    Attributes:
        count: how often the question has it.
        share: the share of passages that have it.
        weight: its count times its inverse document frequency.
    """

    count: int
    share: float
    weight: float


@contextmanager
def _reading() -> Iterator[None]:
    """Convert tantivy's errors about files that it can't read to Damaged."""
    try:
        yield
    except (ValueError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        remedy = "Rebuild it: albeam index STORE --lexical auto"
        raise Damaged("lexical index", None, f"can't be read: {error}", remedy) from error


def _nothing() -> tuple[Scores, Rows]:
    return np.empty(0, np.float32), np.empty(0, np.int64)


def _best(scores: Scores, rows: Rows, k: int) -> tuple[Scores, Rows]:
    order = np.lexsort((rows, -scores))[:k]
    return scores[order], rows[order]
