"""Token ids become vectors: packed forward, pooling, and the choice of device and dtype.

Packed, all sequences of a batch lie end to end as one sequence ``[1, total_tokens]`` with position
ids that start again at each; every linear layer then works on real tokens only. Attention alone
must know where sequences end, and is told through transformers' attention interface.
"""

import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch.nn import functional

from transforms.errors import BadInput
from transforms.model import Model
from transforms.tokenizer import Tokenizer, load_tokenizer

#: Families whose packed forward is the plain one; others offset positions or mask locally.
PACKABLE = frozenset({"albert", "bert"})
#: The least cosine between the chosen road and the plain float32 model that a load accepts.
_LEAST_COSINE = {"float32": 0.999999, "bfloat16": 0.9995, "float16": 0.9995}
_TOKENS_PER_BATCH = {"cpu": 4_096, "cuda": 131_072}
_ATTENTION = "albeam_packed"
_PROBES = (
    "ALBERT shares one layer's weights among all its layers.",
    "How do I search a corpus by meaning?",
    "Yes.",
    "In 1998, 12 % of the 3,450 samples (see Fig. 2) weighed less than 0.5 kg; none was lost.",
)

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Placement:
    """Where and how precisely a model runs: ``auto`` or a name of `DEVICES` and `DTYPES`."""

    device: str = "auto"
    dtype: str = "auto"

    def resolve(self) -> "Placement":
        """The placement with ``auto`` replaced by what this machine does best.

        Raises:
            BadInput: CUDA is asked for and not there.
        """
        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        elif device == "cuda" and not torch.cuda.is_available():
            raise BadInput("device 'cuda' is not available to torch here; give --device cpu")
        dtype = self.dtype
        if dtype == "auto":
            dtype = _best_dtype(device)
        return Placement(device, dtype)


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
class _Layout:
    """Where the sequences of a packed batch lie.

    Attributes:
        bounds: int32 ``[sequences + 1]`` on the device, cumulative lengths.
        groups: runs of sequences of equal length, as ``(first token, sequences, length)``.
        longest: the longest length.
    """

    bounds: torch.Tensor
    groups: tuple[tuple[int, int, int], ...]
    longest: int


class Encoder:
    """A loaded model that embeds token ids. Threads may share one."""

    def __init__(self, model: Model, placement: Placement = Placement()) -> None:  # noqa: B008
        """Load the model, choose its road and check it; see `load_encoder`."""
        resolved = placement.resolve()
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

    def encode(self, tokens: pa.ListArray) -> Encoding:
        """Vectors of framed token ids, one row each, in their order.

        Args:
            tokens: ``list<int32>`` without nulls and without empty rows.

        Batches hold a bounded number of tokens, of sequences of similar length. Out of memory halves
        the bound; a sequence that fails alone is reported, and so is one whose vector is not finite
        in float32 either. Any other device error is raised.
        """
        ids = tokens.values.to_numpy(zero_copy_only=False)
        bounds = tokens.offsets.to_numpy().astype(np.int64)
        lengths = np.diff(bounds)
        order = np.argsort(-lengths, kind="stable")
        encoding = Encoding(np.full((len(tokens), self.identity.dim), np.nan, np.float32))
        pending = list(self._batches(order, lengths))[::-1]
        while pending:
            rows = pending.pop()
            try:
                encoding.vectors[rows] = self._forward(self._network, ids, bounds, rows)
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
        self._mend(encoding, ids, bounds)
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

    def _mend(
        self,
        encoding: Encoding,
        ids: npt.NDArray[np.int32],
        bounds: npt.NDArray[np.int64],
    ) -> None:
        """Embed rows with non-finite vectors again, alone and in float32."""
        finite = np.isfinite(encoding.vectors).all(axis=1)
        for row in np.flatnonzero(~finite):
            if int(row) in encoding.failed:
                continue
            if self.dtype != "float32":
                rows = np.array([row])
                encoding.vectors[rows] = self._forward(self._exact_network(), ids, bounds, rows)
            if not np.isfinite(encoding.vectors[row]).all():
                encoding.failed[int(row)] = "non-finite vector"

    def _forward(
        self,
        network: Any,
        ids: npt.NDArray[np.int32],
        bounds: npt.NDArray[np.int64],
        rows: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.float32]:
        lengths = bounds[rows + 1] - bounds[rows]
        starts = np.cumsum(lengths) - lengths
        positions = np.arange(int(lengths.sum())) - np.repeat(starts, lengths)
        flat = ids[positions + np.repeat(bounds[rows], lengths)].astype(np.int64)
        with torch.inference_mode():
            run = self._run_packed if network.albeam_packed else self._run_padded
            states = run(network, flat, positions, lengths)
            vectors = pool(states.float(), torch.from_numpy(lengths).to(states.device),
                           self.identity.pooling)
            if self.identity.normalize:
                vectors = functional.normalize(vectors, dim=1)
            return vectors.cpu().numpy()  # type: ignore[no-any-return]

    def _run_packed(
        self,
        network: Any,
        flat: npt.NDArray[np.int64],
        positions: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.int64],
    ) -> torch.Tensor:
        """States of the wanted layer, ``[total_tokens, hidden]``, from one packed forward."""
        output = network(
            input_ids=torch.from_numpy(flat)[None].to(network.device),
            position_ids=torch.from_numpy(positions)[None].to(network.device),
            layout=_layout(lengths, network.device),
            **self._wanted_states(),
        )
        return self._states(output)[0]

    def _run_padded(
        self,
        network: Any,
        flat: npt.NDArray[np.int64],
        positions: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.int64],
    ) -> torch.Tensor:
        """The same from a padded batch; padding is dropped from the result."""
        batch = np.zeros((len(lengths), int(lengths.max())), np.int64)
        mask = np.zeros_like(batch)
        sequence = np.repeat(np.arange(len(lengths)), lengths)
        batch[sequence, positions] = flat
        mask[sequence, positions] = 1
        attention_mask = torch.from_numpy(mask).to(network.device)
        output = network(
            input_ids=torch.from_numpy(batch).to(network.device),
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
        return _load_network(self._source, self.device, dtype, "packed" if packed else "sdpa")

    def _settle_road(self) -> None:
        """Compare the chosen road with the plain model; give way to padded, then to float32."""
        reference = _load_network(self._source, "cpu", "float32", "eager")
        probes = self._probe_ids()
        expected = np.concatenate([self._plain(reference, ids) for ids in probes])
        roads = [(self.packed, self.dtype), (False, self.dtype), (False, "float32")]
        reasons = []
        for packed, dtype in dict.fromkeys(roads):
            if (packed, dtype) != (self.packed, self.dtype):
                _LOGGER.warning(
                    "%s: %s; using the %s road in %s",
                    self.identity.name, reasons[-1], "packed" if packed else "padded", dtype,
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

    def _plain(self, reference: Any, ids: list[int]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            output = reference(input_ids=torch.tensor([ids]), **self._wanted_states())
            states = self._states(output)[0]
            lengths = torch.tensor([len(ids)])
            return pool(states, lengths, self.identity.pooling).numpy()  # type: ignore[no-any-return]


def load_encoder(model: Model, placement: Placement = Placement()) -> Encoder:  # noqa: B008
    """Load a model ready to embed.

    Raises:
        BadInput: the weights are incomplete, the tokenizer is another model's, CUDA is missing, or
            no road gives the plain model's vectors.
    """
    return Encoder(model, placement)


def expected_rate(model: Model, placement: Placement) -> float:
    """Tokens a second that a worker is expected to embed, within a factor of a few.

    From the multiplications of a token's linear layers (four projections and two feed-forward
    layers in each layer) and a guess of what the device does in a second.
    """
    width, inner = model.hidden_size, model.intermediate_size
    per_token = 2 * model.layers * (4 * width * width + 2 * width * inner)
    resolved = placement.resolve()
    if resolved.device == "cuda":
        rate = 1e14 if resolved.dtype != "float32" else 2e13
    else:
        rate = (1.5e11 if resolved.dtype != "float32" else 5e10) * (os.cpu_count() or 1)
    return rate / per_token


def pool(states: torch.Tensor, lengths: torch.Tensor, pooling: str) -> torch.Tensor:
    """One vector a sequence: the mean, the first or the elementwise maximum of its token states.

    Args:
        states: ``[total_tokens, hidden]``, float32, sequences end to end.
        lengths: ``[sequences]``, int64.
        pooling: ``mean``, ``cls`` or ``max``.
    """
    if pooling == "cls":
        return states[torch.cumsum(lengths, 0) - lengths]
    return torch.segment_reduce(states, pooling, lengths=lengths, axis=0)


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # noqa: ARG001
    scaling: float | None = None,
    layout: _Layout | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention within each sequence of a packed batch.

    Args:
        module: the attention layer, unused.
        query, key, value: ``[1, heads, total_tokens, head_dim]``.
        attention_mask: unused; the layout says who sees whom.
        scaling: factor of the scores; ``head_dim ** -0.5`` by default.
        layout: where the sequences lie.

    Returns:
        ``[1, total_tokens, heads, head_dim]`` and no weights.
    """
    assert layout is not None, "packed attention needs the layout of its batch"
    query, key, value = (states[0].transpose(0, 1) for states in (query, key, value))
    if _has_varlen(query):
        from torch.nn.attention.varlen import varlen_attn

        attended = varlen_attn(
            query.contiguous(), key.contiguous(), value.contiguous(), layout.bounds, layout.bounds,
            layout.longest, layout.longest, scale=scaling,
        )
        return attended[None], None  # type: ignore[index]
    attended = torch.empty_like(query, memory_format=torch.contiguous_format)
    for first, sequences, length in layout.groups:
        tokens = slice(first, first + sequences * length)
        shape = (sequences, length, *query.shape[1:])
        block = functional.scaled_dot_product_attention(
            *(states[tokens].view(shape).transpose(1, 2) for states in (query, key, value)),
            scale=scaling,
        )
        attended[tokens].view(shape).copy_(block.transpose(1, 2))
    return attended[None], None


def _layout(lengths: npt.NDArray[np.int64], device: torch.device) -> _Layout:
    edges = np.flatnonzero(np.diff(lengths)) + 1
    firsts = np.concatenate([[0], edges])
    counts = np.diff(np.concatenate([firsts, [len(lengths)]]))
    starts = np.cumsum(lengths) - lengths
    groups = tuple(
        (int(starts[first]), int(count), int(lengths[first]))
        for first, count in zip(firsts, counts, strict=True)
    )
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return _Layout(
        bounds=torch.from_numpy(bounds).to(device),
        groups=groups,
        longest=int(lengths.max()),
    )


def _has_varlen(query: torch.Tensor) -> bool:
    return (
        query.is_cuda
        and query.dtype in (torch.float16, torch.bfloat16)
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
    )


def _load_network(model: Model, device: str, dtype: str, road: str) -> Any:
    """The model's network in eval mode; road is ``packed``, ``sdpa`` or ``eager``."""
    from transformers import AttentionInterface, AttentionMaskInterface, AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(model.folder, local_files_only=True)
    if road == "packed":
        AttentionInterface.register(_ATTENTION, packed_attention)
        AttentionMaskInterface.register(_ATTENTION, _no_mask)
    if road != "eager" and getattr(config, "hidden_act", "") == "gelu_new":
        # The same function, fused.
        config.hidden_act = "gelu_pytorch_tanh"
    unpooled = {"add_pooling_layer": False} if model.model_type in PACKABLE else {}
    network, report = AutoModel.from_pretrained(
        model.folder,
        config=config,
        dtype=torch.float32,
        attn_implementation=_ATTENTION if road == "packed" else road,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
        **unpooled,
    )
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise BadInput(
            f"model {model.identity.name!r} lacks {len(missing)} of its weights, "
            f"{missing[0]!r} among them; restore its .safetensors file"
        )
    network.albeam_packed = road == "packed"
    if dtype != "float32":
        _narrow_linears(network, getattr(torch, dtype))
    return network.eval().to(device)


def _narrow_linears(network: torch.nn.Module, dtype: torch.dtype) -> None:
    """Compute linear layers and attention in ``dtype``, all else in float32.

    The word vectors, the layer norms and the stream between layers take little time and most of the
    rounding: with them in bfloat16 too, a cosine of 0.99986 was seen where this gives 0.99994.
    """
    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            module.to(dtype)
            module.register_forward_pre_hook(_cast_input)


def _cast_input(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[Any, ...]:
    return (inputs[0].to(module.weight.dtype), *inputs[1:])


def _no_mask(*_: Any, **__: Any) -> None:
    return None


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
