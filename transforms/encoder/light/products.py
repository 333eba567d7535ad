"""Products of matrices in numpy that are cut into small ones, which one thread computes.

OpenBLAS spreads larger products over threads, which spin while they wait for each other. On a busy
machine, a product with the ten tokens of a question then took a hundred times as long. It also has
faster code for small products than for narrow ones.
"""

from dataclasses import dataclass

import numpy as np

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

    def __call__(self, states: Floats) -> Floats:
        """Return the products of states ``[tokens, in]``."""
        tokens, width = states.shape
        blocks, columns, _ = self.blocks.shape
        rows = max(1, min(tokens, MOST // (columns * width)))
        rest = -tokens % rows
        if rest:
            states = np.concatenate([states, np.zeros((rest, width), np.float32)])
        parts = np.matmul(states.reshape(-1, 1, rows, width), self.blocks.swapaxes(1, 2))
        joined = parts.swapaxes(1, 2).reshape(tokens + rest, blocks * columns)
        product: Floats = joined[:tokens, : len(self.bias)]
        product += self.bias
        return product
