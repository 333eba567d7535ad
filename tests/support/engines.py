"""The programs of Prism and Flink, and the options of jobs that run on them."""

import os
from pathlib import Path

import pytest
from apache_beam.version import __version__ as BEAM_VERSION

#: The folder of ``make engines``; tests change the home folder.
ENGINES = Path(os.environ.get("ALBEAM_ENGINES") or Path.home() / ".cache" / "albeam" / "engines")


def prism_args() -> tuple[str, ...]:
    """Return Beam's options for Prism; skip the test if Prism is missing."""
    return (f"--prism_location={wanted(f'prism-{BEAM_VERSION}')}",)


def flink_args(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Return Beam's options for Flink; skip the test if Flink is missing."""
    version = wanted("job-server.version").read_text(encoding="utf-8").strip()
    monkeypatch.setenv("ALBEAM_JOB_SERVER_VERSION", version)
    return (f"--flink_job_server_jar={wanted('job-server.jar')}",)


def flink_lib() -> Path:
    """Return the folder of Flink's jars."""
    return wanted("lib")


def wanted(name: str, remedy: str = "make engines builds it, with Go, Maven and Java") -> Path:
    """Return a file or folder of the engines; if it is missing, skip the test, or fail in CI."""
    path = ENGINES / name
    if not path.exists():
        message = f"{path} is missing; {remedy}"
        if os.environ.get("CI") or os.environ.get("ALBEAM_REQUIRE_ENGINES"):
            pytest.fail(message)
        pytest.skip(message)
    return path
