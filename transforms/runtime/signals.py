"""Interrupts that wait until work under way is safe."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_LOGGER = logging.getLogger(__name__)

_HELD = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def held_back(what: str) -> Iterator[Callable[[], bool]]:
    """Hold the first Ctrl-C or SIGTERM back; yields a function that says whether one came.

    It takes effect when the context is left without an error, a second one at once. Signals that
    are ignored stay so; outside of the main thread, where signals can't be caught, none is held
    back.

    Args:
        what: will be done before the end, for the log.
    """
    caught: list[int] = []
    former = {
        number: handler
        for number in _HELD
        if threading.current_thread() is threading.main_thread()
        and (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)
    }

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    def catch(number: int, _: FrameType | None) -> None:
        caught.append(number)
        restore()
        _LOGGER.warning("interrupted: %s first; interrupt again to end at once", what)

    try:
        for number in former:
            if not caught:
                signal.signal(number, catch)
        yield lambda: bool(caught)
    finally:
        restore()
    if caught:
        signal.raise_signal(caught[0])
