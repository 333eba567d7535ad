"""Products of matrices in numpy that are cut into small ones, which one thread computes.

OpenBLAS spreads larger products over threads, which spin while they wait for each other. On a busy
machine, a product with the ten tokens of a question then took a hundred times as long. It also has
faster code for small products than for narrow ones.

It also sums in another order for other rows of a product, by their place and by how many there are.
So each sequence has products of its own: its states depend on no other sequence of the batch.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.encoder.light.functions import Floats

#: OpenBLAS computes a product of so many multiplications in one thread.
MOST = 1 << 18
#: The columns of a small product, and of one whose sums are long.
_COLUMNS, _FEW_COLUMNS = 16, 8
_LONG = 1_024


@dataclass(frozen=True)
class Linear:
    """A linear layer, ``[tokens, in] -> [tokens, out]``.

    Attributes:
        blocks: the weights, in blocks of rows: ``[blocks, rows, in]``; the last may have zeros.
        bias: ``[out]``.
    """

    blocks: Floats
    bias: Floats

    @classmethod
    def of(cls, weight: Floats, bias: Floats) -> "Linear":
        """Return the layer of a weight ``[out, in]`` and a bias ``[out]``."""
        out, width = weight.shape
        columns = _COLUMNS if width <= _LONG else _FEW_COLUMNS
        rest = -out % columns
        if rest:
            weight = np.concatenate([weight, np.zeros((rest, width), np.float32)])
        return cls(weight.reshape(-1, columns, width), bias)

    def __call__(self, states: Floats, groups: Sequence["Group"]) -> Floats:
        """Return the products of the states of sequences, ``[tokens, in]``."""
        product = np.empty((len(states), len(self.bias)), np.float32)
        for group in groups:
            product[group.rows] = self._products(states[group.rows], group)
        product += self.bias
        return product

    def _products(self, states: Floats, group: "Group") -> Floats:
        """Return the products of sequences of one length, each cut into parts of equal rows."""
        width = states.shape[1]
        blocks, columns, _ = self.blocks.shape
        parts = -(-group.length // max(1, MOST // (columns * width)))
        rows = -(-group.length // parts)
        padded = parts * rows
        if padded > group.length:
            whole = np.zeros((group.count, padded, width), np.float32)
            whole[:, : group.length] = states.reshape(group.count, group.length, width)
            states = whole
        found = np.matmul(states.reshape(-1, 1, rows, width), self.blocks.swapaxes(1, 2))
        joined = found.swapaxes(1, 2).reshape(group.count, padded, blocks * columns)
        product: Floats = joined[:, : group.length, : len(self.bias)]
        return product.reshape(-1, len(self.bias))


@dataclass(frozen=True)
class Group:
    """Sequences of one length that lie end to end.

    Attributes:
        first: the first of their rows among those of the batch.
        count: how many there are.
        length: the rows of each.
    """

    first: int
    count: int
    length: int

    @property
    def rows(self) -> slice:
        """Their rows."""
        return slice(self.first, self.first + self.count * self.length)


def groups_of(lengths: npt.NDArray[np.int64]) -> list[Group]:
    """Return the neighbours of equal length among sequences that lie end to end."""
    groups, first = [], 0
    for length, some in itertools.groupby(lengths.tolist()):
        groups.append(Group(first, len(list(some)), length))
        first += groups[-1].count * length
    return groups
