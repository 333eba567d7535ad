"""The Flink runner: its defaults, its job server, and the checks before a job is submitted."""

import functools
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.runners.portability.flink_runner import FlinkJarJobServer, FlinkRunner
from apache_beam.runners.portability.job_server import JobServer, StopOnExitJobServer

from pipeline.runners.flink_checks import (
    check_cluster,
    check_job_server,
    check_pool,
    is_this_machine,
    java_version,
)
from transforms.errors import AlbeamError, BadInput

WORKERS = ("LOOPBACK", "EXTERNAL", "PROCESS", "DOCKER")
_LOCAL = ("[local]", "[auto]")
_CHECKPOINT_MILLIS = 10_000
#: Flink uses reflection on classes of the JDK, which Java 17 and later allow only with these flags.
OPENS = tuple(
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in (
        *("java.io", "java.lang", "java.lang.invoke", "java.lang.reflect", "java.math", "java.net"),
        *("java.nio", "java.text", "java.time", "java.util", "java.util.concurrent"),
        *("java.util.concurrent.atomic", "java.util.concurrent.locks", "sun.net.util"),
    )
)


class FlinkJobOptions(PipelineOptions):
    """Options of Beam's Flink job server that Beam's Python options lack; times are in ms."""

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        for name in (
            *("checkpointing_interval", "checkpoint_timeout_millis", "max_bundle_size"),
            *("max_bundle_time_mills", "number_of_execution_retries", "execution_retry_delay"),
        ):
            parser.add_argument(f"--{name}", type=int, default=None)
        for name in ("state_backend", "state_backend_storage_path", "savepoint_path"):
            parser.add_argument(f"--{name}", default=None)
        for name in ("object_reuse", "finish_bundle_before_checkpointing"):
            parser.add_argument(f"--{name}", action="store_true", default=None)


class Runner(FlinkRunner):
    """Beam's Flink runner, with one job server for all jobs of a process."""

    def default_job_server(self, options: PipelineOptions) -> JobServer:
        """Return the job server of this Flink master and jar; the first job starts it."""
        flink = options.view_as(FlinkRunnerOptions)
        flink.flink_master = self.add_http_scheme(flink.flink_master)
        servers = _servers()
        key = (flink.flink_master, flink.flink_job_server_jar, flink.flink_version)
        if key not in servers:
            servers[key] = StopOnExitJobServer(FlinkJarJobServer(options))
        return servers[key]


@functools.cache
def _servers() -> dict[tuple[str, ...], JobServer]:
    return {}


def set_defaults(options: PipelineOptions) -> None:
    """Set the options that a job of albeam needs on Flink, unless the user gave them."""
    job = options.view_as(FlinkJobOptions)
    if options.view_as(StandardOptions).streaming:
        if job.checkpointing_interval is None:
            job.checkpointing_interval = _CHECKPOINT_MILLIS
        # If a checkpoint cuts a bundle in two, its output waits in the stage for more input. A
        # stage that gets input only once has no more: the job would run and read nothing.
        job.finish_bundle_before_checkpointing = True
    flink, portable = options.view_as(FlinkRunnerOptions), options.view_as(PortableOptions)
    server = options.view_as(JobServerOptions)
    if flink.flink_master == "[auto]":
        flink.flink_master = "[local]"
    local = flink.flink_master in _LOCAL
    if portable.environment_type is None and local:
        portable.environment_type = "LOOPBACK"
    if portable.environment_type == "PROCESS" and not portable.environment_config:
        portable.environment_config = json.dumps({"command": _worker_command()})
    if local and portable.environment_type == "LOOPBACK" and flink.parallelism < 1:
        # The encoder already uses each core; more bundles at a time would only compete for them.
        flink.parallelism = 1
    if not server.job_server_jvm_properties:
        server.job_server_jvm_properties = list(OPENS)


def fail_at_once(options: PipelineOptions) -> None:
    """Let a small job fail at its first failure, unless the user said how often Flink retries.

    A cluster may restart a job a hundred times, and Beam sets that number for streams alone.
    """
    job = options.view_as(FlinkJobOptions)
    if job.number_of_execution_retries is None:
        options.view_as(StandardOptions).streaming = True
        job.number_of_execution_retries = 0


def _worker_command() -> str:
    installed = Path(sys.executable).with_name("albeam-worker")
    command = str(installed) if installed.is_file() else shutil.which("albeam-worker")
    if command is None:
        raise BadInput(
            "workers",
            "PROCESS",
            "need the program albeam-worker, which is not on PATH",
            "Install albeam at the same path on the machine of each TaskManager",
        )
    return command


def workers_arguments(words: list[str]) -> tuple[str, ...]:
    """Return the words of ``--workers`` as options for Beam.

    Raises:
        BadInput: the words are not a kind of workers with the address that it needs.
    """
    kind, *rest = words
    if kind not in WORKERS or len(rest) > 1:
        raise BadInput(
            "workers",
            " ".join(words),
            f"must be one of {', '.join(WORKERS)}, with at most one address",
            "Give for example EXTERNAL localhost:50000",
        )
    if kind == "EXTERNAL" and not (rest and re.fullmatch(r"\S+:[0-9]+", rest[0])):
        raise BadInput(
            "workers",
            " ".join(words),
            "needs the address of a worker pool",
            "Give HOST:PORT, such as localhost:50000",
        )
    if kind in ("LOOPBACK", "PROCESS") and rest:
        raise BadInput("workers", " ".join(words), "takes no address", f"Give {kind} alone")
    return (
        f"--environment_type={kind}",
        *(f"--environment_config={value}" for value in rest),
    )


def check(options: PipelineOptions) -> list[str]:
    """Check that a job can be submitted, and return a line for each thing that was found.

    Raises:
        BadInput: Java, the jar of the job server, the cluster or the worker pool is missing.
    """
    flink, portable = options.view_as(FlinkRunnerOptions), options.view_as(PortableOptions)
    launcher = options.view_as(JobServerOptions).job_server_java_launcher
    lines = [f"Java {java_version(launcher)}"]
    local = flink.flink_master in _LOCAL
    if not local:
        lines.append(check_cluster(flink))
        if portable.environment_type is None:
            raise BadInput(
                "Flink cluster",
                flink.flink_master,
                "does not say where it runs its Python workers",
                "Give --workers EXTERNAL HOST:PORT (a worker pool on the machine of each "
                "TaskManager), PROCESS or DOCKER IMAGE",
            )
    lines.append(check_job_server(options))
    if portable.environment_type == "EXTERNAL":
        pool = str(portable.environment_config)
        # `localhost` then means the machine of each TaskManager, which is not visible from here.
        elsewhere = is_this_machine(pool) and not (local or is_this_machine(flink.flink_master))
        lines.append(
            f"worker pools at {pool} of each TaskManager" if elsewhere else check_pool(pool)
        )
    return lines


def stop_servers() -> None:
    """Stop all job servers of this process."""
    for server in _servers().values():
        server.stop()
    _servers().clear()


def failure(message: str) -> AlbeamError | None:
    """Return the error for a message of Flink that albeam knows a remedy for, else None."""
    if "NoResourceAvailableException" in message:
        return AlbeamError(
            "Flink cluster", None, "has too few free slots", "Add TaskManagers, or wait"
        )
    return None
