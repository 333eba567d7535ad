"""BM25 with tantivy: the files of many shards are searched as one index.

tantivy ranks by the statistics of the index that is open. The shards of all segments are therefore
opened as one index, for which a new ``meta.json`` lists their files. A passage's score then depends
on the corpus, and not on its shard. Passages with dead rows count in the statistics until a
compaction removes them.
"""

import math
import tempfile
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import tantivy

from transforms.index.lexical.analyzer import analyzer_of
from transforms.index.lexical.tantivy_errors import reading
from transforms.index.lexical.tantivy_files import ROW, TEXT, OpenPiece, compose_index, schema
from transforms.index.lexical.terms import Word
from transforms.index.lexical.word_ranking import (
    AT_ONCE,
    MAX_TERMS,
    Question,
    WordRanking,
    best_rows,
    no_rows,
    weigh,
)
from transforms.index.top_k import Rows, Scores

#: Hits that are fetched beyond those that are wanted, and at most, to see all with equal scores.
_MORE, _MOST = 8, 65_536
#: The most terms that a check asks for.
_CHECKED = 5_000


class LexicalIndex(WordRanking):
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

    def scores(self, question: str, rows: Rows) -> Scores:
        """Return the scores of global rows ``[n]``, float32 ``[n]``; 0 if no term is shared."""
        query = self._query(self.asked(question))
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

    def best(
        self, asked: Question, k: int, live: npt.NDArray[np.bool_] | None
    ) -> tuple[Scores, Rows]:
        """Return the best live rows by some words, of equal scores those with lower numbers.

        tantivy gives any of the rows with equal scores, and dead rows take places. More are
        requested as long as a further row may be among the best.
        """
        query = self._query(asked)
        if query is None or not k or not self.rows:
            return no_rows()
        wanted = k + _MORE
        if live is not None:
            few = self._live_rows(live)
            if len(few) <= AT_ONCE:
                # Only the live rows are scored, even if few of them share a term.
                scores = self._score(query, few)
                keep = scores > 0
                return best_rows(scores[keep], few[keep], k)
            wanted = math.ceil(1.2 * wanted * self.rows / len(few))
        while True:
            wanted = min(wanted, self.rows)
            scores, rows = self._found(query, wanted)
            whole = len(rows) < wanted or wanted == self.rows
            least = scores.min(initial=math.inf)
            if live is not None:
                keep = live[rows]
                scores, rows = scores[keep], rows[keep]
            scores, rows = best_rows(scores, rows, k)
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
                return no_rows()
            addresses = [address for _, address in hits]
            inside = np.array(self._searcher.fast_field_values(ROW, addresses), np.float64)
            if not 0 <= inside.min() <= inside.max() < self.rows:  # NaN if a number is missing
                raise ValueError("it numbers a passage that it does not have")
        pieces = np.array([address.segment_ord for address in addresses], np.int64)
        scores = np.array([score for score, _ in hits], np.float32)
        return scores, inside.astype(np.int64) + self._firsts[pieces]

    def asked(self, question: str) -> Question:
        """Return the question's words with the largest weights, of those that a passage has."""
        with reading(self._where):
            frequency = partial(self._searcher.doc_freq, TEXT)
            return weigh(self._words(question), frequency, self.rows)

    def shortened(self, question: str) -> str:
        """Return the beginning of a question, with no more words than are searched for.

        Of more words, `asked` chooses those that the fewest of all passages have. Whoever may see
        only some passages would learn by that which words the others have.
        """
        if self._is_short(question):
            return question
        short, long = 0, len(question)
        while long - short > 1:
            middle = (short + long) // 2
            if self._is_short(question[:middle]):
                short = middle
            else:
                long = middle
        return question[:short]

    def _is_short(self, question: str) -> bool:
        return len(set(self._words(question))) <= MAX_TERMS

    def _words(self, question: str) -> list[Word]:
        """Return the question's words by each analyzer, the newest first, without repetition."""
        words: list[Word] = []
        for analyzer in self._analyzers:
            known = frozenset[str]().union(*(word.all_terms() for word in words))
            words += [word for word in analyzer.words(question) if known.isdisjoint(word.terms)]
        return words

    def _query(self, words: Question) -> tantivy.Query | None:
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


def _any_of(queries: Sequence[tantivy.Query]) -> tantivy.Query:
    """Return a query whose score is the sum of those that match."""
    return tantivy.Query.boolean_query([(tantivy.Occur.Should, each) for each in queries])
