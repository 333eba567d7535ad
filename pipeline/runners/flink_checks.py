"""What a job needs on Flink: Java, the job server's jar, the cluster, the worker pool."""

import functools
import json
import os
import re
import socket
import subprocess
import urllib.request
import zipfile
from typing import Any
from urllib.parse import urlsplit

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    JobServerOptions,
    PipelineOptions,
)
from apache_beam.runners.portability.flink_runner import FlinkJarJobServer, FlinkRunner
from apache_beam.utils.subprocess_server import JavaJarServer
from apache_beam.version import __version__ as BEAM_VERSION

from transforms.errors import BadInput

_OLDEST_JAVA = 11
_SECONDS = 5.0


@functools.cache
def java_version(launcher: str = "java") -> int:
    """Return the major version of Java.

    Raises:
        BadInput: Java is missing or too old.
    """
    try:
        done = subprocess.run([launcher, "-version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BadInput(
            "Java",
            launcher,
            "can't be run, and the job server of Flink needs it",
            f"Install Java {_OLDEST_JAVA} or 17 (Debian: openjdk-17-jre-headless), or give "
            "--job-server-java-launcher FILE",
        ) from error
    found = re.search(r'version "(?:1\.)?([0-9]+)', done.stderr)
    version = int(found[1]) if found else 0
    if version < _OLDEST_JAVA:
        raise BadInput(
            "Java", version, "is too old for Flink", f"Install Java {_OLDEST_JAVA} or 17"
        )
    return version


def check_job_server(options: PipelineOptions) -> str:
    """Find the jar of the job server, download it if necessary, and check its version.

    Raises:
        BadInput: the jar can't be downloaded, or belongs to another version of Beam.
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
                "job server for Flink",
                flink.flink_version,
                f"can't be downloaded: {str(error).splitlines()[0]}",
                "Give --flink-job-server-jar FILE, or another --flink-version",
            ) from error
    version = jar_version(jar)
    expected = os.environ.get("ALBEAM_JOB_SERVER_VERSION", BEAM_VERSION)
    if version != expected:
        raise BadInput(
            "job server",
            jar,
            f"belongs to Beam {version}, but Beam {expected} is needed",
            f"Give the jar of Beam {expected}, or set ALBEAM_JOB_SERVER_VERSION to use another one",
        )
    return f"job server of Beam {version}: {jar}"


def jar_version(jar: str) -> str:
    """Return the version of Beam that a jar belongs to.

    Raises:
        BadInput: the file is not a jar of Beam's job server.
    """
    try:
        with zipfile.ZipFile(jar) as content:
            text = content.read("org/apache/beam/sdk/sdk.properties").decode()
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise BadInput(
            "job server", jar, f"is not a jar of Beam's job server: {error}", "Give that jar"
        ) from error
    found = re.search(r"^version=(\S+)", text, re.MULTILINE)
    return found[1] if found else "unknown"


def check_cluster(flink: Any) -> str:
    """Check that a cluster answers, has task slots, and fits the job server; describe it.

    Raises:
        BadInput: it does not.
    """
    master = flink.flink_master
    url = FlinkRunner.add_http_scheme(master).rstrip("/")
    try:
        with urllib.request.urlopen(f"{url}/overview", timeout=_SECONDS) as answer:
            overview: dict[str, Any] = json.load(answer)
    except (OSError, ValueError) as error:
        raise BadInput(
            "Flink cluster",
            master,
            f"does not answer: {error}",
            "Start the cluster, or give its REST address, such as localhost:8081",
        ) from error
    slots, managers = overview.get("slots-total", 0), overview.get("taskmanagers", 0)
    if not slots:
        raise BadInput("Flink cluster", master, "has no task slots", "Start a TaskManager")
    version = str(overview.get("flink-version"))
    minor = ".".join(version.split(".")[:2])
    # The name of a jar does not prove its version, so a given jar is trusted.
    if flink.flink_job_server_jar is None and minor != flink.flink_version:
        raise BadInput(
            "Flink cluster",
            master,
            f"has version {version}, but the job server is for Flink {flink.flink_version}",
            f"Give --flink-version {minor}, or a cluster of version {flink.flink_version}",
        )
    return f"Flink {version} at {master}: {managers} TaskManagers, {slots} slots"


def check_pool(address: str) -> str:
    """Check that a worker pool answers.

    Raises:
        BadInput: it does not.
    """
    host, _, port = address.removeprefix("http://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), _SECONDS).close()
    except (OSError, ValueError) as error:
        raise BadInput(
            "worker pool",
            address,
            f"does not answer: {error}",
            "Start one with python -m apache_beam.runners.worker.worker_pool_main "
            f"--service_port {port or 50000}",
        ) from error
    return f"worker pool at {address}"


def is_this_machine(address: str) -> bool:
    """Return whether an address means this machine."""
    host = urlsplit(FlinkRunner.add_http_scheme(address)).hostname
    return host == "localhost" or str(host).startswith("127.") or host == "::1"
