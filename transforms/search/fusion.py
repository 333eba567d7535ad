"""Fusion of two scores, the cosine of vectors and BM25 of words, into one ranking."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.index.lexical.word_ranking import rarity
from transforms.index.products import cosines
from transforms.search.options import DEFAULT_WEIGHT
from transforms.search.spread import Spread

Floats = npt.NDArray[np.float32]
#: So many words that only one passage has, of at least so many, are the unit of words.
_RARE_WORDS, _FEWEST = 4, 10
#: The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009).
_RANKS = 60
#: Passages count as nearly identical from this cosine on.
_ALIKE = 0.95


@dataclass(frozen=True)
class Units:
    """What counts as 1 in each half of a hybrid score, on one corpus.

    Attributes:
        spread: that of the cosines.
        words: the BM25 that counts as 1 for a question whose best is smaller; above 0.
    """

    spread: Spread
    words: float


def unit_of_words(rows: int) -> float:
    """Return `Units.words` of a corpus of so many passages.

    It is the rarity of four words that only one passage has. If the best passage of a question has
    only few of its words, or common ones, words then count less.
    """
    return _RARE_WORDS * rarity(1, max(rows, _FEWEST))


def combine(cosines: Floats, bm25: Floats, units: Units, weight: float) -> Floats:
    """Return ``weight * standardized cosine + (1 - weight) * bm25 / unit``, a convex combination.

    The unit of words is the question's best BM25, or that of the corpus if this is larger. Cosines
    are standardized by their `Spread`, so that one weight fits any model.

    Args:
        cosines, bm25: scores of the same passages, float32 ``[n]``; the best BM25 of all passages
            is among them.
        units: those of the corpus.
        weight: from 0 to 1.
    """
    words = bm25 / max(float(bm25.max(initial=0.0)), units.words)
    vectors = units.spread.standardized(cosines)
    return np.asarray(weight * vectors + (1 - weight) * words, np.float32)


def reciprocal_ranks(cosines: Floats, bm25: Floats) -> Floats:
    """Return the sum of ``1 / (60 + rank)`` over both scores.

    A passage that shares no word with the question has no BM25 rank. Equal scores share the better
    rank, so that the order of the passages has no influence.
    """
    fused = 1.0 / (_RANKS + _ranks(cosines))
    fused += np.where(bm25 > 0, 1.0 / (_RANKS + _ranks(bm25)), 0.0)
    return fused.astype(np.float32)


def _ranks(scores: Floats) -> npt.NDArray[np.int64]:
    return np.searchsorted(np.sort(-scores), -scores, side="left") + 1


def is_alike(vectors: Floats, vector: Floats) -> bool:
    """Return whether a vector ``[dim]`` is nearly identical to one of others ``[n, dim]``."""
    return bool(cosines(vectors, vector).max(initial=-1.0) >= _ALIKE)


def default_weight(weight: float | None, learnt: float | None) -> float:
    """Return the given weight, else the learnt one, else `DEFAULT_WEIGHT`."""
    return next((each for each in (weight, learnt) if each is not None), DEFAULT_WEIGHT)
