"""The Flink engine: its defaults, its job server, and what has to be there before a job is sent."""

import functools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.runners.portability.flink_runner import FlinkJarJobServer, FlinkRunner
from apache_beam.runners.portability.job_server import JobServer, StopOnExitJobServer
from apache_beam.utils.subprocess_server import JavaJarServer
from apache_beam.version import __version__ as BEAM_VERSION

from transforms.errors import AlbeamError, BadInput

WORKERS = ("LOOPBACK", "EXTERNAL", "PROCESS", "DOCKER")
_LOCAL = ("[local]", "[auto]")
_OLDEST_JAVA = 11
_SECONDS = 5.0
_CHECKPOINT_MILLIS = 10_000
#: Flink reflects into the JDK's own classes, which Java 17 and later allow only where it is told.
OPENS = tuple(
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in (
        *("java.io", "java.lang", "java.lang.invoke", "java.lang.reflect", "java.math", "java.net"),
        *("java.nio", "java.text", "java.time", "java.util", "java.util.concurrent"),
        *("java.util.concurrent.atomic", "java.util.concurrent.locks", "sun.net.util"),
    )
)


class FlinkJobOptions(PipelineOptions):
    """Options of Beam's Flink job server that the Python side does not know; times in ms."""

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
    """Beam's Flink runner; all jobs of a process share one job server."""

    def default_job_server(self, options: PipelineOptions) -> JobServer:
        """The job server of this master and jar, started with the first job."""
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
    """What a job of albeam's needs on Flink, where it was not said otherwise."""
    job = options.view_as(FlinkJobOptions)
    if options.view_as(StandardOptions).streaming:
        if job.checkpointing_interval is None:
            job.checkpointing_interval = _CHECKPOINT_MILLIS
        # What a bundle gave that a checkpoint cut in two stays with its stage until that stage has
        # more input, which one that is fed once never has: the job would run and read nothing.
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
        # One process, whose encoder has a batch on each core; more bundles at once only contend.
        flink.parallelism = 1
    if not server.job_server_jvm_properties:
        server.job_server_jvm_properties = list(OPENS)


def _worker_command() -> str:
    beside = Path(sys.executable).with_name("albeam-worker")
    command = str(beside) if beside.is_file() else shutil.which("albeam-worker")
    if command is None:
        raise BadInput(
            "workers PROCESS are started as albeam-worker, which is not on PATH; install albeam "
            "on each TaskManager's machine at the same place"
        )
    return command


def workers_arguments(words: list[str]) -> tuple[str, ...]:
    """``--workers``' words as Beam's options.

    Raises:
        BadInput: they are not a kind of workers and, where it has one, its address.
    """
    kind, *rest = words
    if kind not in WORKERS or len(rest) > 1:
        raise BadInput(
            f"workers {' '.join(words)!r} is not {', '.join(WORKERS)}; "
            "for example --workers EXTERNAL localhost:50000"
        )
    if kind == "EXTERNAL" and not (rest and re.fullmatch(r"\S+:[0-9]+", rest[0])):
        raise BadInput("workers EXTERNAL needs the address of a pool, such as localhost:50000")
    if kind in ("LOOPBACK", "PROCESS") and rest:
        raise BadInput(f"workers {kind} takes no address, and {rest[0]!r} is given")
    return (
        f"--environment_type={kind}",
        *(f"--environment_config={value}" for value in rest),
    )


def check(options: PipelineOptions) -> list[str]:
    """See that a job can be sent; gives a line for each thing that is there.

    Raises:
        BadInput: Java, the job server's jar, the cluster or the worker pool is missing.
    """
    flink, portable = options.view_as(FlinkRunnerOptions), options.view_as(PortableOptions)
    launcher = options.view_as(JobServerOptions).job_server_java_launcher
    said = [f"Java {java_version(launcher)}"]
    local = flink.flink_master in _LOCAL
    if not local:
        said.append(_cluster(flink))
        if portable.environment_type is None:
            raise BadInput(
                "on a Flink cluster albeam must know where its Python workers are; give --workers "
                "EXTERNAL HOST:PORT (a pool beside each TaskManager), PROCESS or DOCKER IMAGE"
            )
    said.append(job_server(options))
    if portable.environment_type == "EXTERNAL":
        pool = str(portable.environment_config)
        beside = _is_here(pool) and not local and not _is_here(flink.flink_master)
        # `localhost` is then each TaskManager's own machine, which can't be seen from here.
        said.append(f"worker pools at {pool} of each TaskManager" if beside else _pool(pool))
    return said


def _is_here(address: str) -> bool:
    """Whether an address is this machine's own."""
    host = urlsplit(FlinkRunner.add_http_scheme(address)).hostname
    return host == "localhost" or str(host).startswith("127.") or host == "::1"


@functools.cache
def java_version(launcher: str = "java") -> int:
    """The major version of Java.

    Raises:
        BadInput: there is none, or it is too old.
    """
    try:
        done = subprocess.run([launcher, "-version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BadInput(
            f"Flink's job server needs Java, and {launcher!r} can't be run; install Java "
            f"{_OLDEST_JAVA} or 17 (Debian: openjdk-17-jre-headless), or give "
            "--job_server_java_launcher"
        ) from error
    found = re.search(r'version "(?:1\.)?([0-9]+)', done.stderr)
    version = int(found[1]) if found else 0
    if version < _OLDEST_JAVA:
        raise BadInput(f"Java {version} is too old for Flink; install Java {_OLDEST_JAVA} or 17")
    return version


def job_server(options: PipelineOptions) -> str:
    """Find the job server's jar, fetch it where it is not there yet, and see whether it fits Beam.

    Raises:
        BadInput: it can't be had, or is of another Beam.
    """
    flink = options.view_as(FlinkRunnerOptions)
    given = flink.flink_job_server_jar
    jar = given
    if given is None or "://" in given:
        cache = options.view_as(JobServerOptions).jar_cache_dir
        try:
            url = given or FlinkJarJobServer(options).path_to_jar()
            jar = JavaJarServer.local_jar(url, cache)
        except (RuntimeError, OSError, ValueError) as error:
            raise BadInput(
                f"Beam's job server for Flink {flink.flink_version} can't be fetched: "
                f"{str(error).splitlines()[0]}; give one with --flink-job-server-jar, or another "
                "--flink-version"
            ) from error
    version = jar_version(jar)
    meant = os.environ.get("ALBEAM_JOB_SERVER_VERSION", BEAM_VERSION)
    if version != meant:
        raise BadInput(
            f"job server {jar!r} is of Beam {version}, and Beam {BEAM_VERSION} is installed; give "
            "the jar of that version, or set ALBEAM_JOB_SERVER_VERSION where the other is meant"
        )
    return f"job server of Beam {version}: {jar}"


def jar_version(jar: str) -> str:
    """The version of Beam that a jar was made from.

    Raises:
        BadInput: it is not a jar with Beam in it.
    """
    try:
        with zipfile.ZipFile(jar) as content:
            text = content.read("org/apache/beam/sdk/sdk.properties").decode()
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise BadInput(f"{jar!r} is no job server of Beam's: {error}; give its jar") from error
    found = re.search(r"^version=(\S+)", text, re.MULTILINE)
    return found[1] if found else "unknown"


def _cluster(flink: Any) -> str:
    master = flink.flink_master
    url = FlinkRunner.add_http_scheme(master).rstrip("/")
    try:
        with urllib.request.urlopen(f"{url}/overview", timeout=_SECONDS) as answer:
            found: dict[str, Any] = json.load(answer)
    except (OSError, ValueError) as error:
        raise BadInput(
            f"no Flink answers at {master!r}: {error}; start the cluster, or name its REST "
            "address, such as localhost:8081"
        ) from error
    slots, managers = found.get("slots-total", 0), found.get("taskmanagers", 0)
    if not slots:
        raise BadInput(f"the Flink at {master!r} has no task slots; start a TaskManager")
    version = str(found.get("flink-version"))
    minor = ".".join(version.split(".")[:2])
    # A jar that was given may be of any Flink; its name is not to be trusted.
    if flink.flink_job_server_jar is None and minor != flink.flink_version:
        raise BadInput(
            f"the Flink at {master!r} is {version}, and a job server for {flink.flink_version} "
            f"would be fetched; give --flink-version {minor}, or a cluster of that version"
        )
    return f"Flink {version} at {master}: {managers} TaskManagers, {slots} slots"


def _pool(address: str) -> str:
    host, _, port = address.removeprefix("http://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), _SECONDS).close()
    except (OSError, ValueError) as error:
        raise BadInput(
            f"no worker pool answers at {address!r}: {error}; start one with python -m "
            f"apache_beam.runners.worker.worker_pool_main --service_port {port or 50000}"
        ) from error
    return f"worker pool at {address}"


def stop_servers() -> None:
    """Stop the job servers that this process has started."""
    for server in _servers().values():
        server.stop()
    _servers().clear()


def failure(message: str) -> AlbeamError | None:
    """What Flink's message says that albeam knows a remedy for, if anything."""
    if "NoResourceAvailableException" in message:
        return AlbeamError("the Flink cluster has too few free slots; add TaskManagers, or wait")
    return None
