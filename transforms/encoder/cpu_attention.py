"""Attention on the CPU as two products and powers of two, for processors without tile units.

There torch's flash kernel spends most of its time on exponentials, three cycles each. A power of
two in bfloat16 takes half of that, and is what attention needs once the queries carry the factor
``log2(e)``. No row's maximum is subtracted first: bfloat16 has the range of float32. Where sums
come near its ends, a softmax does it again.
"""

import math
from collections.abc import Iterator

import torch

#: Of the queries, beside one by the square root of a head's width.
LOG2_E = 1 / math.log(2)
#: Scores that are made at once: those of a few sequences, which stay in a core's cache.
_AT_ONCE = 600_000
#: oneDNN makes code for each shape of product, and keeps it: lengths are filled up to multiples of
#: so many tokens, and numbers of sequences are powers of two.
_STEP = 32
#: Within which sums of powers, and what is made from them, are far from overflow and underflow.
_SAFE = 1e-30, 1e30


def attend_by_products(
    parts: torch.Tensor, out: torch.Tensor | None = None, workspace: torch.Tensor | None = None
) -> torch.Tensor:
    """Attention within sequences of one length.

    Args:
        parts: queries, keys and values, bfloat16 ``[3, sequences, heads, length, width]``; the
            queries are scaled by `LOG2_E` and by the root of the width.
        out: where the result is put; a new tensor by default.
        workspace: bfloat16 of `workspace_size`, overwritten; a new one by default.

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
        # Keys that fill up have powers of 1, and values of 0.
        ordered = states.view(3, -1, heads, padded, width)
        ordered[..., :length, :] = some
        ordered[..., length:, :] = 0
        query, key, value = ordered.flatten(1, 2)
        powers = scores.view(rows, padded, padded)
        torch.bmm(query, key.transpose(1, 2), out=powers)
        torch.exp2(powers, out=powers)
        sums = powers[:, :length, :length].sum(-1, keepdim=True, dtype=torch.float32)
        least, most = (float(edge) for edge in sums.aminmax())
        if _SAFE[0] < least <= most < _SAFE[1]:
            found = sums_of_values.view(rows, padded, width)
            torch.bmm(powers, value, out=found)
            found = found.view(-1, heads, padded, width)[..., :length, :]
            torch.div(found, sums.view(-1, heads, length, 1), out=attended[piece])
        else:
            exact = torch.bmm(query, key.transpose(1, 2))[:, :length, :length].float()
            weighed = torch.softmax(exact / LOG2_E, -1) @ value[:, :length].float()
            attended[piece] = weighed.view(-1, heads, length, width)
    return attended


def workspace_size(sequences: int, heads: int, length: int, width: int) -> int:
    """How many numbers `attend_by_products` needs beside what it is given and gives."""
    at_once = min(sequences, _most_at_once(heads, length))
    return sum(_sizes(at_once * heads, _padded(length), width))


def _sizes(rows: int, padded: int, width: int) -> list[int]:
    """Of states, scores and sums of values."""
    return [3 * rows * padded * width, rows * padded**2, rows * padded * width]


def _padded(length: int) -> int:
    return -(-length // _STEP) * _STEP


def _most_at_once(heads: int, length: int) -> int:
    return max(_AT_ONCE // (heads * _padded(length) ** 2), 1)


def _pieces(count: int, most: int) -> Iterator[slice]:
    """Runs of at most ``most`` of ``count``, as long as powers of two."""
    first = 0
    while first < count:
        size = 1 << (min(most, count - first).bit_length() - 1)
        yield slice(first, first + size)
        first += size


def is_quicker_by_products() -> bool:
    """Whether `attend_by_products` is to be preferred to torch's kernel on this processor."""
    return torch.cpu._is_avx512_bf16_supported() and not torch.cpu._is_amx_tile_supported()
