"""The postings of a bundle, ranked by BM25 with the statistics of the store's index."""

import bisect
from collections.abc import Mapping
from functools import cached_property

import numpy as np
import numpy.typing as npt

from transforms.bundles.edge.files import BundleFiles
from transforms.index.lexical.analyzer import Analyzer
from transforms.index.lexical.terms import Terms, Word
from transforms.index.lexical.word_ranking import (
    Asked,
    Question,
    WordRanking,
    best_rows,
    rarity,
    weigh,
)
from transforms.index.top_k import Rows, Scores

#: BM25 as tantivy has it.
_K1, _B = np.float32(1.2), np.float32(0.75)


def field_lengths() -> npt.NDArray[np.float32]:
    """Return the lengths that tantivy tells apart, float32 ``[256]``: a byte stands for each."""
    codes = np.arange(256 - 24)
    large = np.where(codes < 8, codes, ((codes & 7) | 8) << np.maximum(codes // 8 - 1, 0))
    return np.concatenate([np.arange(24), 24 + large]).astype(np.float32)


class Lexicon(WordRanking):
    """The postings. Each term has the rows that have it, and how often each does."""

    def __init__(self, files: BundleFiles) -> None:
        """Map the postings of a bundle."""
        self._files, about = files, files.about["lexical"]
        self._about, self._live = about, int(files.about["passages"])
        self._held, self._starts = files.array("held"), files.array("starts")
        self._rows, self._counts = files.array("rows"), files.array("counts")
        average = np.float32(about["tokens"]) / np.float32(max(about["rows"], 1))
        norms = _K1 * (1 - _B + _B * field_lengths() / average)
        self._norms = norms.astype(np.float32)[files.array("lengths")]

    @property
    def rows(self) -> int:
        """The number of the store's passages, including dead ones, which count for BM25."""
        return int(self._about["rows"])

    @cached_property
    def _terms(self) -> list[bytes]:
        return self._files.read("terms.txt").split(b"\n")

    @cached_property
    def _analyzer(self) -> Analyzer:
        return Analyzer(self._about["language"])

    def asked(self, question: str) -> Question:
        """Return the words of a question that are searched for."""
        return weigh(self._analyzer.words(question), self._frequency, self.rows)

    def best(
        self, asked: Question, k: int, live: npt.NDArray[np.bool_] | None
    ) -> tuple[Scores, Rows]:
        """Return the best rows by some words, of equal scores those with lower numbers."""
        every = self._sum(asked)
        if live is not None:
            every[~live] = 0
        [rows] = np.nonzero(every)
        if len(rows) > k > 0:
            least = np.partition(every[rows], -k)[-k]
            rows = rows[every[rows] >= least]
        return best_rows(every[rows], rows, k)

    def scores(self, question: str, rows: Rows) -> Scores:
        """Return the scores of rows ``[n]``, float32 ``[n]``; 0 if no term is shared."""
        return self._sum(self.asked(question))[rows]

    def _place(self, term: str) -> int:
        """Return the number of a term, -1 if the store has none."""
        wanted = term.encode()
        place = bisect.bisect_left(self._terms, wanted)
        return place if place < len(self._terms) and self._terms[place] == wanted else -1

    def _frequency(self, term: str) -> int:
        place = self._place(term)
        return int(self._held[place]) if place >= 0 else 0

    def _sum(self, asked: Mapping[Word, Asked]) -> Scores:
        """Return the scores of all rows."""
        total = np.zeros(self._live, np.float32)
        for word, each in asked.items():
            total += self._word(word, each.count)
        return total

    def _word(self, word: Word, times: int) -> Scores:
        """Return the better of a word and of the sum of its parts, for each row."""
        found = self._any(word.terms, times)
        if word.parts:
            parts = np.zeros(self._live, np.float32)
            for each in word.parts:
                parts += self._any(each, times)
            found = np.maximum(found, parts)
        return found

    def _any(self, terms: Terms, times: int) -> Scores:
        """Return the best score of some terms, for each row."""
        found = np.zeros(self._live, np.float32)
        for term in terms:
            place = self._place(term)
            some = slice(int(self._starts[place]), int(self._starts[place + 1]))
            rows, counts = self._rows[some], self._counts[some].astype(np.float32)
            weight = np.float32(rarity(int(self._held[place]), self.rows)) * (1 + _K1)
            scores = np.float32(times) * weight * (counts / (counts + self._norms[rows]))
            found[rows] = np.maximum(found[rows], scores)
        return found
