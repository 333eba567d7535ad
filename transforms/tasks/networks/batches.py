"""The batches of a head's training: windows of similar length, in another order at each pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from transforms.encoder.batching import batches_by_length, pad
from transforms.tasks.networks.windows import Int64, Windows
from transforms.training.epochs import batches_from

#: Batches that are sorted by length together. More mean less padding and less chance.
_SORTED_TOGETHER = 32


@dataclass(frozen=True)
class WindowBatch:
    """A batch of windows.

    Attributes:
        windows: the windows of the pass.
        rows: the numbers of the batch's windows.
    """

    windows: Windows
    rows: Int64

    def ids(self) -> torch.Tensor:
        """Return the token ids, int64 ``[rows, longest]``, padded with -1."""
        return pad([self.windows.ids[row] for row in self.rows], -1)

    def types(self) -> torch.Tensor | None:
        """Return the types of the tokens, int64: 1 in the second text; None for one text each."""
        seconds = self.windows.seconds
        if seconds is None:
            return None
        places = torch.arange(int(self.windows.lengths[self.rows].max()))
        return (places >= torch.from_numpy(seconds[self.rows])[:, None]).long()

    def texts(self) -> Int64:
        """Return the text of each window."""
        return self.windows.texts[self.rows]


class EpochBatches:
    """All batches of a training; they depend on the seed alone."""

    def __init__(self, windows: Callable[[int], Windows], batch_tokens: int, seed: int) -> None:
        """Prepare batches.

        Args:
            windows: returns the windows of the pass with a number; equal for equal numbers.
            batch_tokens: tokens of a batch, padding included.
            seed: the seed of the order.
        """
        self.windows, self.batch_tokens, self.seed = windows, batch_tokens, seed

    def epoch(self, number: int) -> list[WindowBatch]:
        """Return the batches of one pass over the data."""
        windows = self.windows(number)
        rng = np.random.default_rng([self.seed, number])
        lengths = windows.lengths
        order = rng.permutation(len(windows))
        together = int(_SORTED_TOGETHER * self.batch_tokens / lengths.mean()) + 1
        made = []
        for start in range(0, len(order), together):
            some = order[start : start + together]
            made += [some[rows] for rows in batches_by_length(lengths[some], self.batch_tokens)]
        return [WindowBatch(windows, made[place]) for place in rng.permutation(len(made))]

    def batches(self, start: int) -> Iterator[WindowBatch]:
        """Return batches without end, from the one numbered ``start`` on."""
        return batches_from(self.epoch, start)


def validation_batches(windows: Windows, batch_tokens: int) -> list[WindowBatch]:
    """Return the batches that cover all windows once, longest first."""
    return [WindowBatch(windows, rows) for rows in batches_by_length(windows.lengths, batch_tokens)]
