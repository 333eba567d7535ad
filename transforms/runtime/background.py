"""Run a function in a thread during a block."""

import threading
from collections.abc import Callable, Iterator


def in_background(call: Callable[[], None], stop: threading.Event) -> Iterator[None]:
    """Run ``call`` in a thread until the block ends; then set ``stop`` and wait for the thread."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
