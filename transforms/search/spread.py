"""The spread of a model's cosines on a corpus, by which they are standardized.

The cosines of unrelated passages lie around 0.02 for one model and around 0.75 for another, and
differ by 0.1 or by 0.025. In units of their own spread, the cosines of both mean the same.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

#: How many passages are compared with each other.
SAMPLE = 400
#: With fewer passages, or a smaller spread, there is nothing to standardize by.
_FEWEST, _LEAST = 3, 1e-5
#: How many deviations count as 1. The cosines of many models have a deviation of about 0.1, so that
#: a standardized cosine of these is about the cosine itself.
_DEVIATIONS = 10.0


@dataclass(frozen=True)
class Spread:
    """Mean and deviation of the cosines between different passages of a corpus.

    The default leaves cosines as they are.
    """

    mean: float = 0.0
    deviation: float = 1 / _DEVIATIONS

    def standardized(self, cosines: Floats) -> Floats:
        """Return cosines, less their mean, in units of ten deviations.

        For a corpus and a model whose cosines are an affine function of these, the result is the
        same.
        """
        return np.asarray((cosines - self.mean) / (_DEVIATIONS * self.deviation), np.float32)


def measure_spread(vectors: Floats) -> Spread:
    """Return the spread of the cosines between vectors ``[n, dim]`` of different passages.

    Fewer than three passages, or passages that are all as similar, have the default spread.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions = (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float64)
    if len(directions) < _FEWEST:
        return Spread()
    return spread_of((directions @ directions.T)[np.triu_indices(len(directions), 1)])


def spread_of(cosines: npt.NDArray[np.float64]) -> Spread:
    """Return mean and deviation of cosines ``[n]``, or the default if they hardly differ."""
    mean, deviation = float(cosines.mean()), float(cosines.std())
    return Spread(mean, deviation) if deviation > _LEAST else Spread()
