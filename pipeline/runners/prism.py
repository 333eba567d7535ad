"""The Prism engine: Beam's own local runner for bounded and unbounded jobs, a Go program."""

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

#: How long Prism stays without a job: it ends by itself where its parent could not end it.
IDLE_SECONDS = 120


class _JobServer(PrismJobServer):
    def prism_arguments(self, job_port: int) -> list[Any]:
        return [*super().prism_arguments(job_port), f"--idle_shutdown_timeout={IDLE_SECONDS}s"]


class Runner(PrismRunner):
    """Beam's, with a Prism for each pipeline, which does not outlive a killed command."""

    def default_job_server(self, options: PipelineOptions) -> StopOnExitJobServer:
        """Give the server of one pipeline's job."""
        return StopOnExitJobServer(_JobServer(options))


def check(options: PipelineOptions) -> list[str]:
    """Find Prism's program; gives a line that says where it is.

    It is never fetched: a run must not depend on what a network gives that day.

    Raises:
        BadInput: there is none.
    """
    prism = options.view_as(PrismRunnerOptions)
    if prism.prism_location is None:
        # Where Beam keeps it, and where `make engines` builds it.
        cached = Path(PrismJobServer.BIN_CACHE) / "prism"
        built = [cached, default_folder() / "engines" / f"prism-{BEAM_VERSION}"]
        there = [str(path) for path in built if path.is_file()]
        prism.prism_location = there[0] if there else shutil.which("prism")
    if prism.prism_location is None or not Path(prism.prism_location).is_file():
        where = "on PATH" if prism.prism_location is None else f"at {prism.prism_location!r}"
        raise BadInput(
            f"Prism is not {where}; build it with Go: "
            f"GOBIN={PrismJobServer.BIN_CACHE} {BUILD}, or give --prism-location FILE"
        )
    return [f"Prism: {prism.prism_location}"]
