"""Matrix products of 8-bit integers on the CPU, exact for each row whatever rows are beside it.

Each row of the input has a scale of its own, and so has each row of the weights. The integer sums
are exact, so their order does not matter. What is computed in float32 around them is computed for
each number alone.
"""

from typing import Any, NamedTuple

import torch

#: oneDNN multiplies unsigned by signed bytes, so numbers of both signs are shifted by so much.
CENTRED = 128
#: The same for the results of an activation, which are hardly ever negative. A GELU is not below
#: `_LEAST_GELU`, so most of the range is left for what is positive.
NEARLY_POSITIVE = 32
_LEAST_GELU = -0.17
_TINY = 1e-30


class Rows(NamedTuple):
    """Rows of bytes: what they stand for is ``(values - zero) * scales``.

    Attributes:
        values: uint8 ``[rows, width]``.
        scales: float32 ``[rows, 1]``.
    """

    values: torch.Tensor
    scales: torch.Tensor


def quantize_rows(states: torch.Tensor, zero: int, scratch: torch.Tensor | None = None) -> Rows:
    """Round float32 ``[rows, width]`` to bytes, with the smallest scale for each row.

    A row that has a number that is not finite has a scale that is not finite.

    Args:
        states: the numbers; those for `NEARLY_POSITIVE` are the results of an activation.
        zero: `CENTRED` or `NEARLY_POSITIVE`.
        scratch: a float32 tensor of the same shape that is overwritten, perhaps ``states``.
    """
    most = states.amax(1, keepdim=True)
    if zero == CENTRED:
        scales = torch.maximum(most, states.amin(1, keepdim=True).neg_()).div_(127)
    else:
        scales = most.div_(255 - zero).clamp_(min=-_LEAST_GELU / zero)
    scales.clamp_(min=_TINY)
    # Half a unit more, since the conversion to an integer cuts off what is behind the point.
    shift = states.new_full((states.shape[1],), zero + 0.5)
    shifted = torch.addcmul(shift, states, scales.reciprocal(), out=scratch)
    # From float32 to uint8 at once, torch converts one number at a time.
    return Rows(shifted.to(torch.int16).to(torch.uint8), scales)


class Int8Product:
    """Linear layers of one input, joined into one product of bytes."""

    def __init__(self, linears: list[Any], zero: int, peaks: torch.Tensor | None = None) -> None:
        """Round the weights, each row with the smallest scale.

        Args:
            linears: their outputs lie side by side in the result.
            zero: that of the input.
            peaks: the largest size of each column of the input, as far as known. Columns are then
                divided by `_even_out` before they are rounded, and the weights are multiplied.
        """
        weight = torch.cat([linear.weight.detach() for linear in linears]).float()
        self._columns = None
        if peaks is not None:
            divisors = _even_out(peaks)
            weight = weight * divisors
            self._columns = divisors.reciprocal()
        self.bias = torch.cat([linear.bias.detach() for linear in linears]).float()
        self._scales = weight.abs().amax(1).div_(127).clamp_(min=_TINY)
        rounded = (weight / self._scales[:, None]).round_().to(torch.int8)
        self._weight = torch.ops.onednn.qlinear_prepack(rounded, None)
        self._zeros = torch.zeros(len(weight), dtype=torch.int64)
        self._zero = zero

    def quantize(self, states: torch.Tensor, scratch: torch.Tensor) -> Rows:
        """Round an input to bytes; ``scratch``, of the same shape, is overwritten."""
        if self._columns is not None:
            states = torch.mul(states, self._columns, out=scratch)
        return quantize_rows(states, self._zero, scratch)

    def sums(self, values: torch.Tensor) -> torch.Tensor:
        """Return the products of bytes, float32 ``[rows, out]``, without the scales of the rows."""
        product: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            values, 1.0, self._zero, self._weight, self._scales, self._zeros,
            None, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return product

    def __call__(self, rows: Rows) -> torch.Tensor:
        """Return the product with its bias, float32 ``[rows, out]``."""
        sums = self.sums(rows.values)
        return torch.addcmul(self.bias, sums, rows.scales, out=sums)

    def add_to(self, states: torch.Tensor, rows: Rows) -> torch.Tensor:
        """Add the product with its bias to float32 ``[rows, out]`` in place."""
        return states.addcmul_(self.sums(rows.values), rows.scales).add_(self.bias)


def _even_out(peaks: torch.Tensor) -> torch.Tensor:
    """Return divisors that make columns more alike: the roots of their peaks.

    They are powers of the fourth root of 2, so that the last bits of the peaks do not matter.
    """
    middle = peaks.clamp(min=_TINY).log2().div(2)
    return torch.exp2(middle.sub(middle.mean()).mul(4).round_().div(4))
