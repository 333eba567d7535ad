"""Batches of token ids, whose size is bounded by their number of tokens."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.runtime.forks import Lock

if TYPE_CHECKING:
    import torch

_TOKENS_PER_BATCH = {"cpu": 4_096, "cuda": 131_072}
#: Size of a batch's widest states on a CPU. Larger ones leave the cache, and their memory is
#: returned to the system each time.
_BYTES_PER_BATCH = 6 << 20
#: The most sequences of a batch: attention kernels number them in a dimension of CUDA's grids that
#: ends there.
_MOST_SEQUENCES = 65_535
#: How many batches must fit before a larger one is tried: at first, and at most.
_PATIENCE = 64, 4_096

_LOGGER = logging.getLogger(__name__)


def tokens_per_batch(device: str, dtype: str, width: int) -> int:
    """Return the most tokens of a batch of a network whose widest states have this width."""
    most = _TOKENS_PER_BATCH[device]
    if device == "cuda":
        return most
    size = 4 if dtype == "float32" else 2
    return max(512, min(most, _BYTES_PER_BATCH // (size * width)))


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
        self._lock = Lock()

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


def cut_batches(
    order: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    limit: Callable[[], int],
    padded: bool,
) -> Iterator[npt.NDArray[np.int64]]:
    """Cut rows, in their order, into batches of at most ``limit`` tokens.

    A row that is longer than the limit gets a batch of its own. No batch has more rows than CUDA's
    attention can number.

    Args:
        order: the rows, ``[rows]``, longest first.
        lengths: the tokens of each row, by its number.
        limit: returns the present maximum, which may change between two batches.
        padded: whether padding counts: each row then has the length of its batch's first.
    """
    first, total = 0, 0
    for place, row in enumerate(order):
        width = max(1, int(lengths[order[first] if padded else row]))
        full = place - first >= _MOST_SEQUENCES
        if place > first and (full or total + width > limit()):
            yield order[first:place]
            first, total = place, 0
            width = max(1, int(lengths[row]))
        total += width
    if len(order):
        yield order[first:]


def count_batch_tokens(lengths: npt.NDArray[np.int64], padded: bool) -> int:
    """Return the size of a batch in tokens, with its padding if it is ``padded``."""
    return len(lengths) * int(lengths.max()) if padded else int(lengths.sum())


def batches_by_length(lengths: npt.NDArray[np.int64], budget: int) -> list[npt.NDArray[np.int64]]:
    """Group the indices of texts, longest first, into padded batches of at most `budget` tokens.

    A text that is longer than the budget gets a batch of its own.
    """
    # The order of equal lengths decides the weights of a training that resumes.
    order = np.argsort(lengths, kind="stable")[::-1]
    return list(cut_batches(order, lengths, lambda: budget, padded=True))


def pad(rows: Sequence[npt.NDArray[np.int32]], fill: int) -> "torch.Tensor":
    """Stack int32 arrays of unequal lengths as int64 ``[rows, longest]``, padded with `fill`."""
    import torch

    stacked = np.full((len(rows), max(map(len, rows))), fill, dtype=np.int64)
    for number, row in enumerate(rows):
        stacked[number, : len(row)] = row
    return torch.from_numpy(stacked)
