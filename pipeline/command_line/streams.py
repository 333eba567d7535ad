"""The standard streams: any encoding, readers that go away, and outputs that can't be written."""

import io
import os
import select
import sys
from typing import TextIO


def prepare_output() -> None:
    """Escape what the encoding of stdout and stderr lacks, and discard what has no stream."""
    # A process that was started without one of them has None there.
    if sys.stdout is None:
        sys.stdout = _nothing()
    if sys.stderr is None:
        sys.stderr = _nothing()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nothing() -> TextIO:
    return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")


def is_closed() -> bool:
    """Return whether stdout or stderr is a pipe that nobody reads any more."""
    return any(_reader_is_gone(stream) for stream in (sys.stdout, sys.stderr))


def drop_output() -> None:
    """Discard what stdout and stderr still buffer, which Python would write when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _discard(stream)


def _discard(stream: TextIO) -> None:
    number = _number(stream)
    if number is not None:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, number)
        os.close(nothing)


def _reader_is_gone(stream: TextIO) -> bool:
    number = _number(stream)
    if number is None:
        return False
    watched = select.poll()
    # Errors and hang-ups are reported whatever is asked for.
    watched.register(number, 0)
    gone = select.POLLERR | select.POLLHUP
    return any(event & gone for _, event in watched.poll(0))


def _number(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        # A stream in memory has no number.
        return None
