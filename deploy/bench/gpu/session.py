"""A session of measurements: its steps, its deadline and its report, which is written each time."""

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.bench.gpu.report import as_markdown

#: The exit code of a session that had to be stopped in the middle of a step.
STOPPED = 3


@dataclass(frozen=True)
class Deadline:
    """The time at which a session must have ended.

    Attributes:
        seconds: how long the session may take in all.
        clock: returns the present time in seconds.
        started: the time of the start.
    """

    seconds: float
    clock: Callable[[], float] = time.monotonic
    started: float = field(default=0.0)

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> "Deadline":
        """Return the deadline of a session that starts now."""
        return cls(seconds, clock, clock())

    def left(self) -> float:
        """Return the seconds that are left; 0 after the end."""
        return max(0.0, self.started + self.seconds - self.clock())


@dataclass
class Session:
    """The steps that ran so far, and what they found.

    Attributes:
        deadline: when the last step must have ended.
        output: the JSON file; the Markdown table is written beside it.
        report: what was found, by the names of steps.
        show: receives a line for each step.
    """

    deadline: Deadline
    output: Path
    report: dict[str, Any]
    show: Callable[[str], None]

    def step(self, name: str, needs: float, work: Callable[[], Any]) -> Any:
        """Run a step and write the report; return what it found, None if it did not run.

        A step that has less than ``needs`` seconds left, or lacks a library, is skipped. One that
        fails is recorded, and the others still run.
        """
        left = self.deadline.left()
        found = None
        if left < needs:
            self.report["skipped"][name] = f"{left:.0f} s were left, and it needs {needs:.0f}"
        else:
            self.show(f"{name} ({left:.0f} s left)")
            started = self.deadline.clock()
            try:
                found = self.report[name] = work()
            except ImportError as error:
                self.report["skipped"][name] = (
                    f"{error.name} is missing" if error.name else str(error)
                )
            except Exception as error:
                self.report["failed"][name] = f"{type(error).__name__}: {error}"
            self.report["seconds"][name] = round(self.deadline.clock() - started, 1)
        for kind in ("skipped", "failed"):
            if name in self.report[kind]:
                self.show(f"{name} {kind}: {self.report[kind][name]}")
        self.write()
        return found

    def write(self) -> None:
        """Write the report as JSON and as Markdown."""
        self.output.write_text(json.dumps(self.report, indent=1) + "\n", encoding="utf-8")
        table = self.output.with_suffix(".md")
        table.write_text(as_markdown(self.report), encoding="utf-8")


def stop_at(
    deadline: Deadline, show: Callable[[str], None], end: Callable[[int], Any] = os._exit
) -> threading.Timer:
    """End the process at the deadline, wherever it is: a kernel that hangs can't be interrupted.

    The report then has the steps that ran before.
    """

    def stop() -> None:
        show("the time is over; the report has the steps that were done")
        end(STOPPED)

    timer = threading.Timer(deadline.left(), stop)
    timer.daemon = True
    timer.start()
    return timer


def empty_report(machine: dict[str, Any]) -> dict[str, Any]:
    """Return the report of a session that has run no step."""
    return {"machine": machine, "skipped": {}, "failed": {}, "seconds": {}}
