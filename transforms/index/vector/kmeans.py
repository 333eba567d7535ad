"""The centres of an inverted file's lists, and each row's nearest centre, in bfloat16 on the CPU.

This is spherical k-means (Dhillon and Modha, 2001). Building an index mostly means multiplying rows
and centres, which FAISS does in float32 only. The lower precision is harmless: it does not matter
to a search which of two equally near centres gets a row.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from transforms.runtime.cpu_pool import Cores

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

#: FAISS's own number of rounds for an inverted file.
_ROUNDS = 10
#: Scores that a thread holds at once.
_SCORES = 1 << 22
#: Relative difference between the two halves of a list that is split.
_APART = 1 / 1024


class Centres:
    """Centres ``[lists, dim]`` in bfloat16, which find the nearest centre of each row.

    Their mean is subtracted first. This changes no ranking, and reduces the rounding error.
    """

    def __init__(self, centres: Vectors, cores: Cores | None = None) -> None:
        found = torch.from_numpy(centres)
        self._turned = (found - found.mean(0)).to(torch.bfloat16).T.contiguous()
        self._cores = cores or Cores("cpu")

    def nearest(self, rows: Vectors) -> Numbers:
        """Return the number of each row's nearest centre by inner product, int64 ``[rows]``."""
        pieces = np.array_split(rows, self._cores.count)
        return np.concatenate(self._cores.map(self._nearest, pieces))

    def _nearest(self, rows: Vectors) -> Numbers:
        step = max(64, _SCORES // self._turned.shape[1])
        found = np.empty(len(rows), np.int64)
        # One buffer for all blocks. New buffers would fragment the memory by gigabytes.
        kept = torch.empty(min(step, len(rows)), self._turned.shape[1], dtype=torch.bfloat16)
        for start in range(0, len(rows), step):
            block = torch.from_numpy(rows[start : start + step]).to(torch.bfloat16)
            scores = torch.mm(block, self._turned, out=kept[: len(block)])
            # A third faster than argmax on a CPU.
            found[start : start + step] = scores.max(1).indices.numpy()
        return found


def cluster(rows: Vectors, lists: int, seed: int = 1234) -> Vectors:
    """Find centres of unit length around which the rows cluster.

    Args:
        rows: float32 ``[n, dim]``, at least as many as lists.
        lists: how many centres.
        seed: the seed of the random choice of the initial centres.

    Returns:
        float32 ``[lists, dim]``.
    """
    chosen = np.random.default_rng(seed).choice(len(rows), lists, replace=False)
    centres = _unit(rows[np.sort(chosen)])
    cores = Cores("cpu")
    for _ in range(_ROUNDS):
        near = Centres(centres, cores).nearest(rows)
        sums = torch.zeros(lists, rows.shape[1])
        sums.index_add_(0, torch.from_numpy(near), torch.from_numpy(rows))
        counts = np.bincount(near, minlength=lists)
        centres = _unit(_split(sums.numpy(), counts))
    return centres


def _split(sums: Vectors, counts: npt.NDArray[Any]) -> Vectors:
    """Replace each centre without rows by half of the largest list that is not yet split."""
    empty = np.flatnonzero(counts == 0)
    largest = np.argsort(-counts, kind="stable")[: max(1, len(counts) - len(empty))]
    sides = np.where(np.arange(sums.shape[1]) % 2, 1 - _APART, 1 + _APART).astype(np.float32)
    found = sums.copy()
    for place, source in zip(empty, np.resize(largest, len(empty)), strict=True):
        found[place], found[source] = found[source] * sides, found[source] / sides
    return found


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Vectors = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32, copy=False)
    return found
