"""Fusion of two scores, the cosine of vectors and BM25 of words, into one ranking."""

import numpy as np
import numpy.typing as npt

from transforms.index.products import cosines
from transforms.search.options import DEFAULT_WEIGHT

Floats = npt.NDArray[np.float32]
#: The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009).
_RANKS = 60
#: Passages count as nearly identical from this cosine on.
_ALIKE = 0.95


def combine(cosines: Floats, bm25: Floats, best: float, weight: float) -> Floats:
    """Return ``weight * cosine + (1 - weight) * bm25 / best``, a convex combination.

    Args:
        cosines, bm25: scores of the same passages, float32 ``[n]``.
        best: the question's best BM25 score over all passages; 0 if no passage shares a word.
        weight: from 0 to 1.
    """
    words = bm25 / best if best > 0 else np.zeros_like(bm25)
    return np.asarray(weight * cosines + (1 - weight) * words, np.float32)


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
