"""Free memory goes back to the system.

The C library keeps what was freed. Batches of many sizes leave it in pieces that the next ones do
not fit into, so that a long job would come to need more than a short one.
"""

import ctypes
import functools
from collections.abc import Callable


def trim_heap() -> bool:
    """Give back what the C library has free; whether it can.

    That takes some ten milliseconds, and what is needed again comes a page at a time.
    """
    trim = _find_trim()
    if trim is not None:
        trim(0)
    return trim is not None


@functools.cache
def _find_trim() -> Callable[[int], int] | None:
    """glibc's ``malloc_trim``; None where the C library has no such thing."""
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):
        return None
    return trim
