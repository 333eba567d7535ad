"""Remove heads, inner units and layers from the weights of an ALBERT or a BERT."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.compression.importance import Importance
from transforms.compression.layer_names import LayerNames, stored_layers
from transforms.compression.sizes import Sizes

Array = npt.NDArray[np.floating]


def prune(
    config: Any, weights: Mapping[str, Array], sizes: Sizes, importance: Mapping[str, Importance]
) -> tuple[Any, dict[str, Array]]:
    """Return config and weights of the smaller network.

    Args:
        config: transformers' config.
        weights: arrays named as in the bare encoder.
        sizes: those of the result, of `pruned_sizes`.
        importance: that of heads and inner units, by the place of the layer.
    """
    layers = stored_layers(config)
    kept_groups = _spread(len(layers), sizes.groups)
    smaller = _smaller_config(config, sizes)
    inside = tuple(f"{names.place}." for group in layers for names in group)
    found = {name: array for name, array in weights.items() if not name.startswith(inside)}
    for target, group in zip(stored_layers(smaller), kept_groups, strict=True):
        for new, old in zip(target, layers[group], strict=True):
            layer = {
                name.removeprefix(f"{old.place}."): array
                for name, array in weights.items()
                if name.startswith(f"{old.place}.")
            }
            layer |= _pruned_layer(old, weights, config, sizes, importance[old.place])
            found |= {f"{new.place}.{part}": array for part, array in layer.items()}
    return smaller, found


def parameters(weights: Mapping[str, Array]) -> int:
    """Count the numbers in some weights."""
    return sum(array.size for array in weights.values())


def products_per_token(config: Any) -> int:
    """Count the multiplications of a token in the products of all layers, but for attention."""
    repeats = int(config.num_hidden_layers) * int(getattr(config, "inner_group_num", 1))
    width = int(config.hidden_size)
    return repeats * (4 * width * width + 2 * width * int(config.intermediate_size))


def _smaller_config(config: Any, sizes: Sizes) -> Any:
    smaller = copy.deepcopy(config)
    smaller.num_hidden_layers = sizes.layers
    smaller.num_attention_heads, smaller.intermediate_size = sizes.heads, sizes.inner
    if config.model_type == "albert":
        smaller.num_hidden_groups = sizes.groups
    return smaller


def _spread(count: int, kept: int) -> list[int]:
    """Return the numbers of the groups that remain: evenly spread, with the first and the last."""
    return [round(place) for place in np.linspace(0, count - 1, kept)]


def most_important(importance: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.int64]:
    """Return the places of the ``count`` most important ones, in their order."""
    return np.sort(np.argsort(-importance, kind="stable")[:count])


def _pruned_layer(
    names: LayerNames,
    weights: Mapping[str, Array],
    config: Any,
    sizes: Sizes,
    importance: Importance,
) -> dict[str, Array]:
    """Return the changed weights of a layer, by their names inside it."""
    found: dict[str, Array] = {}
    if sizes.inner < config.intermediate_size:
        kept = most_important(importance.inner, sizes.inner)
        found |= {
            f"{names.expand}.weight": weights[f"{names.expand}.weight"][kept],
            f"{names.expand}.bias": weights[f"{names.expand}.bias"][kept],
            f"{names.shrink}.weight": weights[f"{names.shrink}.weight"][:, kept],
        }
    if sizes.heads < config.num_attention_heads:
        found |= _fewer_heads(names, weights, config, sizes.heads, importance.heads)
    return {name.removeprefix(f"{names.place}."): array for name, array in found.items()}


def _fewer_heads(
    names: LayerNames,
    weights: Mapping[str, Array],
    config: Any,
    count: int,
    importance: npt.NDArray[np.float64],
) -> dict[str, Array]:
    """Let the most important heads attend, and the values of the others follow them.

    The heads that remain are wider. The place for more goes to the rows of the other heads: their
    values, which now follow the attention of a head that remains, and their queries, whose keys
    are zero, so that they change no attention but can be trained.
    """
    heads, width = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    kept = most_important(importance, count)
    rows = np.arange(heads * width).reshape(heads, width)
    others = np.delete(rows, kept, axis=0).reshape(count, -1)
    order = np.concatenate([rows[kept], others], axis=1)
    # A wider head divides its scores by more.
    scale = np.full(order.shape, np.sqrt(order.shape[1] / width), np.float32)
    own = np.zeros(order.shape, np.float32)
    own[:, :width] = 1
    flat = order.reshape(-1)
    found: dict[str, Array] = {}
    for module, factors in ((names.query, scale), (names.key, own), (names.value, own**0)):
        factor = factors.reshape(-1)
        found[f"{module}.bias"] = weights[f"{module}.bias"][flat] * factor
        found[f"{module}.weight"] = weights[f"{module}.weight"][flat] * factor[:, None]
    found[f"{names.output}.weight"] = weights[f"{names.output}.weight"][:, flat]
    return found
