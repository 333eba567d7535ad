"""BM25 with tantivy: the files of many shards are searched as one index.

tantivy ranks by the statistics of the index that is open. The shards of all segments are therefore
opened as one index, for which a new ``meta.json`` lists their files. A passage's score then depends
on the corpus, and not on its shard. Passages with dead rows count in the statistics until a
compaction removes them.
"""

import math
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tantivy

from transforms.index.lexical.analyzer import MAX_TERMS, analyzer_of
from transforms.index.lexical.tantivy_errors import reading
from transforms.index.lexical.tantivy_files import ROW, TEXT, OpenPiece, compose_index, schema
from transforms.index.lexical.terms import Terms, Word
from transforms.index.top_k import Rows, Scores

#: Rows that one query selects by their numbers. If so few rows are live, each one is scored.
AT_ONCE = 1_000
#: In a corpus with more rows, terms that occur in a larger share of them don't select candidates.
_LARGE, _COMMON = 100_000, 0.1
#: How many hits in such a corpus come from how many candidates.
_DEPTHS = ((25, 100), (100, 400), (250, AT_ONCE))
#: Hits that are fetched beyond those that are wanted, and at most, to see all with equal scores.
_MORE, _MOST = 8, 65_536
#: The most terms that a check asks for.
_CHECKED = 5_000


class LexicalIndex:
    """Many pieces as one index, ranked by BM25 (k1 1.2, b 0.75) with the statistics of all."""

    def __init__(
        self, pieces: Sequence[OpenPiece], language: str, where: str | None = None
    ) -> None:
        """Open the pieces; ``where`` names their folder in errors.

        Raises:
            Damaged: tantivy can't read them.
        """
        self._where = where
        versions = sorted({piece.version for piece in pieces}, reverse=True)
        self._analyzers = [analyzer_of(version, language) for version in versions]
        self._schema = schema()
        self._firsts = np.array([piece.first for piece in pieces], np.int64)
        self._starts = np.unique(self._firsts)
        self._filter: tuple[npt.NDArray[np.bool_], Rows] | None = None
        # One of tantivy's threads watches for changes, and may lock the folder during its removal.
        temporary = tempfile.TemporaryDirectory(prefix="albeam-", ignore_cleanup_errors=True)
        with temporary as folder, reading(where):
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

        In a large corpus, the rare terms select candidates, which are then ranked by all terms. The
        best ``k`` are the same, however many are asked for: a row that more candidates bring comes
        after those that fewer brought. Of more than 65,536 rows with equal scores, any are found.

        Args:
            question: a text; no character of it is query syntax.
            k: how many rows; the result is shorter if fewer share a term.
            live: selects the global rows that may be found; by default all.

        Returns:
            Scores and rows, float32 and int64 ``[n]``, best first.
        """
        best = _nothing()
        for depth, wanted in _DEPTHS if self.rows > _LARGE else ():
            rows = self.candidates(question, wanted, live)
            few = depth if len(rows) == wanted else len(rows)
            best = _appended(best, _best(self.scores(question, rows), rows, few))
            if len(best[1]) >= k or len(rows) < wanted:
                return best[0][:k], best[1][:k]
        scores, rows = _appended(best, self._search(self._query(self._asked(question)), k, live))
        return scores[:k], rows[:k]

    def candidates(
        self, question: str, wanted: int, live: npt.NDArray[np.bool_] | None = None
    ) -> Rows:
        """Return about the best ``wanted`` live rows that share a term with a question."""
        words = self._asked(question)
        rare = {word: each for word, each in words.items() if each.share <= _COMMON}
        if self._is_large(wanted) and 0 < len(rare) < len(words):
            _, rows = self._search(self._query(rare), wanted, live)
            if len(rows) == wanted:
                return rows
        return self._search(self._query(words), wanted, live)[1]

    def scores(self, question: str, rows: Rows) -> Scores:
        """Return the scores of global rows ``[n]``, float32 ``[n]``; 0 if no term is shared."""
        query = self._query(self._asked(question))
        if query is None:
            return np.zeros(len(rows), np.float32)
        pieces = [
            self._score(query, rows[start : start + AT_ONCE])
            for start in range(0, len(rows), AT_ONCE)
        ]
        return np.concatenate([np.empty(0, np.float32), *pieces])

    def check(self, texts: Iterable[str]) -> None:
        """Ask for each word of some texts, for the numbers of passages, and for these numbers.

        Raises:
            Damaged: tantivy can't read what it needs for that.
        """
        words = {word for text in texts for word in self._words(text)}
        terms = sorted({term for word in words for term in word.all_terms()})
        for term in terms[:_CHECKED]:
            self._found(self._word_query(Word((term,))), min(self.rows, AT_ONCE))
        rows = np.arange(min(self.rows, _MOST))
        if len(rows):
            self._found(tantivy.Query.all_query(), len(rows))
        for start in range(0, len(rows), AT_ONCE):
            self._score(tantivy.Query.all_query(), rows[start : start + AT_ONCE])

    def _is_large(self, wanted: int) -> bool:
        """Return whether ranking so many candidates costs less than ranking all rows."""
        return self.rows > _LARGE and wanted <= AT_ONCE

    def _search(
        self, query: tantivy.Query | None, k: int, live: npt.NDArray[np.bool_] | None
    ) -> tuple[Scores, Rows]:
        """Return the best live rows of a query, of equal scores those with the lowest numbers.

        tantivy gives any of the rows with equal scores, and dead rows take places. More are
        requested as long as a further row may be among the best.
        """
        if query is None or not k or not self.rows:
            return _nothing()
        wanted = k + _MORE
        if live is not None:
            few = self._live_rows(live)
            if len(few) <= AT_ONCE:
                # Only the live rows are scored, even if few of them share a term.
                scores = self._score(query, few)
                keep = scores > 0
                return _best(scores[keep], few[keep], k)
            wanted = math.ceil(1.2 * wanted * self.rows / len(few))
        while True:
            wanted = min(wanted, self.rows)
            scores, rows = self._found(query, wanted)
            whole = len(rows) < wanted or wanted == self.rows
            least = scores.min(initial=math.inf)
            if live is not None:
                keep = live[rows]
                scores, rows = scores[keep], rows[keep]
            scores, rows = _best(scores, rows, k)
            if whole or (len(rows) == k and (least < scores[-1] or wanted >= _MOST)):
                return scores, rows
            wanted = max(2 * wanted, min(4 * wanted, _MOST))

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
        either = _any_of(numbers)
        only = tantivy.Query.boolean_query(
            [
                (tantivy.Occur.Must, tantivy.Query.const_score_query(either, 0.0)),
                (tantivy.Occur.Should, query),
            ]
        )
        # The same numbers also select rows of other shards.
        scores, found = self._found(only, min(self.rows, len(inside) * len(self._starts)))
        if not len(found):
            return result
        order = np.argsort(found)
        places = np.minimum(np.searchsorted(found[order], rows), len(found) - 1)
        at = order[places]
        same = found[at] == rows
        result[same] = scores[at[same]]
        return result

    def _found(self, query: tantivy.Query, limit: int) -> tuple[Scores, Rows]:
        with reading(self._where):
            hits = self._searcher.search(query, limit=limit, count=False).hits
            if not hits:
                return _nothing()
            addresses = [address for _, address in hits]
            inside = np.array(self._searcher.fast_field_values(ROW, addresses), np.float64)
            if not 0 <= inside.min() <= inside.max() < self.rows:  # NaN if a number is missing
                raise ValueError("it numbers a passage that it does not have")
        pieces = np.array([address.segment_ord for address in addresses], np.int64)
        scores = np.array([score for score, _ in hits], np.float32)
        return scores, inside.astype(np.int64) + self._firsts[pieces]

    def _asked(self, question: str) -> dict[Word, "_Asked"]:
        """Return the question's words with the largest weights, of those that a passage has."""
        asked: dict[Word, _Asked] = {}
        for word, count in Counter(self._words(question)).items():
            with reading(self._where):
                held = {term: self._searcher.doc_freq(TEXT, term) for term in word.all_terms()}
            terms = tuple(term for term in word.terms if held[term])
            parts = tuple(tuple(term for term in each if held[term]) for each in word.parts)
            found = Word(terms, tuple(each for each in parts if each))
            if not terms and not found.parts:
                continue
            weight = max(
                self._rarity(terms, held), sum(self._rarity(each, held) for each in found.parts)
            )
            times = count + (asked[found].count if found in asked else 0)
            asked[found] = _Asked(times, max(held.values()) / self.rows, times * weight)
        chosen = sorted(asked, key=lambda word: (-asked[word].weight, word))[:MAX_TERMS]
        return {word: asked[word] for word in sorted(chosen)}

    def _words(self, question: str) -> list[Word]:
        """Return the question's words by each analyzer, the newest first, without repetition."""
        words: list[Word] = []
        for analyzer in self._analyzers:
            known = frozenset[str]().union(*(word.all_terms() for word in words))
            words += [word for word in analyzer.words(question) if known.isdisjoint(word.terms)]
        return words

    def _rarity(self, terms: Terms, held: Mapping[str, int]) -> float:
        """Return the inverse document frequency of the rarest of some terms, or 0."""
        if not terms:
            return 0.0
        least = min(held[term] for term in terms)
        return math.log1p((self.rows - least + 0.5) / (least + 0.5))

    def _query(self, words: Mapping[Word, "_Asked"]) -> tantivy.Query | None:
        """Return a query for any of the words, boosted by their counts; None without words."""
        queries = []
        for word, asked in words.items():
            query = self._word_query(word)
            if asked.count > 1:
                query = tantivy.Query.boost_query(query, float(asked.count))
            queries.append(query)
        return _any_of(queries) if queries else None

    def _word_query(self, word: Word) -> tantivy.Query:
        ways = [tantivy.Query.term_query(self._schema, TEXT, term, "freq") for term in word.terms]
        if word.parts:
            ways.append(_any_of([self._word_query(Word(part)) for part in word.parts]))
        return ways[0] if len(ways) == 1 else tantivy.Query.disjunction_max_query(ways)


@dataclass(frozen=True)
class _Asked:
    """How a word of a question counts.

    Attributes:
        count: how often the question has it.
        share: the share of passages that have its most frequent term.
        weight: its count times the inverse document frequency of its rarest term.
    """

    count: int
    share: float
    weight: float


def _any_of(queries: Sequence[tantivy.Query]) -> tantivy.Query:
    """Return a query whose score is the sum of those that match."""
    return tantivy.Query.boolean_query([(tantivy.Occur.Should, each) for each in queries])


def _nothing() -> tuple[Scores, Rows]:
    return np.empty(0, np.float32), np.empty(0, np.int64)


def _best(scores: Scores, rows: Rows, k: int) -> tuple[Scores, Rows]:
    order = np.lexsort((rows, -scores))[:k]
    return scores[order], rows[order]


def _appended(best: tuple[Scores, Rows], more: tuple[Scores, Rows]) -> tuple[Scores, Rows]:
    """Append to a list the rows of another that it lacks."""
    new = ~np.isin(more[1], best[1])
    return np.concatenate([best[0], more[0][new]]), np.concatenate([best[1], more[1][new]])
