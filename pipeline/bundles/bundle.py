"""``albeam bundle``: write it, and ask it once as a user would."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from pipeline.command_line.console import json_text
from transforms.bundles.bundle import write_bundle
from transforms.bundles.options import BundleOptions
from transforms.bundles.summary import BundleSummary
from transforms.errors import AlbeamError, first_line

_QUESTION = "How is this bundle asked?"
_SECONDS = 600


def run(options: BundleOptions, tell: Callable[[str], None]) -> BundleSummary:
    """Write a bundle, and measure its first answer.

    Raises:
        BadInput: what `transforms.bundles.bundle.write_bundle` raises.
        AlbeamError: the bundle does not answer.
    """
    style = files("pipeline.serving.page").joinpath("style.css").read_text(encoding="utf-8")
    summary = write_bundle(options, json_text, style, tell)
    if options.web:
        return summary
    program = Path(summary.output)
    seconds, measured = ask_once(program if options.zipped else program / "ask.py")
    return replace(
        summary,
        first_answer_seconds=round(seconds, 3),
        processor_seconds=round(measured["processor_seconds"], 3),
        memory_bytes=int(measured["memory_bytes"]),
    )


def ask_once(program: Path, python: str = sys.executable) -> tuple[float, dict[str, float]]:
    """Return the seconds of one answer by a new process, and what that measured of itself.

    Args:
        program: the ``ask.py`` of a bundle, or its archive.
        python: the interpreter.

    Raises:
        AlbeamError: the bundle does not answer.
    """
    command = [python, "-I", str(program), _QUESTION, "--json", "--measure"]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        reason = first_line(RuntimeError(done.stderr.strip().splitlines()[-1]))
        raise AlbeamError("bundle", str(program), f"does not answer: {reason}", "Write it again")
    measured: dict[str, float] = json.loads(done.stderr.strip().splitlines()[-1])
    return seconds, measured
