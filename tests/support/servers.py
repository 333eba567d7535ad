"""Object stores for tests: an S3 server and an emulator of Google Cloud Storage.

``make servers`` builds them. Without them a test is skipped, or fails in CI.
"""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec

from tests.support.engines import wanted

BUCKET = "corpora"
_SECONDS_TO_START = 30.0


def binary(name: str) -> str:
    """Return the path of a server's program."""
    return str(wanted(name, "make servers builds it, with Go"))


def free_port() -> int:
    """Return a port that no process listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Run an S3 server with an empty bucket, and yield its URL; see `s3_settings`."""
    port = free_port()
    (folder / BUCKET).mkdir(parents=True)
    listen = f"127.0.0.1:{port}"
    user = ["--access", "albeam", "--secret", "albeam-secret"]
    how = ["--port", listen, "--quiet", "posix", str(folder)]
    with _running([binary("versitygw"), *user, *how], port):
        yield f"http://{listen}"


@contextmanager
def gcs_server() -> Iterator[str]:
    """Run an emulator of Google Cloud Storage in memory, and yield its URL; see `gcs_settings`."""
    port = free_port()
    listen = f"127.0.0.1:{port}"
    here = ["-host", "127.0.0.1", "-port", str(port), "-public-host", listen]
    there = ["-scheme", "http", "-external-url", f"http://{listen}", "-log-level", "error"]
    with _running([binary("fake-gcs-server"), "-backend", "memory", *here, *there], port):
        yield f"http://{listen}"


def s3_settings(url: str) -> dict[str, str]:
    """Return the environment variables with which boto and s3fs find a server."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "albeam",
        "AWS_SECRET_ACCESS_KEY": "albeam-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def gcs_settings(url: str) -> dict[str, str]:
    """Return the environment variables with which gcsfs finds an emulator without credentials."""
    return {
        "STORAGE_EMULATOR_HOST": url,
        "FSSPEC_GS_TOKEN": "anon",
    }


def forget_filesystems(protocol: str) -> None:
    """Make fsspec read its settings again, and create new filesystems."""
    from fsspec.config import conf, set_conf_env

    conf.clear()
    set_conf_env(conf)
    fsspec.get_filesystem_class(protocol).clear_instance_cache()


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        before = time.monotonic()
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
            assert time.monotonic() - before < _SECONDS_TO_START, f"{command[0]} does not listen"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)
