"""The peers with a converted network: OpenVINO and ONNX Runtime."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch

from pipeline.bench.corpora import framed_ids
from pipeline.bench.systems.system import Setup, System, Vectors, fastest_batch_size
from transforms.models.tokenizer import load_tokenizer
from transforms.runtime.devices import best_dtype

Int64 = npt.NDArray[np.int64]
Embed = Callable[[Int64, Int64], Vectors]


class PooledNetwork(torch.nn.Module):
    """The network with mean pooling and normalization, from ids and mask to vectors."""

    def __init__(self, folder: str) -> None:
        from transformers import AutoModel

        super().__init__()
        self.network = AutoModel.from_pretrained(
            folder,
            dtype=torch.float32,
            attn_implementation="sdpa",
            add_pooling_layer=False,
            local_files_only=True,
        ).eval()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return unit vectors, float32 ``[rows, dim]``."""
        states = self.network(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        seen = attention_mask[..., None].to(states.dtype)
        return torch.nn.functional.normalize((states * seen).sum(1) / seen.sum(1), dim=1)


class Converted(System):
    """A converted network on padded batches of similar length.

    It runs either one batch after another with all cores, or one batch for each core, whichever is
    faster.
    """

    is_peer = True
    batch_size = 8
    streams = 1

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.embedders: dict[int, Embed] = {}
        self._pools: dict[int, ThreadPoolExecutor] = {}

    def prepare(self, texts: Sequence[str]) -> None:
        """Convert once; try batch sizes, and parallel batches, on some of the texts."""
        if not self.embedders:
            self._tokenizer = load_tokenizer(self.setup.model)
            network = PooledNetwork(self.setup.model.folder)
            for streams in sorted({1, torch.get_num_threads()}):
                self.embedders[streams] = self.convert(network, streams)
                self._pools[streams] = ThreadPoolExecutor(streams)
        found: list[tuple[float, int, int]] = []
        for streams in self.embedders:
            self.streams = streams
            found.append((*fastest_batch_size(self, texts), streams))
        _, self.batch_size, self.streams = min(found)
        self.note = (
            f"batches of {self.batch_size}, {self.streams} at once: the fastest of a warm-up"
        )

    def run(self, texts: Sequence[str]) -> Vectors | None:
        """Tokenize, pad and embed."""
        embed = self.embedders[self.streams]
        ids = framed_ids(self._tokenizer, texts, self.setup.model)
        vectors = np.empty((len(ids), self.setup.model.identity.dim), np.float32)

        def fill(batch: tuple[Int64, Int64, Int64]) -> int:
            rows, padded, mask = batch
            vectors[rows] = embed(padded, mask)
            return padded.size

        batches = padded_batches(ids, self.batch_size)
        self._positions = sum(self._pools[self.streams].map(fill, batches))
        return vectors

    def positions(self) -> int | None:
        """Return the positions of the padded batches."""
        return self._positions

    def convert(self, network: PooledNetwork, streams: int) -> Embed:
        """Return a function for so many threads at once, each with its share of the cores."""
        raise NotImplementedError


class OpenVino(Converted):
    """OpenVINO on the CPU, with bfloat16 as its inference precision."""

    name = "openvino-bf16"
    dtype = "bfloat16"
    packages = ("openvino",)

    def lacking(self) -> str | None:
        """Add to the missing packages that the CPU has no units for bfloat16."""
        missing = super().lacking()
        if missing is None and best_dtype("cpu") != "bfloat16":
            # OpenVINO takes the precision and then fails at the first texts.
            return "this CPU has no units for bfloat16"
        return missing

    def convert(self, network: PooledNetwork, streams: int) -> Embed:
        """Compile the network."""
        import openvino

        ids, mask = _example()
        converted = openvino.convert_model(
            network, example_input={"input_ids": ids, "attention_mask": mask}
        )
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": streams,
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        }
        compiled = openvino.compile_model(converted, "CPU", settings)
        own = threading.local()

        def embed(ids: Int64, mask: Int64) -> Vectors:
            if not hasattr(own, "request"):
                own.request = compiled.create_infer_request()
            vectors: Vectors = own.request.infer([ids, mask])[0]
            return vectors

        return embed


class OnnxRuntime(Converted):
    """ONNX Runtime on the CPU in float32."""

    name = "onnxruntime"
    packages = ("onnxruntime", "onnx", "onnxscript")

    def convert(self, network: PooledNetwork, streams: int) -> Embed:
        """Export the network once, and open a session."""
        import onnxruntime

        file = self.setup.work / "model.onnx"
        if not file.exists():
            _export(network, str(file))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads() // streams
        session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )

        def embed(ids: Int64, mask: Int64) -> Vectors:
            vectors: Vectors = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
            return vectors

        return embed


def export_states(folder: str, file: str) -> None:
    """Write a network without pooling as ONNX, in one file."""
    _export(_States(folder), file)


class _States(PooledNetwork):
    """The network alone, from ids and mask to the states of the last layer."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        found = self.network(input_ids=input_ids, attention_mask=attention_mask)
        states: torch.Tensor = found.last_hidden_state
        return states


def _export(network: PooledNetwork, file: str) -> None:
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    torch.onnx.export(
        network,
        _example(),
        file,
        dynamo=True,
        verbose=False,
        external_data=False,
        input_names=["input_ids", "attention_mask"],
        dynamic_shapes={"input_ids": free, "attention_mask": free},
    )


def padded_batches(ids: Sequence[Sequence[int]], size: int) -> Iterator[tuple[Int64, Int64, Int64]]:
    """Yield batches of ``size`` sequences, longest first, padded to the longest of each.

    Yields:
        The rows, their ids and the mask, int64 ``[rows, longest]``.
    """
    order = np.argsort([-len(one) for one in ids], kind="stable")
    for first in range(0, len(order), size):
        rows = order[first : first + size]
        padded = np.zeros((len(rows), len(ids[rows[0]])), np.int64)
        mask = np.zeros_like(padded)
        for place, row in enumerate(rows):
            padded[place, : len(ids[row])] = ids[row]
            mask[place, : len(ids[row])] = 1
        yield rows, padded, mask


def _example() -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.ones(2, 16, dtype=torch.int64)
    mask[1, 9:] = 0
    return mask * 5, mask
