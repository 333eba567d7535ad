"""Run a function in a thread beside a block."""

import threading
from collections.abc import Callable, Iterator


def in_background(call: Callable[[], None], stop: threading.Event) -> Iterator[None]:
    """Run ``call`` in a thread until the block ends; then ``stop`` is set and it is awaited."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
