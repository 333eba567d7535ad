"""One ranking of two: of vectors' cosines and of words' BM25 scores."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
#: Of the cosine, where none was learnt.
WEIGHT = 0.6
#: Of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009).
_RANKS = 60
#: Passages whose vectors have this cosine are told apart by little.
_ALIKE = 0.95


def combine(cosines: Floats, bm25: Floats, best: float, weight: float) -> Floats:
    """``weight * cosine + (1 - weight) * bm25 / best``, the convex combination of both.

    Args:
        cosines, bm25: of the same passages, float32 ``[n]``.
        best: the question's best BM25 score of all passages, 0 where none shares a word with it.
        weight: from 0 to 1.
    """
    words = bm25 / best if best > 0 else np.zeros_like(bm25)
    return np.asarray(weight * cosines + (1 - weight) * words, np.float32)


def reciprocal_ranks(cosines: Floats, bm25: Floats) -> Floats:
    """The sum over both of ``1 / (60 + rank)``; a passage without a shared word has no BM25 rank.

    Equal scores share the better rank, so that the order of the passages tells nothing.
    """
    fused = 1.0 / (_RANKS + _ranks(cosines))
    fused += np.where(bm25 > 0, 1.0 / (_RANKS + _ranks(bm25)), 0.0)
    return fused.astype(np.float32)


def _ranks(scores: Floats) -> npt.NDArray[np.int64]:
    return np.searchsorted(np.sort(-scores), -scores, side="left") + 1


def unlike(vectors: Floats, places: Sequence[int], most: int) -> list[int]:
    """Of ``places`` in ``vectors``, best first, those that no better one is nearly identical to.

    Args:
        vectors: float32 ``[n, dim]``.
        places: which of them are ranked, best first.
        most: how many are wanted.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    kept: list[int] = []
    for place in places:
        if len(kept) == most:
            break
        if not kept or (directions[kept] @ directions[place]).max() < _ALIKE:
            kept.append(place)
    return kept


def default_weight(weight: float | None, learnt: float | None) -> float:
    """The weight that was given, else the one that was learnt, else 0.6."""
    return next((each for each in (weight, learnt) if each is not None), WEIGHT)
