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


def attend_by_products(parts: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """Attention within sequences of one length.

    Args:
        parts: queries, keys and values, bfloat16 ``[3, sequences, heads, length, width]``; the
            queries are scaled by `LOG2_E` and by the root of the width.
        out: where the result is put; a new tensor by default.

    Returns:
        bfloat16 ``[sequences, heads, length, width]``.
    """
    _, sequences, heads, length, width = parts.shape
    padded = -(-length // _STEP) * _STEP
    attended = torch.empty_like(parts[0]) if out is None else out
    for piece in _pieces(sequences, max(_AT_ONCE // (heads * padded**2), 1)):
        some = parts[:, piece]
        # Keys that fill up have powers of 1, and values of 0.
        ordered = parts.new_zeros(3, some.shape[1], heads, padded, width)
        ordered[..., :length, :] = some
        query, key, value = ordered.flatten(1, 2)
        powers = torch.bmm(query, key.transpose(1, 2))
        torch.exp2(powers, out=powers)
        sums = powers[:, :length, :length].sum(-1, keepdim=True, dtype=torch.float32)
        least, most = (float(edge) for edge in sums.aminmax())
        if _SAFE[0] < least <= most < _SAFE[1]:
            found = torch.bmm(powers, value)[:, :length] / sums
        else:
            scores = torch.bmm(query, key.transpose(1, 2))[:, :length, :length].float()
            found = torch.softmax(scores / LOG2_E, -1) @ value[:, :length].float()
        attended[piece] = found.view(-1, heads, length, width)
    return attended


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
