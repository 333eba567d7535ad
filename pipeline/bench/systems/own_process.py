"""The peers that need other versions of libraries: each in a process with its own environment."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.bench.systems.converted import export_states
from pipeline.bench.systems.system import Setup, System, Vectors, fastest_batch_size


class OwnProcess(System):
    """A peer of `peer_worker`, which gets the texts before the clock runs.

    Attributes:
        kind: what the worker calls the peer.
        environment: the peer's folder among the environments.
    """

    is_peer = True
    kind: str
    environment: str
    batch_size = 8
    worker = Path(__file__).with_name("peer_worker.py")

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._process: subprocess.Popen[str] | None = None
        self._sent: list[str] = []

    def lacking(self) -> str | None:
        """Return that its environment is missing."""
        if self.setup.placement.device != "cpu":
            return "measured on CPUs alone"
        if not self._python().is_file():
            return f"no environment {self._python().parent.parent}; make bench-peers"
        return None

    def prepare(self, texts: Sequence[str]) -> None:
        """Start the process, quantize, and try batch sizes on some of the texts."""
        if self._process is None:
            self._start()
        _, self.batch_size = fastest_batch_size(self, texts)
        self.note = f"batches of {self.batch_size}: the fastest of a warm-up"
        self._send_texts(texts)

    def run(self, texts: Sequence[str]) -> Vectors | None:
        """Embed in the other process."""
        self._send_texts(texts)
        output = self._work() / "vectors.npy"
        self._ask({"batch_size": self.batch_size, "output": str(output)})
        vectors: Vectors = np.load(output)
        return vectors

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()
            self._process = None

    def _start(self) -> None:
        self._work().mkdir()
        self.write_inputs(self._work())
        folder, threads = self.setup.model.folder, str(torch.get_num_threads())
        self._process = subprocess.Popen(
            # Without -P, modules beside the worker would hide libraries of the same names.
            [self._python(), "-P", self.worker, self.kind, folder, self._work(), threads],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self._work() / "log.txt").open("w"),
            text=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )

    def write_inputs(self, work: Path) -> None:
        """Write what the process needs beside the model."""

    def _send_texts(self, texts: Sequence[str]) -> None:
        if self._sent != list(texts):
            self._ask({"texts": list(texts)})
            self._sent = list(texts)

    def _ask(self, request: dict[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "its process ended"}
        if "error" in answer:
            raise RuntimeError(answer["error"])

    def _work(self) -> Path:
        return self.setup.work / self.name

    def _python(self) -> Path:
        return self.setup.peers.absolute() / self.environment / "bin" / "python"


class OpenVinoInt8(OwnProcess):
    """sentence-transformers on OpenVINO, quantized statically as it is documented."""

    name = "sentence-transformers-openvino-int8"
    dtype = "int8"
    kind, environment = "openvino-int8", "openvino"


class OnnxInt8(OwnProcess):
    """sentence-transformers on ONNX Runtime, quantized dynamically as it is documented."""

    name = "sentence-transformers-onnx-int8"
    dtype = "int8"
    kind, environment = "onnx-int8", "onnx"


class FastEmbed(OwnProcess):
    """fastembed with the model as one of its own, in float32."""

    name = "fastembed"
    packages = ("onnx", "onnxscript")
    kind, environment = "fastembed", "fastembed"

    def lacking(self) -> str | None:
        """Return that its environment, or what exports the network, is missing."""
        return System.lacking(self) or super().lacking()

    def write_inputs(self, work: Path) -> None:
        """Export the network without its pooling, which is fastembed's own."""
        export_states(self.setup.model.folder, str(work / "model.onnx"))
