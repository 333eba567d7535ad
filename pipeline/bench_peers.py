"""The peers of the benchmark: the same weights in other hands, each at its best setting."""

import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import torch

from pipeline.bench_systems import Bench, System, Vectors, counted_positions, framed_ids
from transforms.tokenizer import load_tokenizer


class SentenceTransformers(System):
    """``SentenceTransformer(folder).encode(texts)``, as its documentation shows it."""

    name = "sentence-transformers"
    packages = ("sentence_transformers",)
    options: dict[str, Any] = {}  # noqa: RUF012
    batch_size: int | None = None

    def prepare(self, texts: Sequence[str]) -> None:  # noqa: ARG002
        """Load."""
        from sentence_transformers import SentenceTransformer

        self.peer: Any = SentenceTransformer(
            self.bench.model.folder, device=self.bench.placement.device, **self.options
        )
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
    """In bfloat16 with PyTorch's own attention, at the quickest batch size."""

    name = "sentence-transformers-best"
    dtype = "bfloat16"
    options = {"model_kwargs": {"dtype": "bfloat16", "attn_implementation": "sdpa"}}  # noqa: RUF012

    def prepare(self, texts: Sequence[str]) -> None:
        """Load once; try batch sizes on these texts."""
        if not hasattr(self, "peer"):
            super().prepare(texts)
        self.batch_size = _quickest(self, texts)
        self.note = f"batches of {self.batch_size}, the quickest of a warm-up"


class BeamEmbeddings(System):
    """Beam's ``MLTransform`` with ``SentenceTransformerEmbeddings``, by its direct runner."""

    name = "beam"
    dtype = "bfloat16"
    packages = ("sentence_transformers",)
    starts = True

    def __init__(self, best: SentenceTransformersBest) -> None:
        super().__init__(best.bench)
        self._best = best

    def prepare(self, texts: Sequence[str]) -> None:
        """Take over the settings that are best for sentence-transformers alone."""
        self._rows = min(len(texts), 4096)
        size = self._best.batch_size
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
            load_model_args={"device": self.bench.placement.device, **self._best.options},
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


class _Converted(System):
    """A converted network on padded batches of neighbouring length."""

    batch_size = 8

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self._embed: Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], Vectors] | None = None

    def prepare(self, texts: Sequence[str]) -> None:
        """Convert once; try batch sizes on these texts."""
        if self._embed is None:
            self._tokenizer = load_tokenizer(self.bench.model)
            self._embed = self._convert(_PooledNetwork(self.bench.model.folder))
        self.batch_size = _quickest(self, texts)
        self.note = f"batches of {self.batch_size}, the quickest of a warm-up"

    def run(self, texts: Sequence[str]) -> Vectors | None:
        """Tokenize, pad and embed."""
        assert self._embed is not None
        ids = framed_ids(self._tokenizer, texts, self.bench.model)
        vectors = np.empty((len(ids), self.bench.model.identity.dim), np.float32)
        self._positions = 0
        for rows, padded, mask in padded_batches(ids, self.batch_size):
            vectors[rows] = self._embed(padded, mask)
            self._positions += padded.size
        return vectors

    def positions(self) -> int | None:
        """As padded."""
        return self._positions

    def _convert(
        self, network: "_PooledNetwork"
    ) -> Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], Vectors]:
        raise NotImplementedError


class OpenVino(_Converted):
    """OpenVINO on the CPU, with bfloat16 as its inference precision."""

    name = "openvino-bf16"
    dtype = "bfloat16"
    packages = ("openvino",)

    def _convert(self, network: "_PooledNetwork") -> Any:
        import openvino

        ids, mask = _example()
        converted = openvino.convert_model(
            network, example_input={"input_ids": ids, "attention_mask": mask}
        )
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
        }
        compiled = openvino.compile_model(converted, "CPU", settings)
        return lambda ids, mask: compiled([ids, mask])[0]


class OnnxRuntime(_Converted):
    """ONNX Runtime on the CPU in float32."""

    name = "onnxruntime"
    packages = ("onnxruntime", "onnx", "onnxscript")

    def _convert(self, network: "_PooledNetwork") -> Any:
        import onnxruntime

        file = str(self.bench.work / "model.onnx")
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
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        return lambda ids, mask: session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


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


def _quickest(system: Any, texts: Sequence[str]) -> int:
    """The batch size from which a larger one is no quicker, on some of the texts.

    A first run is not timed: it compiles, or fills caches.
    """
    sample = list(texts[: max(32, len(texts) // 4)])
    system.batch_size = system.bench.batch_sizes[0]
    system.run(sample[:8])
    best, least = 0, float("inf")
    for size in system.bench.batch_sizes:
        system.batch_size = size
        started = time.perf_counter()
        system.run(sample)
        seconds = time.perf_counter() - started
        if seconds >= least:
            break
        best, least = size, seconds
    return best


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
