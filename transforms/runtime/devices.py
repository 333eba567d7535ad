"""Which device computes, and in which dtype."""

import torch

from transforms.errors import BadInput


def best_dtype(device: str) -> str:
    """The narrowest dtype in which ``cpu`` or ``cuda`` is both fast and exact enough here."""
    if device == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability() >= (8, 0) else "float16"
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if fast else "float32"


def resolve_device(device: str) -> str:
    """``cpu`` or ``cuda``; ``auto`` is CUDA where there is one.

    Raises:
        BadInput: CUDA is asked for and not there.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise BadInput("device 'cuda' is not available to torch here; give --device cpu")
    return device
