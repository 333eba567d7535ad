"""The peers on sentence-transformers: as documented, at its fastest, and in a Beam pipeline."""

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import apache_beam as beam
import numpy as np

from pipeline.bench.systems.system import (
    Setup,
    System,
    Vectors,
    counted_positions,
    fastest_batch_size,
)
from transforms.runtime.devices import best_dtype


class SentenceTransformers(System):
    """``SentenceTransformer(folder).encode(texts)`` as its documentation shows it, in float32.

    Without a dtype, float16 weights would be computed in float16, which is slower on a CPU.
    """

    name = "sentence-transformers"
    packages = ("sentence_transformers",)
    is_peer = True
    batch_size: int | None = None

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.options: dict[str, Any] = {"dtype": "float32"}

    def prepare(self, texts: Sequence[str]) -> None:  # noqa: ARG002
        """Load the model."""
        from sentence_transformers import SentenceTransformer

        self.peer: Any = SentenceTransformer(
            self.setup.model.folder,
            device=self.setup.placement.device,
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
        """Return the positions that passed the word embeddings."""
        return self._positions


class SentenceTransformersBest(SentenceTransformers):
    """sentence-transformers with its fastest dtype, attention and batch size."""

    name = "sentence-transformers-best"

    def prepare(self, texts: Sequence[str]) -> None:
        """Try its dtypes, attentions and batch sizes on some of the texts."""
        dtypes = dict.fromkeys([best_dtype(self.setup.placement.device), "bfloat16", "float32"])
        found: list[tuple[float, int, dict[str, Any]]] = []
        failure: Exception | None = None
        for dtype in dtypes:
            for attention in self._attentions(dtype):
                self.options = {"dtype": dtype, "attn_implementation": attention}
                try:
                    super().prepare(texts)
                    found.append((*fastest_batch_size(self, texts), self.options))
                except Exception as error:
                    failure = error
        if failure is not None and not found:
            raise failure
        _, self.batch_size, self.options = min(found, key=lambda tried: tried[0])
        super().prepare(texts)
        self.note = (
            f"{self.options['attn_implementation']} attention, batches of {self.batch_size}: "
            "the fastest of a warm-up"
        )

    def _attentions(self, dtype: str) -> list[str]:
        flash = find_spec("flash_attn") is not None and self.setup.placement.device == "cuda"
        return ["sdpa", "eager", *(["flash_attention_2"] if flash and dtype != "float32" else [])]


class BeamEmbeddings(System):
    """Beam's ``MLTransform`` with ``SentenceTransformerEmbeddings``, on its direct runner."""

    name = "beam"
    packages = ("sentence_transformers",)
    starts = True
    is_peer = True

    def __init__(self, best: SentenceTransformersBest) -> None:
        super().__init__(best.setup)
        self._best = best

    def prepare(self, texts: Sequence[str]) -> None:
        """Take the settings that are the fastest for sentence-transformers alone."""
        self._rows = min(len(texts), 4096)
        size = self._best.batch_size
        self.dtype = self._best.dtype
        self.note = (
            f"start-up subtracted: a run on two texts; elements in batches of {self._rows}, "
            f"encoded in batches of {size}"
        )

    def run(self, texts: Sequence[str]) -> Vectors | None:
        """Run a pipeline; return the vectors in the order of the texts."""
        from apache_beam.ml.transforms.base import MLTransform
        from apache_beam.ml.transforms.embeddings.huggingface import SentenceTransformerEmbeddings
        from apache_beam.runners.portability.fn_api_runner import FnApiRunner

        embeddings = SentenceTransformerEmbeddings(
            self.setup.model.folder,
            columns=["text"],
            min_batch_size=self._rows,
            max_batch_size=self._rows,
            load_model_args={
                "device": self.setup.placement.device,
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
        """Return those of sentence-transformers, which sorts and pads the same batches alike."""
        return self._best.positions()


#: The output of the pipeline's last stage; the direct runner works in this process.
_COLLECTED: dict[int, Any] = {}


def _collect(row: Any) -> None:
    row = row if isinstance(row, dict) else row._asdict()
    _COLLECTED[row["id"]] = row["text"]
