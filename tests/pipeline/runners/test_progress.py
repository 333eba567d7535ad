"""The text of the progress line."""

import io
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.command_line.console import duration
from pipeline.runners.progress import ProgressLine, show_progress
from transforms.catalog.layout import HEARTBEAT, SegmentPaths
from transforms.catalog.leases import renew_claims
from transforms.runtime.counters import Counters


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0s"), (59, "59s"), (75, "1m15s"), (3_725, "1h02m")]
)
def test_durations_have_hours_minutes_and_seconds(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_line_has_parts_passages_speed_and_time_left() -> None:
    line = ProgressLine(parts=4, done=0, rows=400, before=Counters(0, 30, 1_000, 50_000))
    assert line.text(Counters(0, 30, 1_000, 50_000), 3) == "0 of 4 parts, starting, 3s so far"
    # A tenth of the rows in ten seconds leaves ninety, however many passages they had.
    assert line.text(Counters(1, 70, 1_140, 54_000), 10) == (
        "0 of 4 parts, 140 passages, 400 tokens/s, 1m30s left, 10s so far"
    )
    line.parts_done = 2
    assert "30s left" in line.text(Counters(1, 70, 1_140, 54_000), 30)
    line.parts_done = 4
    assert line.text(Counters(1, 430, 1_400, 90_000), 100) == (
        "4 of 4 parts, 400 passages, 400 tokens/s, indexing, 1m40s so far"
    )


def test_a_job_without_an_index_says_what_it_does_last() -> None:
    line = ProgressLine(2, 0, 10, Counters(), "finishing")
    line.parts_done = 1
    assert line.text(Counters(), 5) == "1 of 2 parts, working, 5s so far"
    line.parts_done = 2
    assert line.text(Counters(), 6) == "2 of 2 parts, finishing, 6s so far"


def test_a_resumed_run_counts_its_own_parts() -> None:
    line = ProgressLine(parts=4, done=3, rows=100, before=Counters())
    assert line.text(Counters(1, 50, 50, 5_000), 10) == (
        "3 of 4 parts, 50 passages, 500 tokens/s, 10s left, 10s so far"
    )


def test_a_run_claims_its_segment_while_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.catalog.leases._HEARTBEAT_SECONDS", 0.02)
    paths = SegmentPaths(str(tmp_path), "one")
    heartbeat = Path(paths.root, HEARTBEAT)
    with renew_claims(paths):
        deadline = time.monotonic() + 30
        while not heartbeat.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert heartbeat.exists()


@pytest.mark.parametrize("columns", ["0", "1", "30", "10000"])
def test_the_line_is_one_line_on_any_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    # The variables by which rich takes a stream for a terminal of this width.
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", columns)
    with show_progress(SegmentPaths(str(tmp_path), "one"), 4, 0, 100):
        pass
    assert "0 of 4 parts" in screen.getvalue() or columns in ("0", "1")
    # More lines would move the screen up.
    assert screen.getvalue().count("\n") <= 2


def test_nobody_has_to_read_the_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = threading.Event()

    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            tried.set()
            raise BrokenPipeError

    failed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    monkeypatch.setattr("pipeline.runners.progress._PLAIN_SECONDS", 0.01)
    monkeypatch.setattr(sys, "stderr", Closed())
    with show_progress(SegmentPaths(str(tmp_path), "one"), 4, 0, 100):
        assert tried.wait(30)
    assert not failed
