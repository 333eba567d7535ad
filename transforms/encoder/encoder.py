"""Token ids become vectors: batches, the choice of device, dtype and road, and what can fail."""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch.nn import functional

from transforms.encoder.backends import Road, load_road, roads_for
from transforms.encoder.batching import Batch, Budget
from transforms.encoder.network import pool
from transforms.encoder.placement import resolve_placement
from transforms.encoder.reference import PROBES, reference_vectors
from transforms.errors import BadInput
from transforms.models.options import Placement
from transforms.models.resolve import Model
from transforms.models.tokenizer import Tokenizer, load_tokenizer
from transforms.runtime.cpu_pool import Cores
from transforms.runtime.heap import trim_heap

#: The least cosine between the chosen road and the plain float32 model that a load accepts.
_LEAST_COSINE = {"float32": 0.999999, "bfloat16": 0.9995, "float16": 0.9995}
_TOKENS_PER_BATCH = {"cpu": 4_096, "cuda": 131_072}
#: So few tokens, a question's, are embedded by one core.
_FEW_TOKENS = 64
#: Of a batch's widest states on a CPU: more leaves the cache, and goes back to the system.
_BYTES_PER_BATCH = 6 << 20
#: What torch's allocators, cuBLAS and oneDNN say.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "bad_alloc",
    "could not create a memory",
    "could not create a primitive",
    "cuda error: out of memory",
    "cublas_status_alloc_failed",
)
#: What oneDNN says of a product that it can't do at all.
_UNSUPPORTED = "could not create a primitive descriptor"
_NO_MEMORY = "out of memory"

_LOGGER = logging.getLogger(__name__)


@dataclass
class Encoding:
    """Vectors of a batch.

    Attributes:
        vectors: float32 ``[rows, dim]``; a failed row's are not finite.
        failed: row to reason, for rows that fail alone.
    """

    vectors: npt.NDArray[np.float32]
    failed: dict[int, str] = field(default_factory=dict)


class Encoder:
    """A loaded model that embeds token ids. Threads may share one.

    Attributes:
        cores: what batches are spread over.
    """

    def __init__(self, model: Model, placement: Placement) -> None:
        """Load the model, choose its road and check it; see `load_encoder`."""
        resolved = resolve_placement(placement, model)
        self.identity = model.identity
        self.tokenizer: Tokenizer = load_tokenizer(model)
        self.device, self.dtype = resolved.device, resolved.dtype
        self._source = model
        self._lock = threading.Lock()
        self._exact: Road | None = None
        self._most = _tokens_per_batch(model, resolved)
        self.cores = Cores(self.device)
        self._settle_road()

    @property
    def budget(self) -> int:
        """The most tokens of a batch, now."""
        return self._budget.tokens

    def encode_texts(self, texts: list[str], prompt: str = "") -> npt.NDArray[np.float32]:
        """Vectors of texts, each cut to the model's ``max_tokens``; float32 ``[texts, dim]``.

        Raises:
            BadInput: a text can't be embedded.
        """
        # What is no text is named below.
        prompted = [prompt + text if isinstance(text, str) else text for text in texts]
        encoding = self.encode(self.tokenizer.frame_all(prompted, self.identity.max_tokens))
        for row, reason in encoding.failed.items():
            raise BadInput(f"text {row} ({texts[row][:60]!r}) can't be embedded: {reason}")
        return encoding.vectors

    def encode(
        self, tokens: pa.ListArray, progress: Callable[[int, int], None] | None = None
    ) -> Encoding:
        """Vectors of framed token ids, one row each, in their order.

        Args:
            tokens: ``list<int32>`` without nulls and without empty rows.
            progress: told after each batch how many rows and tokens it had.

        Batches hold a bounded number of tokens, of sequences of similar length. Out of memory
        halves the bound for a while; a sequence that fails alone is reported, and so is one whose
        vector is not finite in float32 either. Any other device error is raised.
        """
        lengths = np.diff(tokens.offsets.to_numpy().astype(np.int64))
        order = np.argsort(-lengths, kind="stable")
        encoding = Encoding(np.full((len(tokens), self.identity.dim), np.nan, np.float32))

        def fill(rows: npt.NDArray[np.int64]) -> None:
            self._fill(encoding, tokens, lengths, rows)
            if progress is not None:
                progress(len(rows), int(lengths[rows].sum()))

        small = int(lengths.sum()) <= _FEW_TOKENS
        self.cores.each(fill, self._batches(order, lengths), small)
        for row in [row for row, reason in encoding.failed.items() if reason == _NO_MEMORY]:
            # The other cores' batches had the memory then.
            del encoding.failed[row]
            self._fill(encoding, tokens, lengths, np.array([row]))
        self._mend(encoding, tokens)
        return encoding

    def states(self, batch: Batch) -> torch.Tensor:
        """The tokens' states after the model's layer, ``[total_tokens, hidden]``."""
        with torch.inference_mode():
            return self._road(batch)

    def _fill(
        self,
        encoding: Encoding,
        tokens: pa.ListArray,
        lengths: npt.NDArray[np.int64],
        rows: npt.NDArray[np.int64],
    ) -> None:
        """Embed the sequences of one batch, in smaller ones where memory runs out."""
        each = lengths[rows]
        size = len(each) * int(each.max()) if self.road == "padded" else int(each.sum())
        if self._fits(encoding, tokens, rows):
            self._budget.fit(size)
            return
        # Here, behind the handler of the error, nothing holds the failed batch's states.
        _release_memory(self.device)
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
        """Embed the sequences of one batch; False where memory runs out."""
        try:
            road = self._exact_road() if exact else self._road
            encoding.vectors[rows] = self._forward(road, Batch.take(tokens, rows))
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            return False
        return True

    def _batches(
        self,
        order: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.int64],
        most: int | None = None,
    ) -> Iterator[npt.NDArray[np.int64]]:
        """Runs of ``order`` of at most ``budget`` tokens, the padded road's padding counted.

        Where there is little to do, they are smaller, so that each core has as many; with ``most``
        given, they are no larger than that.
        """
        padded = self.road == "padded"
        share = self._most if most is None else most
        if self.cores.count > 1 and most is None:
            total = int(lengths.sum())
            turns = -(-total // (self.budget * self.cores.count))
            share = -(-total // max(turns * self.cores.count, 1))
        first, total = 0, 0
        for place, row in enumerate(order):
            width = int(lengths[order[first] if padded else row])
            if place > first and total + width > min(share, self.budget):
                yield order[first:place]
                first, total = place, 0
                width = int(lengths[row])
            total += width
        if len(order):
            yield order[first:]

    def _mend(self, encoding: Encoding, tokens: pa.ListArray) -> None:
        """Embed rows with non-finite vectors again, alone and in float32."""
        finite = np.isfinite(encoding.vectors).all(axis=1)
        for row in np.flatnonzero(~finite):
            if int(row) in encoding.failed:
                continue
            if self.dtype != "float32" and not self._fits(
                encoding, tokens, np.array([row]), exact=True
            ):
                _release_memory(self.device)
                encoding.failed[int(row)] = _NO_MEMORY
                continue
            if not np.isfinite(encoding.vectors[row]).all():
                encoding.failed[int(row)] = "non-finite vector"

    def _forward(self, road: Road, batch: Batch) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            states = road(batch)
            lengths = torch.from_numpy(batch.lengths).to(states.device)
            vectors = pool(states.float(), lengths, self.identity.pooling)
            if self.identity.normalize:
                vectors = functional.normalize(vectors, dim=1)
            return vectors.cpu().numpy()

    def _exact_road(self) -> Road:
        with self._lock:
            if self._exact is None:
                road = "fused" if self.road == "products" else self.road
                self._exact = load_road(self._source, self.device, "float32", road)
            return self._exact

    def _settle_road(self) -> None:
        """Take the first road, in the wanted dtype or float32, that gives the right vectors."""
        probes = self._probe_ids()
        expected = reference_vectors(self._source, probes)
        reasons: list[str] = []
        for dtype in dict.fromkeys([self.dtype, "float32"]):
            for road in roads_for(self._source, self.device, dtype):
                if reasons:
                    _LOGGER.warning(
                        "%s: %s; using the %s road in %s",
                        self.identity.name,
                        reasons[-1],
                        road,
                        dtype,
                    )
                # What the probes of another road met says nothing about this one.
                self._budget = Budget(self._most)
                try:
                    self._road = load_road(self._source, self.device, dtype, road)
                    self.road, self.dtype = road, dtype
                    cosine = _least_cosine(
                        self.encode(pa.array(probes, pa.list_(pa.int32()))).vectors, expected
                    )
                except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
                    reasons.append(f"{road} in {dtype} failed: {str(error).splitlines()[0]}")
                    continue
                if cosine >= _LEAST_COSINE[dtype]:
                    return
                reasons.append(f"{road} vectors in {dtype} are off (cosine {cosine:.6f})")
        raise BadInput(
            f"model {self.identity.name!r} ({self._source.model_type}) can't be embedded exactly: "
            + "; ".join(reasons)
            + ("; give another model" if self.device == "cpu" else "; give --device cpu")
        )

    def _probe_ids(self) -> list[list[int]]:
        room = self.identity.max_tokens
        full = " ".join([*PROBES] * (1 + room // 8))
        return self.tokenizer.encode_framed([*PROBES, full], room)


def load_encoder(model: Model, placement: Placement) -> Encoder:
    """Load a model ready to embed.

    Raises:
        BadInput: the weights are incomplete, the tokenizer is another model's, CUDA is missing, or
            no road gives the plain model's vectors.
    """
    return Encoder(model, placement)


def _tokens_per_batch(model: Model, placement: Placement) -> int:
    most = _TOKENS_PER_BATCH[placement.device]
    if placement.device == "cuda":
        return most
    size = 4 if placement.dtype == "float32" else 2
    return max(512, min(most, _BYTES_PER_BATCH // (size * model.intermediate_size)))


def _least_cosine(ours: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32]) -> float:
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.min((a * b).sum(axis=1) / norms))


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(error).lower()
    return any(sign in said for sign in _OUT_OF_MEMORY) and _UNSUPPORTED not in said


def _release_memory(device: str) -> None:
    if device == "cuda":
        torch.cuda.empty_cache()
    trim_heap()
