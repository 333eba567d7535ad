"""Attention on the CPU by two matrix products and powers of two, for CPUs without tile units.

On these CPUs torch's flash kernel spends most of its time on exponentials, at three cycles each. A
power of two in bfloat16 takes half of that. It replaces the exponential if the queries are scaled
by ``log2(e)``. The row maximum is not subtracted first, because bfloat16 has the range of float32.
Where a sum comes close to the ends of that range, an ordinary softmax is computed instead.
"""

import math
from collections.abc import Iterator

import torch

from transforms.encoder.network import Layout
from transforms.runtime.devices import cpu_supports

#: Factor of the queries, in addition to ``head_width ** -0.5``.
LOG2_E = 1 / math.log(2)
#: Scores computed at once: those of a few sequences, so that they stay in a core's cache.
_AT_ONCE = 600_000
#: oneDNN generates and keeps code for each shape of a product. To have few shapes, lengths are
#: padded to multiples of so many tokens, and the numbers of sequences are powers of two.
_STEP = 32
#: Sums of powers within these bounds, and their quotients, neither overflow nor underflow.
_SAFE = 1e-30, 1e30


def attend_by_products(
    parts: torch.Tensor, out: torch.Tensor | None = None, workspace: torch.Tensor | None = None
) -> torch.Tensor:
    """Compute attention within sequences of equal length.

    Args:
        parts: queries, keys and values, bfloat16 ``[3, sequences, heads, length, width]``; the
            queries are already scaled by ``LOG2_E * width ** -0.5``.
        out: the tensor that receives the result; a new one by default.
        workspace: a bfloat16 tensor of `workspace_size` elements, which is overwritten; a new one
            by default.

    Returns:
        bfloat16 ``[sequences, heads, length, width]``.
    """
    _, sequences, heads, length, width = parts.shape
    padded = _padded(length)
    attended = torch.empty_like(parts[0]) if out is None else out
    if workspace is None:
        workspace = parts.new_empty(workspace_size(sequences, heads, length, width))
    for piece in _pieces(sequences, _most_at_once(heads, length)):
        some = parts[:, piece]
        rows = some.shape[1] * heads
        sizes = _sizes(rows, padded, width)
        states, scores, sums_of_values = torch.split(workspace[: sum(sizes)], sizes)
        # Padding keys have powers of 1 and values of 0.
        ordered = states.view(3, -1, heads, padded, width)
        ordered[..., :length, :] = some
        ordered[..., length:, :] = 0
        query, key, value = ordered.flatten(1, 2)
        powers = scores.view(rows, padded, padded)
        torch.bmm(query, key.transpose(1, 2), out=powers)
        torch.exp2(powers, out=powers)
        sums = powers[:, :length, :length].sum(-1, keepdim=True, dtype=torch.float32)
        found = sums_of_values.view(rows, padded, width)
        torch.bmm(powers, value, out=found)
        found = found.view(-1, heads, padded, width)[..., :length, :]
        torch.div(found, sums.view(-1, heads, length, 1), out=attended[piece])
        for place in _unsafe(sums.view(some.shape[1], -1)):
            query, key, value = some[:, place]
            exact = torch.bmm(query, key.transpose(1, 2)).float()
            attended[piece][place] = torch.softmax(exact / LOG2_E, -1) @ value.float()
    return attended


def _unsafe(sums: torch.Tensor) -> list[int]:
    """Return the sequences that have a sum of powers outside of `_SAFE`, or one that is NaN."""
    least, most = (float(edge) for edge in sums.aminmax())
    if _SAFE[0] < least <= most < _SAFE[1]:
        return []
    safe = ((sums > _SAFE[0]) & (sums < _SAFE[1])).all(1)
    return [place for place, each in enumerate(safe.tolist()) if not each]


def workspace_size(sequences: int, heads: int, length: int, width: int) -> int:
    """Return how many elements the workspace of `attend_by_products` needs."""
    at_once = min(sequences, _most_at_once(heads, length))
    return sum(_sizes(at_once * heads, _padded(length), width))


def attention_workspace(layout: Layout, heads: int, width: int) -> torch.Tensor:
    """Return a workspace for all groups of a layout; ``width`` is that of a head."""
    sizes = [workspace_size(count, heads, length, width) for _, count, length in layout.groups]
    return torch.empty(max(sizes, default=0), dtype=torch.bfloat16)


def _sizes(rows: int, padded: int, width: int) -> list[int]:
    """Return the sizes of the states, of the scores and of the weighted values."""
    return [3 * rows * padded * width, rows * padded**2, rows * padded * width]


def _padded(length: int) -> int:
    return -(-length // _STEP) * _STEP


def _most_at_once(heads: int, length: int) -> int:
    return max(_AT_ONCE // (heads * _padded(length) ** 2), 1)


def _pieces(count: int, most: int) -> Iterator[slice]:
    """Yield consecutive slices of ``count`` items: powers of two, at most ``most`` long."""
    first = 0
    while first < count:
        size = 1 << (min(most, count - first).bit_length() - 1)
        yield slice(first, first + size)
        first += size


def is_quicker_by_products() -> bool:
    """Return whether `attend_by_products` is faster than torch's kernel on this CPU."""
    return cpu_supports("avx512_bf16") and not cpu_supports("amx_tile")
