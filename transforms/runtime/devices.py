"""The device and the dtype of computations."""

import torch

from transforms.errors import BadInput


def best_dtype(device: str) -> str:
    """Return the narrowest dtype in which ``cpu`` or ``cuda`` is fast and exact enough here."""
    if device == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability() >= (8, 0) else "float16"
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if fast else "float32"


def resolve_device(device: str) -> str:
    """Return ``cpu`` or ``cuda``; ``auto`` is CUDA if there is a GPU.

    Raises:
        BadInput: ``cuda`` is requested, and torch has no GPU.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        problem = "is not available to torch on this machine"
        raise BadInput("device", device, problem, "Give --device cpu")
    return device
