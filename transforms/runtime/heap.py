"""Return free memory to the system.

The C library keeps freed memory. Batches of many sizes fragment it, so a long job would need more
memory than a short one.
"""

import ctypes
import functools
from collections.abc import Callable


def trim_heap() -> bool:
    """Return the C library's free memory to the system; return whether that is possible.

    It takes some ten milliseconds. Memory that is needed again comes back page by page.
    """
    trim = _find_trim()
    if trim is not None:
        trim(0)
    return trim is not None


@functools.cache
def _find_trim() -> Callable[[int], int] | None:
    """Return glibc's ``malloc_trim``; None if the C library does not have it."""
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):
        return None
    return trim
