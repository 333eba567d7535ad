"""An encoder that runs an exported model in ONNX Runtime or OpenVINO.

Batches are padded, hold texts of similar length, and each core computes one of its own.
"""

import os
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.encoder.batching import Batch, cut_batches, tokens_per_batch
from transforms.encoder.encoding import NON_FINITE, Encoding, checked_vectors, frame_texts
from transforms.encoder.engines.onnx_file import read_onnx_file, running
from transforms.encoder.engines.placement import place_exported
from transforms.encoder.engines.sessions import OPENERS, Run
from transforms.encoder.probes import MIN_COSINE, probe_ids, smallest_cosine
from transforms.errors import BadInput
from transforms.models.exported import PROBES, Exported
from transforms.models.model_files import inner_path, refusal
from transforms.models.options import Placement
from transforms.models.resolve import Model
from transforms.models.tokenizer import Tokenizer, load_tokenizer
from transforms.runtime.forks import loading
from transforms.runtime.search_pool import search_pool

_RESTORE = "Export the model again with albeam export"


class EngineEncoder:
    """A loaded exported model that embeds texts on the CPU. Threads may share one.

    Attributes:
        identity: the identity of its vectors.
        tokenizer: its tokenizer.
        device, dtype: ``cpu``, and what the file computes in.
        engine: ``onnx`` or ``openvino``.
    """

    device = "cpu"

    def __init__(self, model: Model, dtype: str, engine: str, run: Run) -> None:
        """Hold a session; use `load_engine_encoder`."""
        self.identity, self.dtype, self.engine = model.identity, dtype, engine
        self.tokenizer: Tokenizer = load_tokenizer(model)
        self._run, self._name = run, model.folder
        self._most = tokens_per_batch("cpu", "float32", model.intermediate_size)

    def encode_texts(self, texts: list[str], prompt: str = "") -> npt.NDArray[np.float32]:
        """Return the vectors of texts, float32 ``[texts, dim]``.

        Each text is truncated to the model's ``max_tokens``.

        Raises:
            BadInput: a text can't be embedded.
        """
        tokens = frame_texts(self.tokenizer, self.identity, texts, prompt)
        return checked_vectors(self.encode(tokens), texts)

    def encode(
        self, tokens: pa.ListArray, progress: Callable[[int, int], None] | None = None
    ) -> Encoding:
        """Return the vectors of framed token ids, one per row, in order.

        Args:
            tokens: ``list<int32>`` without nulls and without empty rows.
            progress: called after each batch with its numbers of rows and tokens.
        """
        lengths = np.diff(tokens.offsets.to_numpy().astype(np.int64))
        order = np.argsort(-lengths, kind="stable")
        vectors = np.empty((len(tokens), self.identity.dim), np.float32)

        def fill(rows: npt.NDArray[np.int64]) -> None:
            vectors[rows] = self._forward(Batch.take(tokens, rows))
            if progress is not None:
                progress(len(rows), int(lengths[rows].sum()))

        share = min(self._most, -(-int(lengths.sum()) // (os.cpu_count() or 1)))
        batches = list(cut_batches(order, lengths, lambda: share, padded=True))
        with running(self._name, self.engine):
            list((search_pool().map if len(batches) > 1 else map)(fill, batches))
        failed = np.flatnonzero(~np.isfinite(vectors).all(axis=1)).tolist()
        return Encoding(vectors, dict.fromkeys(failed, NON_FINITE))

    def _forward(self, batch: Batch) -> npt.NDArray[np.float32]:
        padded = np.zeros((len(batch.lengths), int(batch.lengths.max())), np.int64)
        mask = np.zeros_like(padded)
        rows = np.repeat(np.arange(len(batch.lengths)), batch.lengths)
        padded[rows, batch.positions], mask[rows, batch.positions] = batch.ids, 1
        vectors = self._run(padded, mask)
        if vectors.shape != (len(padded), self.identity.dim):
            problem = f"gives arrays of shape {vectors.shape} for {len(padded)} texts"
            raise refusal(self._name, "model.onnx", problem, _RESTORE)
        return vectors


def load_engine_encoder(model: Model, placement: Placement) -> EngineEncoder:
    """Load an exported model that is ready to embed.

    The vectors of some probes are compared with those that the source model had in float32.

    Raises:
        BadInput: the engine is not installed or can't run the file, the file is not the one that
            was exported, or its vectors are not those of the source model.
    """
    exported, name = model.exported, model.folder
    assert exported is not None
    resolved = place_exported(placement, model)
    with loading():
        content = read_onnx_file(name, exported, name)
        with running(name, resolved.engine):
            run = OPENERS[resolved.engine](content)
        encoder = EngineEncoder(model, resolved.dtype, resolved.engine, run)
        _check_vectors(encoder, exported, name)
        return encoder


def _check_vectors(encoder: EngineEncoder, exported: Exported, name: str) -> None:
    probes = probe_ids(encoder.tokenizer, exported.max_tokens)
    path = inner_path(name, PROBES, name)
    try:
        expected = np.load(path, allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise refusal(name, PROBES, f"can't be read: {error}", _RESTORE) from error
    if expected.shape != (len(probes), exported.dim) or expected.dtype != np.float32:
        raise refusal(name, PROBES, "is not what albeam export writes", _RESTORE)
    made = encoder.encode(pa.array(probes, pa.list_(pa.int32()))).vectors
    cosine = smallest_cosine(made, np.array(expected))
    least = MIN_COSINE[encoder.dtype]
    if not cosine >= least:
        problem = (
            f"has vectors in {encoder.engine} whose cosine to those of the source model is "
            f"{cosine:.6f}, below {least}"
        )
        raise BadInput("model", name, problem, "Give another --engine, or export it again")
