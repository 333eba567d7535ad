"""The names of the parts of a layer, in ALBERT and in BERT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LayerNames:
    """The modules of one stored layer, by their names in transformers' bare encoder.

    Attributes:
        place: the layer.
        query, key, value: the projections before attention.
        output: the projection after attention.
        expand, shrink: the feed-forward products.
    """

    place: str
    query: str
    key: str
    value: str
    output: str
    expand: str
    shrink: str

    @property
    def modules(self) -> tuple[str, ...]:
        """The names of the six products."""
        return (self.query, self.key, self.value, self.output, self.expand, self.shrink)


_PARTS = {
    "albert": (
        *("attention.query", "attention.key", "attention.value", "attention.dense"),
        *("ffn", "ffn_output"),
    ),
    "bert": (
        *("attention.self.query", "attention.self.key", "attention.self.value"),
        *("attention.output.dense", "intermediate.dense", "output.dense"),
    ),
}


def stored_layers(config: Any) -> list[list[LayerNames]]:
    """Return the stored layers of a network: group by group, and the layers of each group."""
    if config.model_type == "albert":
        places = [
            [
                f"encoder.albert_layer_groups.{group}.albert_layers.{inner}"
                for inner in range(config.inner_group_num)
            ]
            for group in range(config.num_hidden_groups)
        ]
    else:
        places = [[f"encoder.layer.{number}"] for number in range(config.num_hidden_layers)]
    parts = _PARTS[config.model_type]
    return [
        [LayerNames(place, *(f"{place}.{part}" for part in parts)) for place in group]
        for group in places
    ]
