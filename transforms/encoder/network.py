"""The network: loaded from a model's files, with packed attention for sequences end to end.

A packed batch is one sequence ``[1, total_tokens]``, whose position ids restart for each sequence.
Every linear layer then works on real tokens only. Only attention must know where sequences end; it
gets the layout through transformers' attention interface.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from transforms.encoder.transfers import to_device
from transforms.errors import BadInput
from transforms.models.resolve import Model, read_config
from transforms.runtime.forks import loading

#: Families that can run packed. Others offset their positions or use local masks.
PACKABLE = frozenset({"albert", "bert"})
_ATTENTION = "albeam_packed"
#: The widest head that flash attention has kernels for.
_WIDEST_FLASH_HEAD = 256
#: The linear layers that map factorized word vectors to the layers' width (ALBERT, ELECTRA).
_MAPPINGS = ("embedding_hidden_mapping_in", "embeddings_project")


@dataclass(frozen=True)
class Layout:
    """The places of the sequences in a packed batch.

    Attributes:
        bounds: cumulative lengths, int32 ``[sequences + 1]`` on the device.
        groups: runs of sequences of equal length, as ``(first token, sequences, length)``.
        longest: the largest length.
    """

    bounds: torch.Tensor
    groups: tuple[tuple[int, int, int], ...]
    longest: int


def pool(states: torch.Tensor, lengths: torch.Tensor, pooling: str) -> torch.Tensor:
    """Return one vector per sequence: the mean, first or elementwise maximum of its token states.

    Args:
        states: ``[total_tokens, hidden]``, float32, sequences end to end.
        lengths: ``[sequences]``, int64.
        pooling: ``mean``, ``cls`` or ``max``.
    """
    if pooling == "cls":
        return states[torch.cumsum(lengths, 0) - lengths]
    # The check of the lengths would wait for the device; a batch's lengths are right.
    return torch.segment_reduce(states, pooling, lengths=lengths, axis=0, unsafe=True)


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
    """Compute attention within each sequence of a packed batch.

    Args:
        module: the attention layer, unused.
        query, key, value: ``[1, heads, total_tokens, head_dim]``.
        attention_mask: unused; the layout replaces it.
        scaling: factor of the scores; ``head_dim ** -0.5`` by default.
        layout: where the sequences lie.

    Returns:
        ``[1, total_tokens, heads, head_dim]``, and None for the weights.
    """
    assert layout is not None, "packed attention needs the layout of its batch"
    query, key, value = (states[0].transpose(0, 1) for states in (query, key, value))
    if _has_varlen(query):
        # `varlen_attn` uses cuDNN from Hopper on, which builds and keeps a plan for each new shape
        # of a batch, and nearly every batch has a new shape.
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
    """Return the layout of sequences of these lengths, int64 ``[sequences]``, in this order."""
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
        bounds=to_device(bounds, device),
        groups=groups,
        longest=int(lengths.max()),
    )


def load_network(model: Model, device: str, dtype: str, attention: str) -> Any:
    """Load the model's network in eval mode.

    Args:
        model: what to load.
        device: ``cpu`` or ``cuda``.
        dtype: that of linear layers and attention: ``float32``, ``bfloat16`` or ``float16``.
        attention: ``packed``; ``sdpa``, for padded batches; or ``eager``, the unmodified model.

    Raises:
        BadInput: weights are missing from the model's files.
    """
    with loading():
        return _load_network(model, device, dtype, attention)


def _load_network(model: Model, device: str, dtype: str, attention: str) -> Any:
    from transformers import AttentionInterface, AttentionMaskInterface

    config = read_config(model.folder, model.identity.name)
    if attention == "packed":
        AttentionInterface.register(_ATTENTION, packed_attention)
        AttentionMaskInterface.register(_ATTENTION, _no_mask)
    if attention != "eager" and getattr(config, "hidden_act", "") == "gelu_new":
        # The same function, as one fused kernel.
        config.hidden_act = "gelu_pytorch_tanh"
    unpooled = {"add_pooling_layer": False} if model.model_type in PACKABLE else {}
    implementation = _ATTENTION if attention == "packed" else attention
    try:
        network, report = _load_weights(model, config, implementation, unpooled)
    except ValueError:
        if attention != "sdpa":
            raise
        # Some families support only their own attention.
        network, report = _load_weights(model, config, "eager", unpooled)
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise BadInput(
            "model",
            model.identity.name,
            f"its files lack {len(missing)} of its weights, such as {missing[0]!r}",
            f"Restore its .safetensors file, or use a model of another type than "
            f"{model.model_type!r}",
        )
    if dtype != "float32":
        _narrow_linears(network, getattr(torch, dtype))
    return network.eval().to(device)


def _load_weights(model: Model, config: Any, attention: str, options: dict[str, Any]) -> Any:
    from transformers import AutoModel

    with without_logs():
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
def without_logs() -> Iterator[None]:
    """Suppress transformers' progress bar and load report while the context is open."""
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
    """Convert the linear layers and attention to ``dtype``; everything else stays in float32.

    The word vectors, their mapping to the layers' width, the layer norms and the residual stream
    take little time but cause most of the rounding error. With these in bfloat16 too, the cosine
    to the float32 model was 0.99986 in a test; it is 0.99994 without.
    """
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear) and not name.endswith(_MAPPINGS):
            module.to(dtype)
            module.register_forward_pre_hook(cast_input)
        if isinstance(module, torch.nn.LayerNorm) and module.weight is not None:
            # CUDA requires that a norm and its input have the same dtype.
            module.register_forward_pre_hook(cast_input)


def cast_input(module: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[Any, ...]:
    """Convert a layer's input to the dtype of its weights; a forward pre-hook."""
    return (inputs[0].to(module.weight.dtype), *inputs[1:])


def _no_mask(*_: Any, **__: Any) -> None:
    return None


def _has_varlen(query: torch.Tensor) -> bool:
    return (
        query.is_cuda
        and query.dtype in (torch.float16, torch.bfloat16)
        and query.shape[-1] % 8 == 0
        and query.shape[-1] <= _WIDEST_FLASH_HEAD
        and bool(torch.backends.cuda.flash_sdp_enabled())  # type: ignore[no-untyped-call]
        and torch.backends.cuda.is_flash_attention_available()
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
    )
