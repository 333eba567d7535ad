"""The ways from a batch of token ids to the states of every token.

They are ``products`` and ``fused``, which differ in how they attend, ``packed`` and ``padded``.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from transforms.encoder.batching import Batch
from transforms.encoder.cpu_attention import is_quicker_by_products
from transforms.encoder.fused_layers import FusedNetwork, can_fuse
from transforms.encoder.network import PACKABLE, load_network, make_layout
from transforms.models.resolve import Model


class Road(Protocol):
    """Runs a network on a batch."""

    @property
    def network(self) -> Any:
        """What is run."""

    def __call__(self, batch: Batch) -> torch.Tensor:
        """States of the wanted layer, ``[total_tokens, hidden]``, sequences end to end."""


@dataclass(frozen=True)
class FusedRoad:
    """albeam's own layers, on the CPU."""

    network: FusedNetwork
    layer: int

    def __call__(self, batch: Batch) -> torch.Tensor:
        """See `FusedNetwork`."""
        return self.network(
            torch.from_numpy(batch.ids),
            torch.from_numpy(batch.positions),
            make_layout(batch.lengths, torch.device("cpu")),
            self.layer,
        )


@dataclass(frozen=True)
class PackedRoad:
    """transformers' layers on sequences end to end."""

    network: Any
    layer: int

    def __call__(self, batch: Batch) -> torch.Tensor:
        """One forward of ``[1, total_tokens]``."""
        device = self.network.device
        output = self.network(
            input_ids=torch.from_numpy(batch.ids)[None].to(device),
            position_ids=torch.from_numpy(batch.positions)[None].to(device),
            layout=make_layout(batch.lengths, device),
            **_wanted(self.layer),
        )
        return _states(output, self.layer)[0]


@dataclass(frozen=True)
class PaddedRoad:
    """transformers' layers on a padded batch: right for every family."""

    network: Any
    layer: int

    def __call__(self, batch: Batch) -> torch.Tensor:
        """One forward of ``[sequences, longest]``; the states of padding are dropped."""
        device = self.network.device
        padded = np.zeros((len(batch.lengths), int(batch.lengths.max())), np.int64)
        mask = np.zeros_like(padded)
        sequence = np.repeat(np.arange(len(batch.lengths)), batch.lengths)
        padded[sequence, batch.positions] = batch.ids
        mask[sequence, batch.positions] = 1
        attention_mask = torch.from_numpy(mask).to(device)
        output = self.network(
            input_ids=torch.from_numpy(padded).to(device),
            attention_mask=attention_mask,
            **_wanted(self.layer),
        )
        return _states(output, self.layer)[attention_mask.bool()]


def roads_for(model: Model, device: str, dtype: str) -> list[str]:
    """The roads that may suit a model, the fastest first."""
    roads = ["padded"]
    if model.model_type in PACKABLE:
        roads.insert(0, "packed")
    if can_fuse(model.model_type, model.activation, device):
        roads.insert(0, "fused")
        if dtype == "bfloat16" and is_quicker_by_products():
            roads.insert(0, "products")
    return roads


def load_road(model: Model, device: str, dtype: str, road: str) -> Road:
    """Load a model's network for a road.

    Args:
        model: what to load, and which of its layers is wanted.
        device: ``cpu`` or ``cuda``.
        dtype: of linear layers and attention.
        road: ``products``, ``fused``, ``packed`` or ``padded``.

    Raises:
        BadInput: weights are missing from the model's files.
    """
    layer = model.identity.layer
    if road in ("products", "fused"):
        plain = load_network(model, device, "float32", "packed")
        network = FusedNetwork(plain, getattr(torch, dtype), by_products=road == "products")
        return FusedRoad(network, layer)
    if road == "packed":
        return PackedRoad(load_network(model, device, dtype, "packed"), layer)
    return PaddedRoad(load_network(model, device, dtype, "sdpa"), layer)


def _wanted(layer: int) -> dict[str, Any]:
    return {} if layer == -1 else {"output_hidden_states": True}


def _states(output: Any, layer: int) -> torch.Tensor:
    found: torch.Tensor = output.last_hidden_state if layer == -1 else output.hidden_states[layer]
    return found
