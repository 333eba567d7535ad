"""Interrupts that are deferred until the current work is safe."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_LOGGER = logging.getLogger(__name__)

_DEFERRED = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def defer_signals(what: str) -> Iterator[Callable[[], bool]]:
    """Defer the first Ctrl-C or SIGTERM; yield a function that returns whether one came.

    It takes effect when the block ends without an error; a second one takes effect at once.
    Ignored signals stay ignored. Outside the main thread, where signals can't be caught, nothing
    is deferred.

    Args:
        what: what will be done before the end, for the log.
    """
    caught: list[int] = []
    former = {
        number: handler
        for number in _DEFERRED
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
