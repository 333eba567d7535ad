"""Leases: files that keep a vacuum from removing what a run needs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from transforms.catalog.layout import SegmentPaths
from transforms.errors import Conflict
from transforms.runtime.background import in_background
from transforms.storage import filesystem

_BEGAN = "began"


def began(paths: SegmentPaths, base: int, mode: str) -> str:
    """A file that says that a run under way needs a snapshot, for a vacuum to see."""
    return filesystem.join(paths.changes, f"{base:08d}-{mode}-{_BEGAN}")


def needed_base(path: str) -> int:
    """The snapshot that a file of the store says is needed; 0 for any other file."""
    folder, _, name = path.rpartition("/")
    number = name.split("-")[0]
    says = name.endswith("-" + _BEGAN) and folder.endswith("/changes")
    return int(number) if says and number.isdecimal() else 0


@contextmanager
def claiming(*segments: SegmentPaths) -> Iterator[None]:
    """Say, until the block ends, once a minute that segments are in work, for a vacuum to see."""
    stop = threading.Event()

    def claim() -> None:
        while not stop.wait(_HEARTBEAT_SECONDS):
            for paths in segments:
                with suppress(OSError, Conflict):
                    paths.claim()

    yield from in_background(claim, stop)


#: So often a run says that it is still there, for a vacuum to see.
_HEARTBEAT_SECONDS = 60.0
