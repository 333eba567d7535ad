"""The peers of the benchmark: the same weights in other hands, each at its best setting."""

import logging
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import torch

from pipeline.bench.corpora import framed_ids
from pipeline.bench.systems import Bench, System, Vectors, counted_positions
from transforms.models.tokenizer import load_tokenizer
from transforms.runtime.devices import best_dtype


class SentenceTransformers(System):
    """``SentenceTransformer(folder).encode(texts)`` as its documentation shows it, in float32.

    A folder of float16 weights would be computed in float16, which on a CPU is slower.
    """

    name = "sentence-transformers"
    packages = ("sentence_transformers",)
    batch_size: int | None = None

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.options: dict[str, Any] = {"dtype": "float32"}

    def prepare(self, texts: Sequence[str]) -> None:  # noqa: ARG002
        """Load."""
        from sentence_transformers import SentenceTransformer

        self.peer: Any = SentenceTransformer(
            self.bench.model.folder,
            device=self.bench.placement.device,
            model_kwargs=self.options,
        )
        self.dtype = str(next(self.peer.parameters()).dtype).removeprefix("torch.")
        self._positions = 0

    def run(self, texts: Sequence[str]) -> Vectors | None:
        """Encode."""
        size: dict[str, Any] = {} if self.batch_size is None else {"batch_size": self.batch_size}
        with counted_positions([self.peer]) as positions:
            vectors = self.peer.encode(list(texts), show_progress_bar=False, **size)
        self._positions = sum(positions)
        return np.asarray(vectors, np.float32)

    def positions(self) -> int | None:
        """As its first linear layer saw them."""
        return self._positions


class SentenceTransformersBest(SentenceTransformers):
    """In the quickest dtype, attention and batch size of those that it offers."""

    name = "sentence-transformers-best"

    def prepare(self, texts: Sequence[str]) -> None:
        """Try what it offers on some of these texts."""
        dtypes = dict.fromkeys([best_dtype(self.bench.placement.device), "bfloat16", "float32"])
        found: list[tuple[float, int, dict[str, Any]]] = []
        failure: Exception | None = None
        for dtype in dtypes:
            for attention in self._attentions(dtype):
                self.options = {"dtype": dtype, "attn_implementation": attention}
                try:
                    super().prepare(texts)
                    found.append((*_quickest(self, texts), self.options))
                except Exception as error:
                    failure = error
        if failure is not None and not found:
            raise failure
        _, self.batch_size, self.options = min(found, key=lambda tried: tried[0])
        super().prepare(texts)
        self.note = (
            f"{self.options['attn_implementation']} attention, batches of {self.batch_size}: "
            "the quickest of a warm-up"
        )

    def _attentions(self, dtype: str) -> list[str]:
        flash = find_spec("flash_attn") is not None and self.bench.placement.device == "cuda"
        return ["sdpa", "eager", *(["flash_attention_2"] if flash and dtype != "float32" else [])]


class BeamEmbeddings(System):
    """Beam's ``MLTransform`` with ``SentenceTransformerEmbeddings``, by its direct runner."""

    name = "beam"
    packages = ("sentence_transformers",)
    starts = True

    def __init__(self, best: SentenceTransformersBest) -> None:
        super().__init__(best.bench)
        self._best = best

    def prepare(self, texts: Sequence[str]) -> None:
        """Take over the settings that are best for sentence-transformers alone."""
        self._rows = min(len(texts), 4096)
        size = self._best.batch_size
        self.dtype = self._best.dtype
        self.note = (
            f"start-up subtracted: a run on two texts; elements in batches of {self._rows}, "
            f"encoded in batches of {size}"
        )

    def run(self, texts: Sequence[str]) -> Vectors | None:
        """Run a pipeline of its own; the vectors in the order of the texts."""
        from apache_beam.ml.transforms.base import MLTransform
        from apache_beam.ml.transforms.embeddings.huggingface import SentenceTransformerEmbeddings
        from apache_beam.runners.portability.fn_api_runner import FnApiRunner

        embeddings = SentenceTransformerEmbeddings(
            self.bench.model.folder,
            columns=["text"],
            min_batch_size=self._rows,
            max_batch_size=self._rows,
            load_model_args={
                "device": self.bench.placement.device,
                "model_kwargs": self._best.options,
            },
            inference_args={"batch_size": self._best.batch_size, "show_progress_bar": False},
        )
        _COLLECTED.clear()
        with tempfile.TemporaryDirectory() as artifacts, beam.Pipeline(FnApiRunner()) as pipeline:
            _ = (
                pipeline
                | beam.Create([{"id": n, "text": text} for n, text in enumerate(texts)])
                | MLTransform(write_artifact_location=artifacts).with_transform(embeddings)
                | beam.Map(_collect)
            )
        return np.array([_COLLECTED[number] for number in range(len(texts))], np.float32)

    def positions(self) -> int | None:
        """Those of sentence-transformers, which sorts and pads the same batches in the same way."""
        return self._best.positions()


#: What the pipeline's last stage saw; the direct runner works in this process.
_COLLECTED: dict[int, Any] = {}


def _collect(row: Any) -> None:
    row = row if isinstance(row, dict) else row._asdict()
    _COLLECTED[row["id"]] = row["text"]


Embed = Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], Vectors]


class _Converted(System):
    """A converted network on padded batches of neighbouring length.

    One batch after another, all cores on each, or a batch a core: whichever is quicker.
    """

    batch_size = 8
    streams = 1

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self._ways: dict[int, Embed] = {}
        self._pools: dict[int, ThreadPoolExecutor] = {}

    def prepare(self, texts: Sequence[str]) -> None:
        """Convert once; try batch sizes, and batches side by side, on some of these texts."""
        if not self._ways:
            self._tokenizer = load_tokenizer(self.bench.model)
            network = _PooledNetwork(self.bench.model.folder)
            for streams in sorted({1, torch.get_num_threads()}):
                self._ways[streams] = self._convert(network, streams)
                self._pools[streams] = ThreadPoolExecutor(streams)
        found: list[tuple[float, int, int]] = []
        for streams in self._ways:
            self.streams = streams
            found.append((*_quickest(self, texts), streams))
        _, self.batch_size, self.streams = min(found)
        self.note = (
            f"batches of {self.batch_size}, {self.streams} at once: the quickest of a warm-up"
        )

    def run(self, texts: Sequence[str]) -> Vectors | None:
        """Tokenize, pad and embed."""
        embed = self._ways[self.streams]
        ids = framed_ids(self._tokenizer, texts, self.bench.model)
        vectors = np.empty((len(ids), self.bench.model.identity.dim), np.float32)

        def fill(batch: tuple[npt.NDArray[np.int64], ...]) -> int:
            rows, padded, mask = batch
            vectors[rows] = embed(padded, mask)
            return padded.size

        batches = padded_batches(ids, self.batch_size)
        self._positions = sum(self._pools[self.streams].map(fill, batches))
        return vectors

    def positions(self) -> int | None:
        """As padded."""
        return self._positions

    def _convert(self, network: "_PooledNetwork", streams: int) -> Embed:
        """A function that so many threads call at once, each with its share of the cores."""
        raise NotImplementedError


class OpenVino(_Converted):
    """OpenVINO on the CPU, with bfloat16 as its inference precision."""

    name = "openvino-bf16"
    dtype = "bfloat16"
    packages = ("openvino",)

    def _convert(self, network: "_PooledNetwork", streams: int) -> Embed:
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

        def embed(ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Vectors:
            if not hasattr(own, "request"):
                own.request = compiled.create_infer_request()
            vectors: Vectors = own.request.infer([ids, mask])[0]
            return vectors

        return embed


class OnnxRuntime(_Converted):
    """ONNX Runtime on the CPU in float32."""

    name = "onnxruntime"
    packages = ("onnxruntime", "onnx", "onnxscript")

    def _convert(self, network: "_PooledNetwork", streams: int) -> Embed:
        import onnxruntime

        file = self.bench.work / "model.onnx"
        if not file.exists():
            _export(network, str(file))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads() // streams
        session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )

        def embed(ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Vectors:
            vectors: Vectors = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
            return vectors

        return embed


def _export(network: "_PooledNetwork", file: str) -> None:
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    torch.onnx.export(
        network,
        _example(),
        file,
        dynamo=True,
        verbose=False,
        input_names=["input_ids", "attention_mask"],
        dynamic_shapes={"input_ids": free, "attention_mask": free},
    )


class _PooledNetwork(torch.nn.Module):
    """The network with mean pooling and normalization behind it; ids and mask to vectors."""

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
        states = self.network(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        seen = attention_mask[..., None].to(states.dtype)
        return torch.nn.functional.normalize((states * seen).sum(1) / seen.sum(1), dim=1)


def padded_batches(
    ids: Sequence[Sequence[int]], size: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Batches of ``size`` sequences, longest first, padded to the longest of each.

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


def _quickest(system: Any, texts: Sequence[str]) -> tuple[float, int]:
    """Seconds of some of the texts, and the batch size that took no more.

    Of two runs with each size the quicker counts: a first one compiles, or fills caches.
    """
    sample = list(texts[: system.bench.tried])
    found = []
    for size in system.bench.batch_sizes:
        system.batch_size = size
        for _ in range(2):
            started = time.perf_counter()
            system.run(sample)
            found.append((time.perf_counter() - started, size))
    return min(found)


#: Systems that are not albeam's own, and may fail without an end to all.
PEERS = (SentenceTransformers, BeamEmbeddings, _Converted)


def quiet() -> None:
    """Hush what conversions print: it says nothing about the result, which is compared anyway."""
    from transformers.utils import logging as chatter

    warnings.filterwarnings("ignore")
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    for name in ("torch.onnx", "onnxscript", "sentence_transformers", "nncf"):
        logging.getLogger(name).setLevel(logging.ERROR)
