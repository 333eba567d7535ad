"""The checks before a job is submitted to Flink; ``embed`` and ``doctor`` print the same line."""

import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer

import pytest
from apache_beam.version import __version__ as BEAM_VERSION

from deploy.flink.cluster import free_port
from pipeline.cli import main
from pipeline.runners import flink, flink_checks
from pipeline.runners.launch import check_runner, pipeline_options
from transforms.errors import BadInput


class _Overview(BaseHTTPRequestHandler):
    """Answers as a Flink 1.19 with two TaskManagers does."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        found = {"flink-version": "1.19.1", "taskmanagers": 2, "slots-total": 8}
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    """Where a cluster answers on this machine."""
    with TCPServer(("", 0), _Overview) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join()


def java(folder: Path, version: str = "17.0.9") -> str:
    """A program that says it is Java."""
    path = folder / f"java-{version}"
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def jar(folder: Path, version: str = BEAM_VERSION) -> str:
    """A job server as far as albeam looks into it."""
    path = folder / f"job-server-{version}.jar"
    with zipfile.ZipFile(path, "w") as content:
        content.writestr("org/apache/beam/sdk/sdk.properties", f"name=Beam\nversion={version}\n")
    return str(path)


def words_for(folder: Path) -> list[str]:
    return ["--job-server-java-launcher", java(folder), "--flink-job-server-jar", jar(folder)]


def test_what_is_missing_is_one_line_of_embed_and_a_remedy_of_doctor(
    corpus: Path, albert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], port: int
) -> None:
    whole, nobody, store = words_for(tmp_path), f"localhost:{free_port()}", tmp_path / "store"
    launcher, server = whole[:2], whole[2:]
    cases = [
        ([*server, "--job-server-java-launcher", "/no/java"], "Java /no/java: can't be run"),
        ([*server, "--job-server-java-launcher", java(tmp_path, "1.8.0_402")], "Java 8: is too"),
        ([*launcher, "--flink-job-server-jar", jar(tmp_path, "2.1.0")], "belongs to Beam 2.1.0"),
        ([*launcher, "--flink-job-server-jar", str(tmp_path / "gone.jar")], "is not a jar of"),
        ([*whole, "--flink-master", nobody], f"Flink cluster {nobody}: does not answer"),
        ([*whole, "--flink-master", f"localhost:{port}"], "where it runs its Python workers"),
        ([*whole, "--workers", "EXTERNAL", nobody], f"worker pool {nobody}: does not answer"),
    ]
    for words, message in cases:
        embed = ["embed", str(corpus), "--store", str(store), "--model", str(albert)]
        assert main([*embed, "--runner", "flink", *words]) == 2
        line = capsys.readouterr().err.strip()
        assert message in line
        assert "\n" not in line
        assert main(["doctor", "--json", "--model", str(albert), "--runner", "flink", *words]) == 1
        found = json.loads(capsys.readouterr().out)
        [runner] = [each for each in found["findings"] if each["name"] == "runner flink"]
        assert line == f"albeam: {runner['remedy']}"
    assert not store.exists()


def test_a_job_server_for_another_flink_is_not_fetched(port: int, tmp_path: Path) -> None:
    where = (f"--flink-master=localhost:{port}", "--flink-version=2.0")
    where = (*where, f"--job-server-java-launcher={java(tmp_path)}")
    with pytest.raises(BadInput) as caught:
        check_runner("flink", pipeline_options("flink", where))
    assert caught.value.option == "Flink cluster"
    assert "1.19.1" in caught.value.problem
    assert caught.value.remedy.startswith("Give --flink-version 1.19")


def test_a_worker_pool_of_a_remote_cluster_is_not_checked_from_here(
    port: int, tmp_path: Path
) -> None:
    pool = flink.workers_arguments(["EXTERNAL", f"localhost:{free_port()}"])
    words = (*words_for(tmp_path), *pool)
    # The same cluster by an address that is not this machine's own name for itself.
    elsewhere = pipeline_options("flink", (*words, f"--flink-master=0.0.0.0:{port}"))
    assert "of each TaskManager" in check_runner("flink", elsewhere)[-1]
    here = pipeline_options("flink", (*words, f"--flink-master=localhost:{port}"))
    with pytest.raises(BadInput) as caught:
        check_runner("flink", here)
    assert caught.value.option == "worker pool"


@pytest.mark.parametrize(
    ("address", "here"),
    [("localhost:1", True), ("127.0.0.1:1", True), ("http://[::1]:1", True), ("albeam:1", False)],
)
def test_addresses_of_this_machine(address: str, here: bool) -> None:
    assert flink_checks.is_this_machine(address) is here
