"""Correlations of two lists of numbers, and the ranks that one of them compares."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def pearson(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """Return Pearson's correlation; 0 if one of the lists is constant."""
    a, b = (np.asarray(each, np.float64) for each in (one, other))
    a, b = a - a.mean(), b - b.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size else 0.0


def spearman(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """Return Spearman's correlation; 0 if one of the lists is constant."""
    return pearson(ranks(one), ranks(other))


def ranks(values: npt.ArrayLike) -> Floats:
    """Return the ranks of numbers from 1; equal ones share the mean of theirs."""
    _, places, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    found: Floats = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return found
