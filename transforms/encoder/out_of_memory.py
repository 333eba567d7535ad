"""Detect that memory ran out, and return free memory to the device or the system."""

import torch

from transforms.runtime.heap import trim_heap

#: Messages of torch's allocators, CUDA's libraries and oneDNN.
_MESSAGES = (
    "can't allocate memory",
    "bad_alloc",
    "could not create a memory",
    "could not create a primitive",
    "cuda error: out of memory",
    # The driver's own words, with expandable segments.
    "cuda driver error: out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)
#: oneDNN's message about a product that it does not support.
_UNSUPPORTED = "could not create a primitive descriptor"


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error means that memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    message = str(error).lower()
    return any(known in message for known in _MESSAGES) and _UNSUPPORTED not in message


def release_memory(device: str) -> None:
    """Return the free memory of torch's allocators to the device and to the system."""
    if device == "cuda":
        torch.cuda.empty_cache()
    trim_heap()
