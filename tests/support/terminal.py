"""Commands of albeam in their own process, started as a terminal does."""

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
# The background jobs of a shell ignore interrupts.
_CODE = """\
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from pipeline.cli import main
sys.exit(main(sys.argv[1:]))
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start ``albeam ARGUMENTS`` so that it can be interrupted; its outputs are pipes of text."""
    return subprocess.Popen(
        [sys.executable, "-c", _CODE, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    )
