"""A standalone Flink cluster on this machine: a JobManager, TaskManagers and a Python worker pool.

``python -m deploy.flink.cluster --lib FOLDER --folder FOLDER`` runs one until it is interrupted.
``make engines`` fetches the jars. `tests/end_to_end/test_engines.py` runs it, on Linux.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from pipeline.runners.flink import OPENS

_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_WORKER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
_START_SECONDS = 120.0


class Cluster:
    """JobManager, TaskManagers and worker pool as processes, which end with the context."""

    def __init__(
        self,
        lib: Path,
        folder: Path,
        managers: int = 2,
        slots: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Describe a cluster; ``__enter__`` starts it.

        Args:
            lib: the folder of Flink's jars.
            folder: for configuration, logs and checkpoints.
            managers: the number of TaskManagers.
            slots: task slots of each TaskManager.
            environment: variables for the Python workers.
        """
        self._lib, self._folder = lib, folder
        self._managers, self._slots = managers, slots
        self._environment = dict(os.environ if environment is None else environment)
        self.rest, self._rpc, self.pool = free_port(), free_port(), free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def master(self) -> str:
        """The value for ``--flink-master``."""
        return f"localhost:{self.rest}"

    @property
    def workers(self) -> str:
        """The address of the worker pool."""
        return f"localhost:{self.pool}"

    def __enter__(self) -> "Cluster":
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._start("jobmanager", self._java(_MANAGER, "jobmanager"))
            for number in range(self._managers):
                self.start_manager(f"taskmanager-{number}")
            self._start_pool()
            self.wait(self._managers)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start_manager(self, name: str) -> None:
        """Start a TaskManager."""
        self._start(name, self._java(_WORKER, name))

    def kill(self, name: str) -> None:
        """Kill a process, as the loss of a machine would."""
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes.pop(name).wait()

    def ask(self, path: str) -> Any:
        """Return an answer of Flink's REST interface."""
        with urllib.request.urlopen(f"http://{self.master}/{path}", timeout=5) as answer:
            return json.load(answer)

    def wait(self, managers: int) -> None:
        """Wait until so many TaskManagers have registered.

        Raises:
            RuntimeError: a process ended, or the TaskManagers did not register in time.
        """
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended with {process.returncode}: {self._log(name)}")
            try:
                if self.ask("overview")["taskmanagers"] >= managers:
                    return
            except OSError:
                pass
            time.sleep(0.5)
        raise RuntimeError(f"fewer than {managers} TaskManagers after {_START_SECONDS:.0f} s")

    def stop(self) -> None:
        """Stop all processes and the workers that they started."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    def _log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(errors="replace")[-500:]

    def _start(self, name: str, command: list[str]) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=self._environment
            )

    def _start_pool(self) -> None:
        pool = "apache_beam.runners.worker.worker_pool_main"
        # The pool starts its workers as `python`.
        folder = str(Path(sys.executable).parent)
        self._environment["PATH"] = f"{folder}:{self._environment.get('PATH', '')}"
        self._start("pool", [sys.executable, "-m", pool, "--service_port", str(self.pool)])
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("localhost", self.pool), 1).close()
            except OSError:
                time.sleep(0.2)
            else:
                return
        raise RuntimeError(f"no worker pool on port {self.pool}: {self._log('pool')}")

    def _java(self, main: str, name: str) -> list[str]:
        conf = self._folder / f"conf-{name}"
        conf.mkdir(exist_ok=True)
        (conf / "config.yaml").write_text(self._config(name), encoding="utf-8")
        memory = ["-Xmx512m", "-XX:MaxDirectMemorySize=512m"]
        return [
            "java", *memory, *OPENS, "-cp", f"{self._lib}/*", main, "--configDir", str(conf),
        ]  # fmt: skip

    def _config(self, name: str) -> str:
        state = self._folder.resolve().as_uri()
        values = {
            "jobmanager.rpc.address": "localhost",
            "jobmanager.rpc.port": self._rpc,
            "jobmanager.bind-host": "localhost",
            "rest.port": self.rest,
            "rest.bind-port": self.rest,
            "rest.bind-address": "localhost",
            "blob.server.port": 0,
            "io.tmp.dirs": str(self._folder / "tmp"),
            # Refused heartbeats reveal a lost TaskManager within seconds. The long timeout keeps a
            # slow one on a busy machine.
            "heartbeat.interval": 1000,
            "heartbeat.timeout": 60_000,
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": 100,
            "restart-strategy.fixed-delay.delay": "1 s",
            "state.checkpoints.dir": f"{state}/checkpoints",
            "taskmanager.host": "localhost",
            "taskmanager.bind-host": "localhost",
            "taskmanager.resource-id": name,
            "taskmanager.numberOfTaskSlots": self._slots,
            # Values that Flink's start scripts would compute.
            "taskmanager.cpu.cores": float(self._slots),
            "taskmanager.memory.framework.heap.size": "128mb",
            "taskmanager.memory.framework.off-heap.size": "128mb",
            "taskmanager.memory.jvm-metaspace.size": "256mb",
            "taskmanager.memory.jvm-overhead.min": "64mb",
            "taskmanager.memory.jvm-overhead.max": "64mb",
            "taskmanager.memory.task.heap.size": "256mb",
            "taskmanager.memory.task.off-heap.size": "64mb",
            "taskmanager.memory.managed.size": "128mb",
            "taskmanager.memory.network.min": "256mb",
            "taskmanager.memory.network.max": "256mb",
        }
        return "".join(f"{key}: {value}\n" for key, value in values.items())


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """Run a cluster until it is interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lib", type=Path, required=True, help="Flink's jars")
    parser.add_argument("--folder", type=Path, required=True, help="configuration and logs")
    parser.add_argument("--managers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=1)
    given = parser.parse_args()
    with Cluster(given.lib, given.folder, given.managers, given.slots) as cluster:
        print(
            f"--runner flink --flink-master {cluster.master} --workers EXTERNAL {cluster.workers}",
            flush=True,
        )
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)


if __name__ == "__main__":
    main()
