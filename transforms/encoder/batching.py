"""Batches of token ids, whose size is bounded by their number of tokens."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

#: How many batches must fit before a larger one is tried: at first, and at most.
_PATIENCE = 64, 4_096

_LOGGER = logging.getLogger(__name__)


class Budget:
    """The maximum number of tokens in a batch. Threads may share one.

    It grows again after it shrank. Another process may use the device's memory only for a while,
    and one text may need more memory than all others.

    Attributes:
        tokens: the current maximum.
    """

    def __init__(self, most: int) -> None:
        self.tokens = self._most = most
        self._patience, self._fitted = _PATIENCE[0], 0
        self._grew = False
        self._lock = threading.Lock()

    def shrink(self, tokens: int) -> None:
        """Record that a batch of so many tokens was too large."""
        with self._lock:
            half = max(tokens // 2, 1)
            if half >= self.tokens:
                return
            self.tokens, self._fitted = half, 0
            if self._grew:
                # The last increase came too early.
                self._patience, self._grew = min(2 * self._patience, _PATIENCE[1]), False
        _LOGGER.warning("out of memory: batches now have at most %d tokens", half)

    def fit(self, tokens: int) -> None:
        """Record that a batch of so many tokens fitted."""
        with self._lock:
            if self.tokens == self._most or 2 * tokens < self.tokens:
                return
            self._fitted += 1
            if self._fitted >= self._patience:
                self.tokens, self._fitted = min(2 * self.tokens, self._most), 0
                self._grew = True


@dataclass(frozen=True)
class Batch:
    """Sequences that lie end to end.

    Attributes:
        ids: int64 ``[total_tokens]``.
        positions: int64 ``[total_tokens]``, from 0 in each sequence.
        lengths: int64 ``[sequences]``.
    """

    ids: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    @classmethod
    def take(cls, tokens: pa.ListArray, rows: npt.NDArray[np.int64]) -> "Batch":
        """Return the sequences at ``rows`` of a ragged array."""
        values = tokens.values.to_numpy(zero_copy_only=False)
        bounds = tokens.offsets.to_numpy().astype(np.int64)
        lengths = bounds[rows + 1] - bounds[rows]
        starts = np.cumsum(lengths) - lengths
        positions = np.arange(int(lengths.sum())) - np.repeat(starts, lengths)
        ids = values[positions + np.repeat(bounds[rows], lengths)].astype(np.int64)
        return cls(ids, positions, lengths)


def batches_by_length(lengths: npt.NDArray[np.int64], budget: int) -> list[npt.NDArray[np.int64]]:
    """Group the indices of texts, longest first, into padded batches of at most `budget` tokens.

    A text that is longer than the budget gets a batch of its own.
    """
    order = np.argsort(lengths, kind="stable")[::-1]
    batches, start = [], 0
    while start < len(order):
        rows = max(1, budget // max(1, int(lengths[order[start]])))
        batches.append(order[start : start + rows])
        start += rows
    return batches


def pad(rows: Sequence[npt.NDArray[np.int32]], fill: int) -> torch.Tensor:
    """Stack int32 arrays of unequal lengths as int64 ``[rows, longest]``, padded with `fill`."""
    stacked = np.full((len(rows), max(map(len, rows))), fill, dtype=np.int64)
    for number, row in enumerate(rows):
        stacked[number, : len(row)] = row
    return torch.from_numpy(stacked)
