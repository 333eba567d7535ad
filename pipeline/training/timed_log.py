"""A log whose lines begin with the time since it was made."""

import time
from collections.abc import Callable


def timed_log(log: Callable[[str], object]) -> Callable[[str], None]:
    """Return a function that logs a line after the seconds since now."""
    started = time.monotonic()

    def timed(line: str) -> None:
        log(f"{time.monotonic() - started:7.0f} s  {line}")

    return timed
