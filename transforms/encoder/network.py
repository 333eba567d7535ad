"""The network: loaded from a model's files, with packed attention where sequences lie end to end.

Packed, all sequences of a batch are one sequence ``[1, total_tokens]`` with position ids that start
again at each; every linear layer then works on real tokens only. Attention alone must know where
sequences end, and is told through transformers' attention interface.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from transforms.errors import BadInput
from transforms.models.resolve import Model

#: Families whose packed forward is the plain one; others offset positions or mask locally.
PACKABLE = frozenset({"albert", "bert"})
_ATTENTION = "albeam_packed"
#: From factorized word vectors to the layers' width: ALBERT's and ELECTRA's.
_MAPPINGS = ("embedding_hidden_mapping_in", "embeddings_project")


@dataclass(frozen=True)
class Layout:
    """Where the sequences of a packed batch lie.

    Attributes:
        bounds: int32 ``[sequences + 1]`` on the device, cumulative lengths.
        groups: runs of sequences of equal length, as ``(first token, sequences, length)``.
        longest: the longest length.
    """

    bounds: torch.Tensor
    groups: tuple[tuple[int, int, int], ...]
    longest: int


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
    module: torch.nn.Module,  # noqa: ARG001
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # noqa: ARG001
    scaling: float | None = None,
    layout: Layout | None = None,
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
        # Not by `varlen_attn`, which from Hopper on takes cuDNN: that makes a plan for each new
        # shape of batch, as nearly every one is, and keeps it.
        attended = torch.ops.aten._flash_attention_forward(
            query.contiguous(),
            key.contiguous(),
            value.contiguous(),
            layout.bounds,
            layout.bounds,
            layout.longest,
            layout.longest,
            dropout_p=0.0,
            is_causal=False,
            return_debug_mask=False,
            scale=scaling,
        )[0]
        return attended[None], None
    attended = torch.empty_like(query, memory_format=torch.contiguous_format)
    for first, sequences, length in layout.groups:
        tokens = slice(first, first + sequences * length)
        shape = (sequences, length, *query.shape[1:])
        q, k, v = (states[tokens].view(shape).transpose(1, 2) for states in (query, key, value))
        block = functional.scaled_dot_product_attention(q, k, v, scale=scaling)
        attended[tokens].view(shape).copy_(block.transpose(1, 2))
    return attended[None], None


def make_layout(lengths: npt.NDArray[np.int64], device: torch.device) -> Layout:
    """The layout of sequences of these lengths, int64 ``[sequences]``, in this order."""
    edges = np.flatnonzero(np.diff(lengths)) + 1
    firsts = np.concatenate([[0], edges])
    counts = np.diff(np.concatenate([firsts, [len(lengths)]]))
    starts = np.cumsum(lengths) - lengths
    groups = tuple(
        (int(starts[first]), int(count), int(lengths[first]))
        for first, count in zip(firsts, counts, strict=True)
    )
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return Layout(
        bounds=torch.from_numpy(bounds).to(device),
        groups=groups,
        longest=int(lengths.max()),
    )


def load_network(model: Model, device: str, dtype: str, road: str) -> Any:
    """The model's network in eval mode.

    Args:
        model: what to load.
        device: ``cpu`` or ``cuda``.
        dtype: of linear layers and attention: ``float32``, ``bfloat16`` or ``float16``.
        road: ``packed``; ``sdpa``, for padded batches; or ``eager``, the unmodified model.

    Raises:
        BadInput: weights are missing from the model's files.
    """
    from transformers import AttentionInterface, AttentionMaskInterface, AutoConfig

    config = AutoConfig.from_pretrained(model.folder, local_files_only=True)
    if road == "packed":
        AttentionInterface.register(_ATTENTION, packed_attention)
        AttentionMaskInterface.register(_ATTENTION, _no_mask)
    if road != "eager" and getattr(config, "hidden_act", "") == "gelu_new":
        # The same function, fused.
        config.hidden_act = "gelu_pytorch_tanh"
    unpooled = {"add_pooling_layer": False} if model.model_type in PACKABLE else {}
    attention = _ATTENTION if road == "packed" else road
    try:
        network, report = _load_weights(model, config, attention, unpooled)
    except ValueError:
        if road != "sdpa":
            raise
        # Some families have their own attention and no other.
        network, report = _load_weights(model, config, "eager", unpooled)
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise BadInput(
            f"model {model.identity.name!r} lacks {len(missing)} of its weights, {missing[0]!r} "
            f"among them; restore its .safetensors file, or use another family than "
            f"{model.model_type!r}"
        )
    if dtype != "float32":
        _narrow_linears(network, getattr(torch, dtype))
    return network.eval().to(device)


def _load_weights(model: Model, config: Any, attention: str, options: dict[str, Any]) -> Any:
    from transformers import AutoModel

    with hushed():
        return AutoModel.from_pretrained(
            model.folder,
            config=config,
            dtype=torch.float32,
            attn_implementation=attention,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )


@contextmanager
def hushed() -> Iterator[None]:
    """Without transformers' progress bar and load report: what they tell is checked here."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def _narrow_linears(network: torch.nn.Module, dtype: torch.dtype) -> None:
    """Compute the layers' linear layers and attention in ``dtype``, all else in float32.

    The word vectors, their mapping to the layers' width, the layer norms and the stream between
    layers take little time and most of the rounding: with them in bfloat16 too, a cosine of 0.99986
    was seen where this gives 0.99994.
    """
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear) and not name.endswith(_MAPPINGS):
            module.to(dtype)
            module.register_forward_pre_hook(cast_input)
        if isinstance(module, torch.nn.LayerNorm) and module.weight is not None:
            # CUDA refuses a norm of one dtype and states of another.
            module.register_forward_pre_hook(cast_input)


def cast_input(module: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[Any, ...]:
    """A hook that gives a layer its input in the dtype of its weights."""
    return (inputs[0].to(module.weight.dtype), *inputs[1:])


def _no_mask(*_: Any, **__: Any) -> None:
    return None


def _has_varlen(query: torch.Tensor) -> bool:
    return (
        query.is_cuda
        and query.dtype in (torch.float16, torch.bfloat16)
        and query.shape[-1] % 8 == 0
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
    )
