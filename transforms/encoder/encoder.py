"""The encoder: turns token ids into vectors, chooses its backend, and recovers from failures."""

import logging
import os
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch.nn import functional

from transforms.encoder.backends import Backend, backends_for, load_backend
from transforms.encoder.batching import (
    Batch,
    Budget,
    count_batch_tokens,
    cut_batches,
    tokens_per_batch,
)
from transforms.encoder.encoding import NON_FINITE, Encoding, checked_vectors, frame_texts
from transforms.encoder.network import pool
from transforms.encoder.out_of_memory import is_out_of_memory, release_memory
from transforms.encoder.placement import resolve_placement
from transforms.encoder.probes import MIN_COSINE, probe_ids, smallest_cosine
from transforms.encoder.reference import reference_vectors
from transforms.encoder.transfers import Fetched, fetch, overlap, to_device
from transforms.errors import BadInput
from transforms.models.model_files import refusing
from transforms.models.options import Placement
from transforms.models.resolve import Model
from transforms.models.tokenizer import Tokenizer, load_tokenizer
from transforms.runtime.cpu_pool import Cores
from transforms.runtime.devices import check_process
from transforms.runtime.forks import Lock, loading

#: Inputs of at most so many tokens (one question) are embedded by one core.
_FEW_TOKENS = 64
_NO_MEMORY = "out of memory"
#: What a backend raises that another build of torch lacks or can't run: a missing operator is an
#: AttributeError.
_BACKEND_ERRORS = (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError)

_LOGGER = logging.getLogger(__name__)


class Encoder:
    """A loaded model that embeds token ids. Threads may share one.

    Attributes:
        cores: the threads that batches are spread over.
        backend: the forward pass in use.
        overlaps: whether a batch begins before the one before it has ended, as on a GPU.
    """

    backend: Backend

    def __init__(self, model: Model, placement: Placement) -> None:
        """Load the model, and choose and check its backend; see `load_encoder`."""
        resolved = resolve_placement(placement, model)
        self.identity = model.identity
        self.tokenizer: Tokenizer = load_tokenizer(model)
        self.device, self.dtype = resolved.device, resolved.dtype
        self._source = model
        self._lock, self._process = Lock(), os.getpid()
        self._exact: Backend | None = None
        self._most = tokens_per_batch(self.device, self.dtype, model.intermediate_size)
        self.cores, self.overlaps = Cores(self.device), self.device != "cpu"
        self._choose_backend()

    @property
    def budget(self) -> int:
        """The current maximum number of tokens in a batch."""
        return self._budget.tokens

    @property
    def backend_name(self) -> str:
        """The name of the backend: ``int8``, ``products``, ``fused``, ``packed`` or ``padded``."""
        return self._backend_name

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

        A batch holds a bounded number of tokens, of sequences of similar length. When memory runs
        out, the bound is halved for a while. A sequence that fails on its own is reported, and so
        is one whose vector is not finite in float32 either. Any other device error is raised.

        Args:
            tokens: ``list<int32>`` without nulls and without empty rows.
            progress: called after each batch with its numbers of rows and tokens.
        """
        check_process(self.device, self._process)
        lengths = np.diff(tokens.offsets.to_numpy().astype(np.int64))
        order = np.argsort(-lengths, kind="stable")
        encoding = Encoding(np.full((len(tokens), self.identity.dim), np.nan, np.float32))

        def done(rows: npt.NDArray[np.int64]) -> None:
            if progress is not None:
                progress(len(rows), int(lengths[rows].sum()))

        def fill(rows: npt.NDArray[np.int64]) -> None:
            self._fill(encoding, tokens, lengths, rows)
            done(rows)

        def end(rows: npt.NDArray[np.int64], fetched: Fetched) -> None:
            encoding.vectors[rows] = fetched.wait()
            self._budget.fit(count_batch_tokens(lengths[rows], self._padded))
            done(rows)

        batches = self._batches(order, lengths)
        if self.overlaps:
            overlap(batches, lambda rows: self._begin(tokens, rows), end, fill)
        else:
            self.cores.each(fill, batches, int(lengths.sum()) <= _FEW_TOKENS)
        for row in [row for row, reason in encoding.failed.items() if reason == _NO_MEMORY]:
            # At that time the batches of the other cores held the memory.
            del encoding.failed[row]
            self._fill(encoding, tokens, lengths, np.array([row]))
        self._retry_non_finite(encoding, tokens)
        return encoding

    def states(self, batch: Batch) -> torch.Tensor:
        """Return the token states after the model's layer, ``[total_tokens, hidden]``."""
        with torch.inference_mode():
            return self.backend(batch)

    def _fill(
        self,
        encoding: Encoding,
        tokens: pa.ListArray,
        lengths: npt.NDArray[np.int64],
        rows: npt.NDArray[np.int64],
    ) -> None:
        """Embed the sequences of one batch; split the batch if memory runs out."""
        each = lengths[rows]
        size = count_batch_tokens(each, self._padded)
        if self._fits(encoding, tokens, rows):
            self._budget.fit(size)
            return
        # Outside the error's handler nothing refers to the failed batch's states any more.
        release_memory(self.device)
        if len(rows) == 1:
            encoding.failed[int(rows[0])] = _NO_MEMORY
            return
        self._budget.shrink(size)
        for fewer in self._batches(rows, lengths, size // 2):
            self._fill(encoding, tokens, lengths, fewer)

    def _fits(
        self,
        encoding: Encoding,
        tokens: pa.ListArray,
        rows: npt.NDArray[np.int64],
        *,
        exact: bool = False,
    ) -> bool:
        """Embed the sequences of one batch; return False if memory runs out."""
        fetched = self._begin(tokens, rows, exact=exact)
        if fetched is not None:
            encoding.vectors[rows] = fetched.wait()
        return fetched is not None

    def _begin(
        self, tokens: pa.ListArray, rows: npt.NDArray[np.int64], *, exact: bool = False
    ) -> Fetched | None:
        """Begin to embed the sequences of one batch; return None if memory runs out."""
        try:
            backend = self._exact_backend() if exact else self.backend
            return self._forward(backend, Batch.take(tokens, rows))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _batches(
        self,
        order: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.int64],
        most: int | None = None,
    ) -> Iterator[npt.NDArray[np.int64]]:
        """Cut ``order`` into batches of at most ``budget`` tokens.

        Small inputs are split evenly among the cores. If ``most`` is given, it bounds the batches.
        """
        share = self._most if most is None else most
        if self.cores.count > 1 and most is None:
            total = int(lengths.sum())
            turns = -(-total // (self.budget * self.cores.count))
            share = -(-total // max(turns * self.cores.count, 1))
        # The budget may change while the batches are embedded.
        return cut_batches(order, lengths, lambda: min(share, self.budget), self._padded)

    @property
    def _padded(self) -> bool:
        return self.backend_name == "padded"

    def _retry_non_finite(self, encoding: Encoding, tokens: pa.ListArray) -> None:
        """Embed each row that has a non-finite vector again, alone and in float32."""
        finite = np.isfinite(encoding.vectors).all(axis=1)
        for row in np.flatnonzero(~finite):
            if int(row) in encoding.failed:
                continue
            if self.dtype != "float32" and not self._fits(
                encoding, tokens, np.array([row]), exact=True
            ):
                release_memory(self.device)
                encoding.failed[int(row)] = _NO_MEMORY
                continue
            if not np.isfinite(encoding.vectors[row]).all():
                encoding.failed[int(row)] = NON_FINITE

    def _forward(self, backend: Backend, batch: Batch) -> Fetched:
        with torch.inference_mode():
            states = backend(batch)
            lengths = to_device(batch.lengths, states.device)
            vectors = pool(states.float(), lengths, self.identity.pooling)
            if self.identity.normalize:
                vectors = functional.normalize(vectors, dim=1)
            return fetch(vectors)

    def _exact_backend(self) -> Backend:
        with self._lock:
            if self._exact is None:
                own = self.backend_name in ("int8", "products")
                name = "fused" if own else self.backend_name
                self._exact = load_backend(self._source, self.device, "float32", name)
            return self._exact

    def _choose_backend(self) -> None:
        """Choose the first backend, in the wanted dtype or float32, whose vectors are correct.

        Nothing else replaces int8, in which a store may have its vectors.
        """
        probes = probe_ids(self.tokenizer, self.identity.max_tokens)
        expected = reference_vectors(self._source, probes)
        reasons: list[str] = []
        wanted = self.dtype
        for dtype in dict.fromkeys([wanted, wanted if wanted == "int8" else "float32"]):
            for name in backends_for(self._source, self.device, dtype):
                if reasons:
                    _LOGGER.warning(
                        "%s: %s; using the %s backend in %s",
                        self.identity.name,
                        reasons[-1],
                        name,
                        dtype,
                    )
                # Memory errors of another backend's probes say nothing about this one.
                self._budget = Budget(self._most)
                try:
                    self.backend = load_backend(self._source, self.device, dtype, name)
                    self._backend_name, self.dtype = name, dtype
                    cosine = smallest_cosine(
                        self.encode(pa.array(probes, pa.list_(pa.int32()))).vectors, expected
                    )
                except _BACKEND_ERRORS as error:
                    message = str(error) or type(error).__name__
                    reasons.append(f"{name} in {dtype} failed: {message.splitlines()[0]}")
                    continue
                if cosine >= MIN_COSINE[dtype]:
                    return
                reasons.append(f"{name} vectors in {dtype} are off (cosine {cosine:.6f})")
        raise BadInput(
            "model",
            self.identity.name,
            f"({self._source.model_type}) can't be embedded exactly: {'; '.join(reasons)}",
            "Give --dtype auto"
            if wanted == "int8"
            else "Give another model"
            if self.device == "cpu"
            else "Give --device cpu",
        )


def load_encoder(model: Model, placement: Placement) -> Encoder:
    """Load a model that is ready to embed.

    Raises:
        BadInput: the weights are incomplete, the tokenizer is another model's, CUDA is missing, no
            backend reproduces the plain model's vectors, or the model has an exported file instead
            of weights.
    """
    if model.exported is not None:
        problem = "has no weights: albeam export wrote it, and this needs torch"
        raise BadInput("model", model.folder, problem, f"Give {model.identity.name}")
    with refusing(model.identity.name, "can't be loaded"), loading():
        return Encoder(model, placement)
