"""Progress of a running job: one live line on a terminal, plain lines elsewhere."""

import dataclasses
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline.command_line.console import duration, tell
from transforms.catalog.layout import SegmentPaths
from transforms.runtime.background import in_background
from transforms.runtime.counters import COUNTERS, Counters
from transforms.storage import filesystem

_TERMINAL_SECONDS = 1.0
_PLAIN_SECONDS = 5.0
_REMOTE_SECONDS = 10.0
#: Listings may take at most one part in so many of the time.
_LISTING_SHARE = 10
#: Until this time, the start-up distorts an estimate of the time left.
_EARLY_SECONDS = 10.0


@contextmanager
def show_progress(
    paths: SegmentPaths, parts: int, done: int, rows: int, last: str = "indexing"
) -> Iterator[None]:
    """Show the progress of a job until the block ends.

    Parts are counted by their markers, on any runner. Passages and tokens are those of this
    process; they appear only if the runner works in it.

    Args:
        paths: the paths of the segment.
        parts: number of parts of the segment.
        done: number of parts that are finished already.
        rows: number of input rows to embed, for an estimate before the first part is finished.
        last: what the job does when all parts are finished.
    """
    # `run_pipeline` replaces sys.stderr later; this is the real one.
    stream = sys.stderr
    console = Console(file=stream)
    line = ProgressLine(parts, done, rows, dataclasses.replace(COUNTERS), last)
    stop = threading.Event()
    period = _TERMINAL_SECONDS if console.is_terminal else _PLAIN_SECONDS

    def poll(live: Live | None) -> None:
        pause = period if filesystem.is_local(paths.store) else _REMOTE_SECONDS
        following = time.monotonic() + pause
        while not stop.wait(period):
            now = time.monotonic()
            if now >= following:
                with suppress(OSError):
                    finished_parts = len(paths.finished_parts())
                    line.parts_done = max(line.parts_done, finished_parts)
                # After a long listing, wait longer before the next one.
                took = time.monotonic() - now
                following = now + max(pause, _LISTING_SHARE * took)
            text = line.text(COUNTERS)
            if live is not None:
                live.update(_one_line(text))
            else:
                # Nobody reads it any more; the job goes on.
                with suppress(OSError):
                    tell(text, stream)

    if console.is_terminal:
        with Live(_one_line(line.text(COUNTERS)), console=console, transient=True) as live:
            yield from in_background(partial(poll, live), stop)
    else:
        yield from in_background(partial(poll, None), stop)


def _one_line(text: str) -> Text:
    """Return a text that a narrow terminal cuts, since many lines would move what is above them."""
    return Text(text, no_wrap=True, overflow="ellipsis")


class ProgressLine:
    """Text of the progress line, from counts and the time since the object was made."""

    def __init__(
        self, parts: int, done: int, rows: int, before: Counters, last: str = "indexing"
    ) -> None:
        self.parts_done, self._last = done, last
        self._parts, self._done_before = parts, done
        self._rows, self._before = rows, before
        self._start = time.monotonic()

    def text(self, now: Counters, seconds: float | None = None) -> str:
        """Return the line for the counts of this process, ``seconds`` after the start."""
        if seconds is None:
            seconds = time.monotonic() - self._start
        words = [f"{self.parts_done} of {self._parts} parts"]
        passages = now.passages - self._before.passages
        if passages:
            tokens = now.tokens - self._before.tokens
            words.append(f"{passages:,} passages")
            words.append(f"{tokens / max(seconds, 1e-9):,.0f} tokens/s")
        elif self.parts_done < self._parts:
            words.append("starting" if self.parts_done == self._done_before else "working")
        share = self._share(now.rows - self._before.rows)
        if self.parts_done == self._parts:
            words.append(self._last)
        elif share and seconds >= _EARLY_SECONDS:
            words.append(f"{duration(seconds / share - seconds)} left")
        words.append(f"{duration(seconds)} so far")
        return ", ".join(words)

    def _share(self, rows: int) -> float:
        """Return the finished share of the work: by parts, or by rows of this process if larger."""
        pending = self._parts - self._done_before
        by_parts = (self.parts_done - self._done_before) / pending if pending else 0.0
        by_rows = rows / self._rows if self._rows else 0.0
        return min(max(by_parts, by_rows), 1.0)
