"""The parts of ALBERT's and BERT's layers, whatever their modules are called."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from transforms.encoder.cpu_attention import LOG2_E

Made = TypeVar("Made")

#: oneDNN's names of the activations that it can fuse into a product.
ACTIVATIONS = {
    "gelu": ("gelu", "none"),
    "gelu_new": ("gelu", "tanh"),
    "gelu_pytorch_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
}


@dataclass(frozen=True)
class LayerParts:
    """The modules of one layer.

    Attributes:
        query, key, value: the projections before attention.
        output: the projection after attention.
        expand: the first feed-forward layer, without its activation.
        shrink: the second feed-forward layer.
        attention_norm, output_norm: the norms after the two residual sums.
        heads: the number of attention heads.
        activation: one of `ACTIVATIONS`.
    """

    query: torch.nn.Linear
    key: torch.nn.Linear
    value: torch.nn.Linear
    output: torch.nn.Linear
    expand: torch.nn.Linear
    shrink: torch.nn.Linear
    attention_norm: torch.nn.LayerNorm
    output_norm: torch.nn.LayerNorm
    heads: int
    activation: str

    def mixing(self, for_powers: bool) -> list[torch.nn.Linear]:
        """Return query, key and value; the query is scaled for powers of two if that is wanted."""
        query = self.query
        if for_powers:
            query = copy.deepcopy(query)
            with torch.no_grad():
                for each in (query.weight, query.bias):
                    each.mul_(LOG2_E * (query.out_features // self.heads) ** -0.5)
        return [query, self.key, self.value]


def can_fuse(model_type: str, activation: str, device: str) -> bool:
    """Return whether a network of albeam's own layers supports such a model."""
    return (
        device == "cpu"
        and model_type in _READERS
        and activation in ACTIVATIONS
        and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    )


def read_layers(network: Any, make: Callable[[LayerParts], Made]) -> list[Made]:
    """Make the layers in the order in which they run; shared layers are one object."""
    read = _READERS[network.config.model_type]
    made: dict[int, Made] = {}
    order = []
    for module in _modules(network):
        if id(module) not in made:
            made[id(module)] = make(read(module, network.config))
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


def _read_albert(module: Any, config: Any) -> LayerParts:
    attention = module.attention
    return LayerParts(
        query=attention.query,
        key=attention.key,
        value=attention.value,
        output=attention.dense,
        expand=module.ffn,
        shrink=module.ffn_output,
        attention_norm=attention.LayerNorm,
        output_norm=module.full_layer_layer_norm,
        heads=config.num_attention_heads,
        activation=config.hidden_act,
    )


def _read_bert(module: Any, config: Any) -> LayerParts:
    own, output = module.attention.self, module.attention.output
    return LayerParts(
        query=own.query,
        key=own.key,
        value=own.value,
        output=output.dense,
        expand=module.intermediate.dense,
        shrink=module.output.dense,
        attention_norm=output.LayerNorm,
        output_norm=module.output.LayerNorm,
        heads=config.num_attention_heads,
        activation=config.hidden_act,
    )


_READERS = {"albert": _read_albert, "bert": _read_bert}
