"""Attention on the CPU as two products and powers of two, for processors without tile units.

There torch's flash kernel spends most of its time on exponentials, three cycles each. A power of
two in bfloat16 takes half of that, and is what attention needs once the queries carry the factor
``log2(e)``. No row's maximum is subtracted first: bfloat16 has the range of float32. Where sums
come near its ends, a softmax does it again.
"""

import math

import torch

#: Of the queries, beside one by the square root of a head's width.
LOG2_E = 1 / math.log(2)
#: Scores that are made at once: those of a few sequences, which stay in a core's cache.
_AT_ONCE = 600_000
#: Within which sums of powers, and what is made from them, are far from overflow and underflow.
_SAFE = 1e-30, 1e30


def attend_by_products(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attention within sequences of one length.

    Args:
        query: bfloat16 ``[sequences, heads, length, width]``, contiguous, scaled by `LOG2_E` and by
            the root of the width.
        key, value: likewise, not scaled.

    Returns:
        bfloat16 of that shape.
    """
    shape = query.shape
    query, key, value = (states.flatten(0, 1) for states in (query, key, value))
    attended = torch.empty_like(query)
    some = max(_AT_ONCE // shape[2] ** 2, 1)
    for first in range(0, len(query), some):
        rows = slice(first, first + some)
        keys = key[rows].transpose(1, 2)
        powers = torch.bmm(query[rows], keys)
        torch.exp2(powers, out=powers)
        sums = powers.sum(-1, keepdim=True, dtype=torch.float32)
        least, most = (float(edge) for edge in sums.aminmax())
        if _SAFE[0] < least <= most < _SAFE[1]:
            torch.bmm(powers, value[rows], out=attended[rows])
            attended[rows].div_(sums)
        else:
            scores = torch.bmm(query[rows], keys).float() / LOG2_E
            torch.bmm(torch.softmax(scores, -1).bfloat16(), value[rows], out=attended[rows])
    return attended.view(shape)


def is_quicker_by_products() -> bool:
    """Whether `attend_by_products` is to be preferred to torch's kernel on this processor."""
    return torch.cpu._is_avx512_bf16_supported() and not torch.cpu._is_amx_tile_supported()
