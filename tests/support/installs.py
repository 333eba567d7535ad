"""Fresh environments that a wheel of albeam is installed into, and commands run in them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def install(wheel: Path, extra: str, folder: Path, compiled: bool = False) -> Path:
    """Install a wheel with an extra into a new environment, and return the folder of its programs.

    Skips the test without uv.
    """
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        pytest.skip("uv is not installed; make installs it")
    run(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
    python, limits = folder / "bin" / "python", ROOT / "constraints.txt"
    command = ["pip", "install", "--quiet", "--python", str(python)]
    command += ["--compile-bytecode"] if compiled else []
    run(uv, *command, "--constraint", str(limits), f"albeam[{extra}] @ {wheel.as_uri()}")
    return python.parent


def run(*command: str, code: int = 0) -> str:
    """Run a command without the checkout, and return its output, or its errors if it fails."""
    hidden = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    settings = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        command, cwd="/", env=settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if not code else done.stderr
