"""Where the engines are that some tests want, and what their jobs are started with."""

import os
from pathlib import Path

import pytest
from apache_beam.version import __version__ as BEAM_VERSION

#: Where ``make engines`` puts them; tests have another home.
ENGINES = Path(os.environ.get("ALBEAM_ENGINES") or Path.home() / ".cache" / "albeam" / "engines")


def prism_args() -> tuple[str, ...]:
    """Beam's options for Prism; the test is skipped where there is none."""
    return (f"--prism_location={wanted(f'prism-{BEAM_VERSION}')}",)


def flink_args(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Beam's options for Flink; the test is skipped where there is none."""
    version = wanted("job-server.version").read_text(encoding="utf-8").strip()
    monkeypatch.setenv("ALBEAM_JOB_SERVER_VERSION", version)
    return (f"--flink_job_server_jar={wanted('job-server.jar')}",)


def flink_lib() -> Path:
    """The folder of Flink's jars."""
    return wanted("lib")


def wanted(name: str, remedy: str = "make engines builds it, with Go, Maven and Java") -> Path:
    """A file or folder of the engines; where it is missing, the test is skipped, or fails in CI."""
    path = ENGINES / name
    if not path.exists():
        message = f"{path} is missing; {remedy}"
        if os.environ.get("CI") or os.environ.get("ALBEAM_REQUIRE_ENGINES"):
            pytest.fail(message)
        pytest.skip(message)
    return path
