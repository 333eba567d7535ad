"""The Prism runner: Beam's local runner for bounded and unbounded jobs, a program in Go."""

import shutil
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions, PrismRunnerOptions
from apache_beam.runners.portability.job_server import StopOnExitJobServer
from apache_beam.runners.portability.prism_runner import PrismJobServer, PrismRunner
from apache_beam.version import __version__ as BEAM_VERSION

from transforms.errors import BadInput
from transforms.storage.file_cache import default_folder

BUILD = f"go install github.com/apache/beam/sdks/v2/go/cmd/prism@v{BEAM_VERSION}"

#: Prism ends after this time without a job, if its parent could not end it.
IDLE_SECONDS = 120


class _JobServer(PrismJobServer):
    def prism_arguments(self, job_port: int) -> list[Any]:
        return [*super().prism_arguments(job_port), f"--idle_shutdown_timeout={IDLE_SECONDS}s"]


class Runner(PrismRunner):
    """Beam's Prism runner, with one Prism per pipeline that ends even if the command is killed."""

    def default_job_server(self, options: PipelineOptions) -> StopOnExitJobServer:
        """Return the job server of one pipeline."""
        return StopOnExitJobServer(_JobServer(options))


def check(options: PipelineOptions) -> list[str]:
    """Find the program of Prism, and return a line with its path.

    It is never downloaded: a run must not depend on the network.

    Raises:
        BadInput: there is no such program.
    """
    prism = options.view_as(PrismRunnerOptions)
    if prism.prism_location is None:
        # Beam's cache, and the folder of `make engines`.
        cached = Path(PrismJobServer.BIN_CACHE) / "prism"
        built = [cached, default_folder() / "engines" / f"prism-{BEAM_VERSION}"]
        existing = [str(path) for path in built if path.is_file()]
        prism.prism_location = existing[0] if existing else shutil.which("prism")
    if prism.prism_location is None or not Path(prism.prism_location).is_file():
        raise BadInput(
            "Prism",
            prism.prism_location,
            "is not on PATH" if prism.prism_location is None else "is not a file",
            f"Build it with Go: GOBIN={PrismJobServer.BIN_CACHE} {BUILD}, or give "
            "--prism-location FILE",
        )
    return [f"Prism: {prism.prism_location}"]
