"""The sizes of a network before and after a pruning, as a plain config can express them.

A config has one number of heads and one of inner units, so that all layers keep equally many. Its
heads share the hidden size among them: fewer heads are wider.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from transforms.compression.options import Pruning
from transforms.errors import BadInput

#: Matrix units of processors take so many columns at once.
_STEP = 8


@dataclass(frozen=True)
class Sizes:
    """The sizes that a pruning changes.

    Attributes:
        layers: layers, or repeats of shared ones.
        groups: groups of layers that share their weights; as many as layers if none do.
        heads: attention heads.
        inner: units between the two feed-forward products.
    """

    layers: int
    groups: int
    heads: int
    inner: int

    @classmethod
    def of(cls, config: Any) -> Sizes:
        """Read the sizes of transformers' config of an ALBERT or a BERT."""
        layers = config.num_hidden_layers
        groups = config.num_hidden_groups if config.model_type == "albert" else layers
        return cls(layers, groups, config.num_attention_heads, config.intermediate_size)


def pruned_sizes(config: Any, pruning: Pruning) -> Sizes:
    """Return the sizes after a pruning.

    Raises:
        BadInput: nothing would remain, or a plain config can't express the result.
    """
    now = Sizes.of(config)
    layers = now.layers
    if pruning.layers is not None:
        if pruning.layers >= now.layers:
            raise BadInput(
                "layers",
                pruning.layers,
                f"is not fewer than the {now.layers} layers of the model",
                f"Give {now.layers - 1} or less"
                if now.layers > 1
                else "Leave it out: one layer must remain",
            )
        layers = pruning.layers
    return Sizes(
        layers,
        min(now.groups, layers),
        _heads(now.heads, int(config.hidden_size), pruning.prune_heads),
        _inner(now.inner, pruning.prune_inner),
    )


def _heads(heads: int, hidden: int, prune: int | float | None) -> int:
    """Return how many heads remain; they divide the hidden size."""
    if prune is None:
        return heads
    possible = [count for count in range(1, heads) if hidden % count == 0]
    if not possible:
        remedy = "Leave it out: one head must remain"
        raise BadInput("prune_heads", prune, "leaves none, since the model has one head", remedy)
    remedy = f"Give one of {', '.join(str(heads - count) for count in reversed(possible))}"
    if isinstance(prune, float):
        wanted = heads * (1 - prune)
        return min(possible, key=lambda count: (abs(count - wanted), -count))
    if prune >= heads:
        raise BadInput("prune_heads", prune, f"leaves none of the {heads} heads", remedy)
    if heads - prune not in possible:
        raise BadInput(
            "prune_heads",
            prune,
            f"leaves {heads - prune} heads, which can't share the hidden size of {hidden} evenly",
            remedy,
        )
    return heads - prune


def _inner(inner: int, prune: int | float | None) -> int:
    """Return how many inner units remain; of a share, a multiple of 8 if there are as many."""
    if prune is None:
        return inner
    if isinstance(prune, int):
        left = inner - prune
    else:
        exact = inner * (1 - prune)
        step = _STEP if inner > _STEP else 1
        left = max(step, math.floor(exact / step + 0.5) * step)
    if left < 1 or left >= inner:
        raise BadInput(
            "prune_inner",
            prune,
            f"leaves {'none' if left < 1 else 'all'} of the {inner} inner units",
            f"Give a number up to {inner - 1}, or a share such as 0.5"
            if inner > 1
            else "Leave it out: one unit must remain",
        )
    return left
