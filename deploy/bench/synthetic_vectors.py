"""Seeded vectors in clusters, which stand in for vectors of texts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]

DIM = 384
#: Mean rows of a cluster, and their distance from its centre.
CLUSTER_ROWS, SPREAD = 100, 1.1
#: Standard deviations of a vector's components. With them an inverted file finds about as many
#: neighbours in as many lists as with albeam-small's vectors of real texts, see
#: `deploy.bench.index_recall`.
DEVIATIONS = np.sqrt(1 / np.arange(1, DIM + 1))


def vectors_of(rows: int, chunk: int, count: int, seed: int) -> Vectors:
    """Return ``count`` unit vectors around centres that all chunks of so many rows share."""
    centres = max(1, rows // CLUSTER_ROWS)
    rng = np.random.default_rng([seed, chunk])
    chosen = rng.integers(0, centres, count)
    unique, place = np.unique(chosen, return_inverse=True)
    middle = np.stack([np.random.default_rng([seed, 7, c]).normal(size=DIM) for c in unique])
    found = (middle[place] + SPREAD * rng.normal(size=(count, DIM))) * DEVIATIONS
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found.astype(np.float32)
