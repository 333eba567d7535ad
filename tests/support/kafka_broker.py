"""A Kafka broker of one node, and Beam's reader of Kafka.

``make kafka`` downloads both. Without them a test is skipped, or fails if ``CI`` or
``ALBEAM_REQUIRE_ENGINES`` is set.
"""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam.io.kafka
import pytest

from deploy.flink.cluster import free_port
from tests.support.engines import wanted

#: Jobs are short here, so compiling them costs more than it saves.
_JAVA = ("java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp")
_SECONDS_TO_START = 90.0
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
log.dirs={logs}
log.retention.ms=-1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
"""
#: Options of the reader that are newer than Beam 2.62.
_NEWER = {
    "dynamic_read_poll_interval_seconds",
    "consumer_factory_fn_class",
    "consumer_factory_fn_params",
}


@contextmanager
def broker(folder: Path) -> Iterator[str]:
    """Run a broker with its data in a folder, and yield its address."""
    folder.mkdir()
    port, properties = free_port(), folder / "server.properties"
    content = _PROPERTIES.format(port=port, controller=free_port(), logs=folder / "data")
    properties.write_text(content, encoding="utf-8")
    disk = ["format", "--cluster-id", "albeam", "--config", str(properties)]
    subprocess.run(
        [*_JAVA, _jars(), "kafka.tools.StorageTool", *disk],
        check=True,
        timeout=_SECONDS_TO_START,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with _running("kafka.Kafka", str(properties), port=port, log=folder / "broker.log"):
        yield f"127.0.0.1:{port}"


@contextmanager
def reader(folder: Path) -> Iterator[str]:
    """Run the expansion service and worker of ``ReadFromKafka`` for one job; yield its address."""
    port = free_port()
    address = f"localhost:{port}"
    options = (
        *("--alsoStartLoopbackWorker", "--defaultEnvironmentType=EXTERNAL"),
        f"--defaultEnvironmentConfig={address}",
        # The worker has all classes; by default the job would upload all jars.
        f"--filesToStage={next(_folder().glob('slf4j-jdk14-*.jar'))}",
    )
    service = "org.apache.beam.sdk.expansion.service.ExpansionService"
    with _running(service, str(port), *options, port=port, log=folder / "reader.log"):
        yield address


def use_older_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``ReadFromKafka`` send only the options that the reader of Beam 2.62 knows."""
    known = apache_beam.io.kafka.ReadFromKafkaSchema.__annotations__.items()
    names = [(name, kind) for name, kind in known if name not in _NEWER]
    older: Any = NamedTuple("ReadFromKafkaSchema", names)  # type: ignore[misc]

    def schema(**fields: Any) -> Any:
        assert not any(fields[name] for name in _NEWER)
        return older(**{name: fields[name] for name, _ in names})

    monkeypatch.setattr(apache_beam.io.kafka, "ReadFromKafkaSchema", schema)


def _folder() -> Path:
    return wanted("kafka", "make kafka fetches it, with Maven and Java")


def _jars() -> str:
    return str(_folder() / "*")


@contextmanager
def _running(main: str, *args: str, port: int, log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen([*_JAVA, _jars(), main, *args], stdout=output, stderr=output)
    try:
        before = time.monotonic()
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, log.read_text(encoding="utf-8")[-2000:]
            assert time.monotonic() - before < _SECONDS_TO_START, f"{main} does not listen"
            time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait(10)
