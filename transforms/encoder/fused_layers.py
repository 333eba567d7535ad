"""ALBERT's and BERT's layers on the CPU, fused into as few matrix products as possible.

They compute the same sums as transformers' modules in fewer passes over memory. One product gives
query, key and value. The activation is part of the preceding product. The weights are stored once
in oneDNN's own layout. As in `network`, sequences lie end to end without padding. The residual
stream, the norms and the word vectors stay in float32, whatever dtype the products use.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from transforms.encoder.cpu_attention import LOG2_E, attend_by_products, workspace_size
from transforms.encoder.network import Layout

#: oneDNN's names of the activations that it can fuse into a product.
_ACTIVATIONS = {
    "gelu": ("gelu", "none"),
    "gelu_new": ("gelu", "tanh"),
    "gelu_pytorch_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
}
#: Batches are padded to a multiple of so many tokens. Those of more than `_MANY_TOKENS`, where
#: padding costs less, are padded to a multiple of twice as many.
_ROUNDED, _MANY_TOKENS = 32, 1_024
#: From this length on, torch's attention kernel is faster on contiguous copies.
_COPIED = 64
#: From so many tokens of equal length on, attention by products is faster than torch's kernel.
_MANY = 48

Product = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class _Layer:
    """One layer: four products, ``[tokens, in] -> [tokens, out]``, and two layer norms.

    Attributes:
        mix: gives query, key and value at once.
        output: the projection after attention.
        expand: the first feed-forward layer with its activation.
        shrink: the second feed-forward layer.
        attention_norm, output_norm: the norms after the two residual sums.
        heads: the number of attention heads.
        by_products: whether attention is `attend_by_products`; ``mix`` then scales the queries.
    """

    mix: Product
    output: Product
    expand: Product
    shrink: Product
    attention_norm: torch.nn.LayerNorm
    output_norm: torch.nn.LayerNorm
    heads: int
    by_products: bool

    def __call__(
        self, states: torch.Tensor, dtype: torch.dtype, layout: Layout, workspace: torch.Tensor
    ) -> torch.Tensor:
        """Return the new states, float32 ``[tokens, hidden]``; the given ones are overwritten."""
        attended = self.attend(self.mix(states.to(dtype)), layout, workspace)
        states = self.attention_norm(states.add_(self.output(attended)))
        stretched = self.expand(states.to(dtype))
        normed: torch.Tensor = self.output_norm(states.add_(self.shrink(stretched)))
        return normed

    def workspace(self, layout: Layout, width: int, dtype: torch.dtype) -> torch.Tensor:
        """Return a workspace for `attend`; ``width`` is that of the states."""
        groups = layout.groups if self.by_products else ()
        head = width // self.heads
        sizes = [workspace_size(count, self.heads, length, head) for _, count, length in groups]
        return torch.empty(max(sizes, default=0), dtype=dtype)

    def attend(self, mixed: torch.Tensor, layout: Layout, workspace: torch.Tensor) -> torch.Tensor:
        """Attend within each sequence: ``[tokens, 3 * hidden] -> [tokens, hidden]``."""
        width = mixed.shape[1] // 3
        head = width // self.heads
        attended = mixed.new_empty(len(mixed), width)
        last = 0
        for first, sequences, length in layout.groups:
            last = first + sequences * length
            rows = mixed[first:last]
            parts = rows.view(sequences, length, 3, self.heads, head).permute(2, 0, 3, 1, 4)
            block = attended[first:last].view(sequences, length, self.heads, head).transpose(1, 2)
            if self.by_products and len(rows) >= _MANY:
                attend_by_products(parts, block, workspace)
            else:
                query, key, value = parts.contiguous() if length >= _COPIED else parts
                scale = 1 / LOG2_E if self.by_products else None
                block.copy_(functional.scaled_dot_product_attention(query, key, value, scale=scale))
        attended[last:] = 0
        return attended


class FusedNetwork:
    """A loaded ALBERT or BERT with fused layers."""

    def __init__(self, network: Any, dtype: torch.dtype, by_products: bool = False) -> None:
        """Convert the weights of transformers' ``AlbertModel`` or ``BertModel`` in float32.

        Args:
            network: its embeddings and norms are shared, its linear layers are copied.
            dtype: the dtype of the products and of attention.
            by_products: whether attention is `attend_by_products` or torch's kernel.
        """
        self.embed = network.embeddings
        mapping = getattr(network.encoder, "embedding_hidden_mapping_in", None)
        self._widen = make_product([mapping], torch.float32) if mapping is not None else None
        self._dtype = dtype
        self._layers = _layers(network, dtype, by_products)

    def __call__(
        self, ids: torch.Tensor, positions: torch.Tensor, layout: Layout, layer: int = -1
    ) -> torch.Tensor:
        """Return the states after a layer, float32 ``[tokens, hidden]``.

        Args:
            ids: int64 ``[tokens]``, sequences end to end.
            positions: int64 ``[tokens]``, from 0 in each sequence.
            layout: where the sequences lie.
            layer: an index into transformers' ``hidden_states``: 0 is before the first layer, -1
                after the last. Later layers are not run.
        """
        tokens = len(ids)
        # oneDNN generates and keeps code for each number of rows.
        rest = -tokens % (_ROUNDED if tokens <= _MANY_TOKENS else 2 * _ROUNDED)
        ids, positions = (functional.pad(each, (0, rest)) for each in (ids, positions))
        states: torch.Tensor = self.embed(input_ids=ids[None], position_ids=positions[None])[0]
        if self._widen is not None:
            states = self._widen(states)
        last = layer if layer >= 0 else len(self._layers) + 1 + layer
        # One workspace for all groups and layers: many allocations would fragment the memory.
        workspace = self._layers[0].workspace(layout, states.shape[1], self._dtype)
        for one in self._layers[:last]:
            states = one(states, self._dtype, layout, workspace)
        return states[:tokens]


def can_fuse(model_type: str, activation: str, device: str) -> bool:
    """Return whether `FusedNetwork` supports such a model."""
    return (
        device == "cpu"
        and model_type in _READERS
        and activation in _ACTIVATIONS
        and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    )


def _layers(network: Any, dtype: torch.dtype, by_products: bool) -> list[_Layer]:
    """Return the layers in the order in which they run; shared layers are one object."""
    config = network.config
    read = _READERS[config.model_type]
    made: dict[int, _Layer] = {}
    order = []
    for module in _modules(network):
        if id(module) not in made:
            made[id(module)] = read(module, config, dtype, by_products)
        order.append(made[id(module)])
    return order


def _modules(network: Any) -> list[Any]:
    if network.config.model_type == "bert":
        return list(network.encoder.layer)
    config, groups = network.config, network.encoder.albert_layer_groups
    share = config.num_hidden_layers / config.num_hidden_groups
    return [
        module
        for number in range(config.num_hidden_layers)
        for module in groups[int(number / share)].albert_layers
    ]


def _read_albert(module: Any, config: Any, dtype: torch.dtype, by_products: bool) -> _Layer:
    attention = module.attention
    return _Layer(
        _mix(attention, config, dtype, by_products),
        make_product([attention.dense], dtype),
        make_product([module.ffn], dtype, config.hidden_act),
        make_product([module.ffn_output], dtype),
        attention.LayerNorm,
        module.full_layer_layer_norm,
        config.num_attention_heads,
        by_products,
    )


def _read_bert(module: Any, config: Any, dtype: torch.dtype, by_products: bool) -> _Layer:
    own, output = module.attention.self, module.attention.output
    return _Layer(
        _mix(own, config, dtype, by_products),
        make_product([output.dense], dtype),
        make_product([module.intermediate.dense], dtype, config.hidden_act),
        make_product([module.output.dense], dtype),
        output.LayerNorm,
        module.output.LayerNorm,
        config.num_attention_heads,
        by_products,
    )


def _mix(attention: Any, config: Any, dtype: torch.dtype, by_products: bool) -> Product:
    """Join query, key and value into one product; scale the query for `attend_by_products`."""
    query = attention.query
    if by_products:
        query = copy.deepcopy(query)
        with torch.no_grad():
            for each in (query.weight, query.bias):
                each.mul_(LOG2_E * (config.hidden_size // config.num_attention_heads) ** -0.5)
    return make_product([query, attention.key, attention.value], dtype)


_READERS = {"albert": _read_albert, "bert": _read_bert}


def make_product(linears: list[Any], dtype: torch.dtype, activation: str = "") -> Product:
    """Join linear layers of one input into one CPU product, with an optional activation."""
    weight = torch.cat([linear.weight.detach() for linear in linears]).to(dtype)
    bias = torch.cat([linear.bias.detach() for linear in linears]).to(dtype)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight)
    kind, algorithm = _ACTIVATIONS[activation] if activation else ("none", "")

    def multiply(states: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            states, packed, bias, kind, [], algorithm
        )
        return product

    return multiply
