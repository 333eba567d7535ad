"""The choice between `transforms.index.vector.kmeans` and FAISS, made without importing torch.

A search opens indexes too small for the former, and needs no torch.
"""

from transforms.runtime.extras import is_installed

#: With fewer products, a copy in bfloat16 does not pay off.
_FEW = 1 << 32


def worthwhile(rows: int, lists: int, dim: int) -> bool:
    """Return whether `kmeans` is faster than FAISS for so much work."""
    if rows * lists * dim < _FEW or not is_installed("torch"):
        return False
    from transforms.runtime import devices

    return devices.best_dtype("cpu") == "bfloat16"
