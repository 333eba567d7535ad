"""ALBERT's and BERT's layers on the CPU, fused into as few matrix products as possible.

They compute the same sums as transformers' modules in fewer passes over memory. One product gives
query, key and value. The activation is part of the preceding product. The weights are stored once
in oneDNN's own layout. As in `network`, sequences lie end to end without padding. The residual
stream, the norms and the word vectors stay in float32, whatever dtype the products use.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.nn import functional

from transforms.encoder.cpu_attention import LOG2_E, attend_by_products, attention_workspace
from transforms.encoder.layer_parts import ACTIVATIONS, LayerParts, read_layers
from transforms.encoder.network import Layout

#: Batches are padded to a multiple of so many tokens. Those of more than `_MANY_TOKENS`, where
#: padding costs less, are padded to a multiple of twice as many.
_ROUNDED, _MANY_TOKENS = 32, 1_024
#: From this length on, torch's attention kernel is faster on contiguous copies.
_COPIED = 64
#: From so many tokens of equal length on, attention by products is faster than torch's kernel.
_MANY = 48

Product = Callable[[torch.Tensor], torch.Tensor]


class Layer(Protocol):
    """One layer of a fused network."""

    def __call__(
        self, states: torch.Tensor, layout: Layout, workspace: torch.Tensor
    ) -> torch.Tensor:
        """Return the new states, float32 ``[tokens, hidden]``; the given ones are overwritten."""

    def workspace(self, layout: Layout, width: int) -> torch.Tensor:
        """Return a workspace for one batch, given the width of its states."""


@dataclass(frozen=True)
class FusedLayer:
    """One layer: four products, ``[tokens, in] -> [tokens, out]``, and two layer norms.

    Attributes:
        mix: gives query, key and value at once.
        output: the projection after attention.
        expand: the first feed-forward layer with its activation.
        shrink: the second feed-forward layer.
        attention_norm, output_norm: the norms after the two residual sums.
        heads: the number of attention heads.
        dtype: the dtype of the products and of attention.
        by_products: whether attention is `attend_by_products`; ``mix`` then scales the queries.
    """

    mix: Product
    output: Product
    expand: Product
    shrink: Product
    attention_norm: torch.nn.LayerNorm
    output_norm: torch.nn.LayerNorm
    heads: int
    dtype: torch.dtype
    by_products: bool

    @classmethod
    def make(cls, parts: LayerParts, dtype: torch.dtype, by_products: bool) -> "FusedLayer":
        """Convert the weights of a layer, which are in float32."""
        return cls(
            make_product(parts.mixing(by_products), dtype),
            make_product([parts.output], dtype),
            make_product([parts.expand], dtype, parts.activation),
            make_product([parts.shrink], dtype),
            parts.attention_norm,
            parts.output_norm,
            parts.heads,
            dtype,
            by_products,
        )

    def __call__(
        self, states: torch.Tensor, layout: Layout, workspace: torch.Tensor
    ) -> torch.Tensor:
        """Return the new states, float32 ``[tokens, hidden]``; the given ones are overwritten."""
        attended = self.attend(self.mix(states.to(self.dtype)), layout, workspace)
        states = self.attention_norm(states.add_(self.output(attended)))
        stretched = self.expand(states.to(self.dtype))
        normed: torch.Tensor = self.output_norm(states.add_(self.shrink(stretched)))
        return normed

    def workspace(self, layout: Layout, width: int) -> torch.Tensor:
        """Return a workspace for `attend`; ``width`` is that of the states."""
        if not self.by_products:
            return torch.empty(0)
        return attention_workspace(layout, self.heads, width // self.heads)

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

    def __init__(self, network: Any, make: Callable[[LayerParts], Layer]) -> None:
        """Convert the weights of transformers' ``AlbertModel`` or ``BertModel`` in float32.

        Args:
            network: its embeddings and norms are shared, its linear layers are copied.
            make: converts one layer.
        """
        self.embed = network.embeddings
        mapping = getattr(network.encoder, "embedding_hidden_mapping_in", None)
        self._widen = make_product([mapping], torch.float32) if mapping is not None else None
        self._layers = read_layers(network, make)

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
        workspace = self._layers[0].workspace(layout, states.shape[1])
        for one in self._layers[:last]:
            states = one(states, layout, workspace)
        return states[:tokens]


def make_product(linears: list[Any], dtype: torch.dtype, activation: str = "") -> Product:
    """Join linear layers of one input into one CPU product, with an optional activation."""
    weight = torch.cat([linear.weight.detach() for linear in linears]).to(dtype)
    bias = torch.cat([linear.bias.detach() for linear in linears]).to(dtype)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight)
    kind, algorithm = ACTIVATIONS[activation] if activation else ("none", "")

    def multiply(states: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            states, packed, bias, kind, [], algorithm
        )
        return product

    return multiply
