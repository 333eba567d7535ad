"""Matrix products of 8-bit integers on the CPU, exact for each row whatever rows are beside it.

Each row of the input has a scale of its own, and so has each row of the weights. The integer sums
are exact, so their order does not matter. What is computed in float32 around them is computed for
each number alone.
"""

from typing import Any, NamedTuple

import torch

from transforms.runtime.devices import has_byte_units

#: oneDNN multiplies unsigned by signed bytes, so numbers of both signs are shifted by so much.
CENTRED = 128
#: The same for the results of an activation, which are hardly ever negative. A GELU is not below
#: `_LEAST_GELU`, so most of the range is left for what is positive.
NEARLY_POSITIVE = 32
_LEAST_GELU = -0.17
_TINY = 1e-30
#: CPUs without units for bytes add the products of two neighbours in 16 bits. So the sizes of two
#: neighbouring weights of one sign may have this sum: 255 times it is the most that fits.
_MOST_OF_PAIR = 128
#: The largest sizes of a row's weights that are tried on such CPUs.
_BOUNDS = (127, 112, 96, 80, 64)


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
        in_pairs = not has_byte_units()
        rounded, self._scales = round_weights(weight, in_pairs)
        self._weight = torch.ops.onednn.qlinear_prepack(rounded, None)
        self._zeros = torch.zeros(len(weight), dtype=torch.int64)
        self._zero = zero
        if in_pairs:
            self._check_sums(rounded)

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

    def _check_sums(self, weight: torch.Tensor) -> None:
        """Check the product of the largest bytes: if no sum of these overflows, none does."""
        largest = torch.full((1, weight.shape[1]), 255, dtype=torch.uint8)
        exact = weight.sum(1, dtype=torch.int64) * (255 - self._zero)
        # A sum that overflows is off by as much as two products of bytes.
        if ((self.sums(largest)[0] / self._scales - exact).abs() > _MOST_OF_PAIR / 2).any():
            raise RuntimeError("the CPU's products of bytes overflow")

    def __call__(self, rows: Rows) -> torch.Tensor:
        """Return the product with its bias, float32 ``[rows, out]``."""
        sums = self.sums(rows.values)
        return torch.addcmul(self.bias, sums, rows.scales, out=sums)

    def add_to(self, states: torch.Tensor, rows: Rows) -> torch.Tensor:
        """Add the product with its bias to float32 ``[rows, out]`` in place."""
        return states.addcmul_(self.sums(rows.values), rows.scales).add_(self.bias)


def round_weights(weight: torch.Tensor, in_pairs: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Round weights to bytes, each row with a scale of its own.

    Args:
        weight: float32 ``[out, in]``.
        in_pairs: whether two neighbours of one sign may have `_MOST_OF_PAIR` together at most. Each
            row then has the scale, of a few, with the least error.

    Returns:
        int8 ``[out, in]`` and the scales, float32 ``[out]``.
    """
    largest = weight.abs().amax(1, keepdim=True).clamp_(min=_TINY)
    if not in_pairs:
        scales = largest / 127
        return (weight / scales).round_().to(torch.int8), scales[:, 0]
    tried = [largest / bound for bound in _BOUNDS]
    rounded = [_fit_pairs((weight / scales).round_()) for scales in tried]
    errors = [
        (weight - values * scales).square_().sum(1)
        for values, scales in zip(rounded, tried, strict=True)
    ]
    best = torch.stack(errors).argmin(0)
    rows = torch.arange(len(weight))
    return torch.stack(rounded)[best, rows].to(torch.int8), torch.stack(tried)[best, rows, 0]


def _fit_pairs(values: torch.Tensor) -> torch.Tensor:
    """Make the sizes of neighbours of one sign smaller where their sum is too large."""
    padded = torch.nn.functional.pad(values, (0, values.shape[1] % 2))
    pairs = padded.view(len(values), -1, 2)
    sizes, signs = pairs.abs(), pairs.sign()
    alike = signs[..., :1] == signs[..., 1:]
    excess = (sizes.sum(-1, keepdim=True) - _MOST_OF_PAIR).clamp_(min=0) * alike
    # Neither changes its sign: neither has more than 127.
    first = (excess / 2).ceil_()
    cut = torch.cat([first, excess - first], -1)
    return (signs * (sizes - cut)).flatten(1)[:, : values.shape[1]]


def _even_out(peaks: torch.Tensor) -> torch.Tensor:
    """Return divisors that make columns more alike: the roots of their peaks.

    They are powers of the fourth root of 2, so that the last bits of the peaks do not matter.
    """
    middle = peaks.clamp(min=_TINY).log2().div(2)
    return torch.exp2(middle.sub(middle.mean()).mul(4).round_().div(4))
