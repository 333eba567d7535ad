"""The ranking of passages by the words of a question, whatever holds the passages.

The words with the largest weights are searched for. In a large corpus the rare ones among them
select candidates, which are then ranked by all.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.index.lexical.terms import Terms, Word
from transforms.index.top_k import Rows, Scores

#: Rows that one query selects by their numbers. If so few rows are live, each one is scored.
AT_ONCE = 1_000
#: The most words of a question that are searched for: those with the largest weights.
MAX_TERMS = 64
#: In a corpus with more rows, terms that occur in a larger share of them don't select candidates.
_LARGE, _COMMON = 100_000, 0.1
#: How many hits in such a corpus come from how many candidates.
_DEPTHS = ((25, 100), (100, 400), (250, AT_ONCE))


@dataclass(frozen=True)
class Asked:
    """How a word of a question counts.

    Attributes:
        count: how often the question has it.
        share: the share of passages that have its most frequent term.
        weight: its count times the inverse document frequency of its rarest term.
    """

    count: int
    share: float
    weight: float


#: The words of a question that are searched for, in order.
Question = Mapping[Word, Asked]


def weigh(words: Iterable[Word], frequency: Callable[[str], int], rows: int) -> dict[Word, Asked]:
    """Return the words with the largest weights, of those that a passage has.

    Args:
        words: the words of a question.
        frequency: returns how many passages have a term.
        rows: the number of all passages.
    """
    asked: dict[Word, Asked] = {}
    for word, count in Counter(words).items():
        held = {term: frequency(term) for term in word.all_terms()}
        terms = tuple(term for term in word.terms if held[term])
        parts = tuple(tuple(term for term in each if held[term]) for each in word.parts)
        found = Word(terms, tuple(each for each in parts if each))
        if not terms and not found.parts:
            continue
        whole = _rarity(terms, held, rows)
        weight = max(whole, sum(_rarity(each, held, rows) for each in found.parts))
        times = count + (asked[found].count if found in asked else 0)
        asked[found] = Asked(times, max(held.values()) / rows, times * weight)
    chosen = sorted(asked, key=lambda word: (-asked[word].weight, word))[:MAX_TERMS]
    return {word: asked[word] for word in sorted(chosen)}


def rarity(held: int, rows: int) -> float:
    """Return the inverse document frequency of a term that so many of all passages have."""
    return math.log1p((rows - held + 0.5) / (held + 0.5))


def _rarity(terms: Terms, held: Mapping[str, int], rows: int) -> float:
    """Return the inverse document frequency of the rarest of some terms, or 0."""
    return rarity(min(held[term] for term in terms), rows) if terms else 0.0


class WordRanking:
    """Passages that are ranked by BM25. The class that holds them says how they are found."""

    @property
    def rows(self) -> int:
        """The number of passages, including dead ones."""
        raise NotImplementedError

    def asked(self, question: str) -> Question:
        """Return the words of a question that are searched for."""
        raise NotImplementedError

    def best(
        self, asked: Question, k: int, live: npt.NDArray[np.bool_] | None
    ) -> tuple[Scores, Rows]:
        """Return the best live rows by some words, of equal scores those with lower numbers."""
        raise NotImplementedError

    def scores(self, question: str, rows: Rows) -> Scores:
        """Return the scores of global rows ``[n]``, float32 ``[n]``; 0 if no term is shared."""
        raise NotImplementedError

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
        best = no_rows()
        for depth, wanted in _DEPTHS if self.rows > _LARGE else ():
            rows = self.candidates(question, wanted, live)
            few = depth if len(rows) == wanted else len(rows)
            best = _appended(best, best_rows(self.scores(question, rows), rows, few))
            if len(best[1]) >= k or len(rows) < wanted:
                return best[0][:k], best[1][:k]
        scores, rows = _appended(best, self.best(self.asked(question), k, live))
        return scores[:k], rows[:k]

    def candidates(
        self, question: str, wanted: int, live: npt.NDArray[np.bool_] | None = None
    ) -> Rows:
        """Return about the best ``wanted`` live rows that share a term with a question."""
        words = self.asked(question)
        rare = {word: each for word, each in words.items() if each.share <= _COMMON}
        if self._is_large(wanted) and 0 < len(rare) < len(words):
            _, rows = self.best(rare, wanted, live)
            if len(rows) == wanted:
                return rows
        return self.best(words, wanted, live)[1]

    def _is_large(self, wanted: int) -> bool:
        """Return whether ranking so many candidates costs less than ranking all rows."""
        return self.rows > _LARGE and wanted <= AT_ONCE


def no_rows() -> tuple[Scores, Rows]:
    """Return no scores and no rows."""
    return np.empty(0, np.float32), np.empty(0, np.int64)


def best_rows(scores: Scores, rows: Rows, k: int) -> tuple[Scores, Rows]:
    """Return the best ``k`` of some rows, of equal scores those with the lowest numbers."""
    order = np.lexsort((rows, -scores))[:k]
    return scores[order], rows[order]


def _appended(best: tuple[Scores, Rows], more: tuple[Scores, Rows]) -> tuple[Scores, Rows]:
    """Append to a list the rows of another that it lacks."""
    new = ~np.isin(more[1], best[1])
    return np.concatenate([best[0], more[0][new]]), np.concatenate([best[1], more[1][new]])
