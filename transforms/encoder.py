"""Token ids become vectors: batches, the choice of device, dtype and road, and what can fail."""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch.nn import functional

from transforms.errors import BadInput
from transforms.model import Model, Placement
from transforms.network import PACKABLE, load_network, make_layout, pool
from transforms.tokenizer import Tokenizer, load_tokenizer

#: The least cosine between the chosen road and the plain float32 model that a load accepts.
_LEAST_COSINE = {"float32": 0.999999, "bfloat16": 0.9995, "float16": 0.9995}
_TOKENS_PER_BATCH = {"cpu": 4_096, "cuda": 131_072}
_PROBES = (
    "ALBERT shares one layer's weights among all its layers.",
    "How do I search a corpus by meaning?",
    "Yes.",
    "In 1998, 12 % of the 3,450 samples (see Fig. 2) weighed less than 0.5 kg; none was lost.",
)

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


@dataclass(frozen=True)
class Batch:
    """Some sequences end to end: ids and positions ``[total_tokens]``, lengths ``[sequences]``."""

    ids: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    @classmethod
    def take(cls, tokens: pa.ListArray, rows: npt.NDArray[np.int64]) -> "Batch":
        """The sequences at ``rows`` of a ragged array."""
        values = tokens.values.to_numpy(zero_copy_only=False)
        bounds = tokens.offsets.to_numpy().astype(np.int64)
        lengths = bounds[rows + 1] - bounds[rows]
        starts = np.cumsum(lengths) - lengths
        positions = np.arange(int(lengths.sum())) - np.repeat(starts, lengths)
        ids = values[positions + np.repeat(bounds[rows], lengths)].astype(np.int64)
        return cls(ids, positions, lengths)


class Encoder:
    """A loaded model that embeds token ids. Threads may share one."""

    def __init__(self, model: Model, placement: Placement) -> None:
        """Load the model, choose its road and check it; see `load_encoder`."""
        resolved = resolve_placement(placement, model)
        self.identity = model.identity
        self.tokenizer: Tokenizer = load_tokenizer(model)
        self.device, self.dtype = resolved.device, resolved.dtype
        self.packed = model.model_type in PACKABLE
        self._source = model
        self._lock = threading.Lock()
        self._exact: Any = None
        self._budget = _TOKENS_PER_BATCH[self.device]
        self._network = self._load(self.dtype, self.packed)
        self._settle_road()

    def encode_texts(self, texts: list[str], prompt: str = "") -> npt.NDArray[np.float32]:
        """Vectors of texts, each cut to the model's ``max_tokens``; float32 ``[texts, dim]``.

        Raises:
            BadInput: a text can't be embedded.
        """
        ids = self.tokenizer.encode_framed(
            [prompt + text for text in texts], self.identity.max_tokens
        )
        encoding = self.encode(pa.array(ids, pa.list_(pa.int32())))
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
        halves the bound; a sequence that fails alone is reported, and so is one whose vector is not
        finite in float32 either. Any other device error is raised.
        """
        lengths = np.diff(tokens.offsets.to_numpy().astype(np.int64))
        order = np.argsort(-lengths, kind="stable")
        encoding = Encoding(np.full((len(tokens), self.identity.dim), np.nan, np.float32))
        pending = list(self._batches(order, lengths))[::-1]
        while pending:
            rows = pending.pop()
            try:
                encoding.vectors[rows] = self._forward(self._network, Batch.take(tokens, rows))
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                _release_memory(self.device)
                if len(rows) == 1:
                    encoding.failed[int(rows[0])] = "out of memory"
                    continue
                self._budget = max(int(lengths[rows].sum()) // 2, 1)
                _LOGGER.warning("out of memory: batches of %d tokens from here", self._budget)
                middle = len(rows) // 2
                pending += [rows[middle:], rows[:middle]]
                continue
            if progress is not None:
                progress(len(rows), int(lengths[rows].sum()))
        self._mend(encoding, tokens)
        return encoding

    def _batches(
        self, order: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
    ) -> Iterator[npt.NDArray[np.int64]]:
        """Runs of ``order`` of at most ``_budget`` tokens (padded ones, off the packed road)."""
        first, total = 0, 0
        for place, row in enumerate(order):
            width = int(lengths[row] if self.packed else lengths[order[first]])
            if place > first and total + width > self._budget:
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
            if self.dtype != "float32":
                alone = Batch.take(tokens, np.array([row]))
                encoding.vectors[row] = self._forward(self._exact_network(), alone)[0]
            if not np.isfinite(encoding.vectors[row]).all():
                encoding.failed[int(row)] = "non-finite vector"

    def _forward(self, network: Any, batch: Batch) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            run = self._run_packed if network.albeam_packed else self._run_padded
            states = run(network, batch)
            lengths = torch.from_numpy(batch.lengths).to(states.device)
            vectors = pool(states.float(), lengths, self.identity.pooling)
            if self.identity.normalize:
                vectors = functional.normalize(vectors, dim=1)
            return vectors.cpu().numpy()

    def _run_packed(self, network: Any, batch: Batch) -> torch.Tensor:
        """States of the wanted layer, ``[total_tokens, hidden]``, from one packed forward."""
        output = network(
            input_ids=torch.from_numpy(batch.ids)[None].to(network.device),
            position_ids=torch.from_numpy(batch.positions)[None].to(network.device),
            layout=make_layout(batch.lengths, network.device),
            **self._wanted_states(),
        )
        return self._states(output)[0]

    def _run_padded(self, network: Any, batch: Batch) -> torch.Tensor:
        """The same from a padded batch; padding is dropped from the result."""
        padded = np.zeros((len(batch.lengths), int(batch.lengths.max())), np.int64)
        mask = np.zeros_like(padded)
        sequence = np.repeat(np.arange(len(batch.lengths)), batch.lengths)
        padded[sequence, batch.positions] = batch.ids
        mask[sequence, batch.positions] = 1
        attention_mask = torch.from_numpy(mask).to(network.device)
        output = network(
            input_ids=torch.from_numpy(padded).to(network.device),
            attention_mask=attention_mask,
            **self._wanted_states(),
        )
        return self._states(output)[attention_mask.bool()]

    def _wanted_states(self) -> dict[str, Any]:
        return {} if self.identity.layer == -1 else {"output_hidden_states": True}

    def _states(self, output: Any) -> torch.Tensor:
        if self.identity.layer == -1:
            return output.last_hidden_state  # type: ignore[no-any-return]
        return output.hidden_states[self.identity.layer]  # type: ignore[no-any-return]

    def _exact_network(self) -> Any:
        with self._lock:
            if self._exact is None:
                self._exact = self._load("float32", self.packed)
            return self._exact

    def _load(self, dtype: str, packed: bool) -> Any:
        return load_network(self._source, self.device, dtype, "packed" if packed else "sdpa")

    def _settle_road(self) -> None:
        """Compare the chosen road with the plain model; give way to padded, then to float32."""
        probes = self._probe_ids()
        expected = reference_vectors(self._source, probes)
        roads = [(self.packed, self.dtype), (False, self.dtype), (False, "float32")]
        reasons: list[str] = []
        for packed, dtype in dict.fromkeys(roads):
            if (packed, dtype) != (self.packed, self.dtype):
                _LOGGER.warning(
                    "%s: %s; using the %s road in %s",
                    self.identity.name,
                    reasons[-1],
                    "packed" if packed else "padded",
                    dtype,
                )
                self.packed, self.dtype = packed, dtype
                self._network = self._load(dtype, packed)
            try:
                cosine = _least_cosine(
                    self.encode(pa.array(probes, pa.list_(pa.int32()))).vectors, expected
                )
            except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
                reasons.append(f"{dtype} failed: {str(error).splitlines()[0]}")
                continue
            if cosine >= _LEAST_COSINE[dtype]:
                return
            reasons.append(f"{dtype} vectors are off (cosine {cosine:.6f})")
        raise BadInput(
            f"model {self.identity.name!r} ({self._source.model_type}) can't be embedded exactly: "
            + "; ".join(reasons)
        )

    def _probe_ids(self) -> list[list[int]]:
        room = self.identity.max_tokens
        full = " ".join([*_PROBES] * (1 + room // 8))
        return self.tokenizer.encode_framed([*_PROBES, full], room)


def load_encoder(model: Model, placement: Placement) -> Encoder:
    """Load a model ready to embed.

    Raises:
        BadInput: the weights are incomplete, the tokenizer is another model's, CUDA is missing, or
            no road gives the plain model's vectors.
    """
    return Encoder(model, placement)


def resolve_placement(placement: Placement, model: Model) -> Placement:
    """The placement with ``auto`` replaced by what the model asks for, or the machine does best.

    Raises:
        BadInput: CUDA is asked for and not there.
    """
    device = placement.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise BadInput("device 'cuda' is not available to torch here; give --device cpu")
    if placement.dtype != "auto":
        return Placement(device, placement.dtype)
    return Placement(device, model.dtype or _best_dtype(device))


def reference_vectors(model: Model, ids: list[list[int]]) -> npt.NDArray[np.float32]:
    """What the unmodified network gives: eager attention, float32, one text at a time, on the CPU.

    Args:
        model: whose layer, pooling and normalization are used.
        ids: framed token ids, one list a text.

    Returns:
        float32 ``[texts, dim]``.
    """
    network = load_network(model, "cpu", "float32", "eager")
    vectors = []
    with torch.inference_mode():
        for text in ids:
            output = network(input_ids=torch.tensor([text]), output_hidden_states=True)
            states = output.hidden_states[model.identity.layer][0]
            vectors.append(pool(states, torch.tensor([len(text)]), model.identity.pooling))
        stacked = torch.cat(vectors)
        if model.identity.normalize:
            stacked = functional.normalize(stacked, dim=1)
    return stacked.numpy()


def expected_rate(model: Model, placement: Placement) -> float:
    """Tokens a second that a worker is expected to embed, within a factor of a few.

    From the multiplications of a token's linear layers (four projections and two feed-forward
    layers in each layer) and a guess of what the device does in a second.
    """
    width, inner = model.hidden_size, model.intermediate_size
    per_token = 2 * model.layers * (4 * width * width + 2 * width * inner)
    resolved = resolve_placement(placement, model)
    if resolved.device == "cuda":
        rate = 1e14 if resolved.dtype != "float32" else 2e13
    else:
        rate = (6e10 if resolved.dtype != "float32" else 2.5e10) * (os.cpu_count() or 1)
    return rate / per_token


def _best_dtype(device: str) -> str:
    if device == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability() >= (8, 0) else "float16"
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if fast else "float32"


def _least_cosine(ours: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32]) -> float:
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.min((a * b).sum(axis=1) / norms))


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _release_memory(device: str) -> None:
    if device == "cuda":
        torch.cuda.empty_cache()
