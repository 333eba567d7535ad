"""The device and the dtype of computations."""

import os
from typing import Any

import torch

from transforms.errors import BadInput


def best_dtype(device: str) -> str:
    """Return the narrowest dtype in which ``cpu`` or ``cuda`` is fast and exact enough here."""
    if device == "cuda":
        capability = torch.cuda.get_device_capability()
        if capability >= (8, 0):
            return "bfloat16"
        # Before 7.0 there are no tensor cores, and float16 may be slower than float32.
        return "float16" if capability >= (7, 0) else "float32"
    return "bfloat16" if cpu_supports("amx_tile") or cpu_supports("avx512_bf16") else "float32"


def cpu_supports(unit: str) -> bool:
    """Return whether torch reports ``amx_tile``, ``avx512_bf16`` or ``vnni``; False if unknown."""
    check = getattr(torch.cpu, f"_is_{unit}_supported", None)
    return check is not None and bool(check())


def supports_int8() -> bool:
    """Return whether this CPU multiplies bytes faster than floats: AVX2, or units for bytes."""
    return has_byte_units() or bool(_capabilities().get("avx2"))


def has_byte_units() -> bool:
    """Return whether this CPU has units for products of bytes: AVX512-VNNI, AVX-VNNI or AMX."""
    if cpu_supports("vnni") or cpu_supports("amx_tile"):
        return True
    return bool(_capabilities().get("avx_vnni"))


def _capabilities() -> dict[str, Any]:
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return found


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


def gpu_count() -> int:
    """Return how many GPUs torch sees."""
    return torch.cuda.device_count()


def check_process(device: str, loaded_in: int) -> None:
    """Raise BadInput if a model on a GPU was loaded in another process, which then forked.

    Args:
        device: the model's device.
        loaded_in: the id of the process that loaded it.
    """
    if device == "cuda" and os.getpid() != loaded_in:
        problem = "can't be used in a process that was forked after the model was loaded"
        remedy = "Start worker processes with spawn, or open the store in each of them"
        raise BadInput("device", device, problem, remedy)
