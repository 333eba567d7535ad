"""Leases: files that stop a vacuum from removing what a run needs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from transforms.catalog.layout import SegmentPaths
from transforms.errors import Conflict
from transforms.runtime.background import in_background
from transforms.storage import filesystem

_SUFFIX = "began"
#: A vacuum keeps segments that were claimed more recently than its ``--older-than``.
_HEARTBEAT_SECONDS = 60.0


def lease_url(paths: SegmentPaths, base: int, mode: str) -> str:
    """Return the URL of the lease with which an unfinished run protects the snapshot ``base``."""
    return filesystem.join(paths.changes, f"{base:08d}-{mode}-{_SUFFIX}")


def leased_snapshot(path: str) -> int:
    """Return the snapshot that a file of the store leases; 0 if the file is not a lease."""
    folder, _, name = path.rpartition("/")
    number = name.split("-")[0]
    is_lease = name.endswith("-" + _SUFFIX) and folder.endswith("/changes")
    return int(number) if is_lease and number.isdecimal() else 0


@contextmanager
def renew_claims(*segments: SegmentPaths) -> Iterator[None]:
    """Claim segments once a minute until the block ends, so that a vacuum keeps their files."""
    stop = threading.Event()

    def claim() -> None:
        while not stop.wait(_HEARTBEAT_SECONDS):
            for paths in segments:
                with suppress(OSError, Conflict):
                    paths.claim()

    yield from in_background(claim, stop)
