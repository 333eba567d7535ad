"""ALBERT's and BERT's layers with products of bytes, in which no text depends on its neighbours.

Attention, norms, activations and the residual stream stay in floating point. Each of these steps
takes the rows, or the sequences, one by one; what it computes for one does not depend on how many
there are.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from transforms.encoder.cpu_attention import attend_by_products, attention_workspace
from transforms.encoder.int8_products import CENTRED, NEARLY_POSITIVE, Int8Product
from transforms.encoder.layer_parts import ACTIVATIONS, LayerParts
from transforms.encoder.network import Layout

#: The largest size of each state before two products of a layer, float32 ``[hidden]`` each.
Peaks = tuple[torch.Tensor, torch.Tensor]

#: Rows that go through the products before and after attention at once. Fewer would read the
#: weights more often, more would leave the cache.
_ROWS = 512
#: Numbers of float32 in 64 bytes.
_ALIGNED = 16


@dataclass(frozen=True)
class Int8Layer:
    """One layer: four products of bytes and two layer norms.

    Attributes:
        mix: gives query, key and value at once.
        output: the projection after attention.
        expand, shrink: the feed-forward layers.
        activate: the activation between these, in place.
        attention_norm, output_norm: the norms after the two residual sums.
        heads: the number of attention heads.
        by_products: whether attention is `attend_by_products`; ``mix`` then scales the queries.
    """

    mix: Int8Product
    output: Int8Product
    expand: Int8Product
    shrink: Int8Product
    activate: Callable[[torch.Tensor], torch.Tensor]
    attention_norm: torch.nn.LayerNorm
    output_norm: torch.nn.LayerNorm
    heads: int
    by_products: bool

    @classmethod
    def make(cls, parts: LayerParts, by_products: bool, peaks: "Peaks | None") -> "Int8Layer":
        """Convert the weights of a layer, which are in float32.

        Args:
            parts: the layer.
            by_products: whether attention is `attend_by_products`.
            peaks: the largest states before ``mix`` and before ``expand``.
        """
        before_mix, before_expand = peaks or (None, None)
        return cls(
            Int8Product(parts.mixing(by_products), CENTRED, before_mix),
            Int8Product([parts.output], CENTRED),
            Int8Product([parts.expand], CENTRED, before_expand),
            Int8Product([parts.shrink], NEARLY_POSITIVE),
            _activation(parts.activation),
            parts.attention_norm,
            parts.output_norm,
            parts.heads,
            by_products,
        )

    def __call__(
        self, states: torch.Tensor, layout: Layout, workspace: torch.Tensor
    ) -> torch.Tensor:
        """Return the new states, float32 ``[tokens, hidden]``; the given ones are overwritten."""
        scratch = states.new_empty(min(_ROWS, len(states)), states.shape[1])
        kind = torch.bfloat16 if self.by_products else torch.float32
        mixed = states.new_empty(len(states), len(self.mix.bias), dtype=kind)
        for some, out in zip(torch.split(states, _ROWS), torch.split(mixed, _ROWS), strict=True):
            out.copy_(self.mix(self.mix.quantize(some, scratch[: len(some)])))
        attended = self._attend(mixed, layout, workspace)
        for some, weighed in zip(
            torch.split(states, _ROWS), torch.split(attended, _ROWS), strict=True
        ):
            self.output.add_to(some, self.output.quantize(weighed, weighed))
            normed = self.attention_norm(some)
            # From here on, the rows of `some` are free.
            stretched = self.activate(self.expand(self.expand.quantize(normed, some)))
            self.shrink.add_to(normed, self.shrink.quantize(stretched, stretched))
            some.copy_(self.output_norm(normed))
        return states

    def workspace(self, layout: Layout, width: int) -> torch.Tensor:
        """Return a workspace for attention; ``width`` is that of the states."""
        if not self.by_products:
            return torch.empty(0)
        return attention_workspace(layout, self.heads, width // self.heads)

    def _attend(self, mixed: torch.Tensor, layout: Layout, workspace: torch.Tensor) -> torch.Tensor:
        """Attend within each sequence: ``[tokens, 3 * hidden] -> [tokens, hidden]``, in float32.

        Which way is taken, and how the sums are ordered, depends on a sequence's length alone.
        """
        width = mixed.shape[1] // 3
        head = width // self.heads
        attended = mixed.new_empty(len(mixed), width, dtype=torch.float32)
        last = 0
        for first, sequences, length in layout.groups:
            last = first + sequences * length
            rows = mixed[first:last].view(sequences, length, 3, self.heads, head)
            parts = rows.permute(2, 0, 3, 1, 4)
            block = attended[first:last].view(sequences, length, self.heads, head).transpose(1, 2)
            if self.by_products:
                attend_by_products(parts, block, workspace)
                continue
            # A row starts at a multiple of 64 bytes, or in a copy, so that the place of a sequence
            # does not decide which instructions compute it.
            query, key, value = parts if mixed.shape[1] % _ALIGNED == 0 else parts.contiguous()
            block.copy_(functional.scaled_dot_product_attention(query, key, value))
        attended[last:] = 0
        return attended


def _activation(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the activation, which overwrites its input."""
    kind, _ = ACTIVATIONS[name]
    # By hyperbolic tangents, a GELU takes thrice the time. The two forms differ by 0.0005 at most,
    # a tenth of the smallest step between bytes.
    return torch.relu_ if kind == "relu" else torch.ops.aten.gelu_
