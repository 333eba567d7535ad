"""Backends: implementations of the forward pass from a batch of token ids to token states.

There are five: ``int8``, ``products``, ``fused``, ``packed`` and ``padded``. ``products`` and
``fused`` differ only in their attention.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from transforms.encoder.batching import Batch
from transforms.encoder.cpu_attention import is_quicker_by_products
from transforms.encoder.fused_layers import FusedLayer, FusedNetwork
from transforms.encoder.int8_network import make_int8_network
from transforms.encoder.layer_parts import can_fuse
from transforms.encoder.network import PACKABLE, load_network, make_layout
from transforms.encoder.transfers import to_device
from transforms.models.resolve import Model


class Backend(Protocol):
    """One implementation of a network's forward pass."""

    @property
    def network(self) -> Any:
        """The network that this backend runs."""

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Return the states of the wanted layer, ``[total_tokens, hidden]``, end to end."""


@dataclass(frozen=True)
class FusedBackend:
    """albeam's own layers, on the CPU."""

    network: FusedNetwork
    layer: int

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Run `FusedNetwork` on the packed batch."""
        return self.network(
            torch.from_numpy(batch.ids),
            torch.from_numpy(batch.positions),
            make_layout(batch.lengths, torch.device("cpu")),
            self.layer,
        )


@dataclass(frozen=True)
class PackedBackend:
    """transformers' layers on sequences that lie end to end."""

    network: Any
    layer: int

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Run one forward pass on ``[1, total_tokens]``."""
        device = self.network.device
        output = self.network(
            input_ids=to_device(batch.ids, device)[None],
            position_ids=to_device(batch.positions, device)[None],
            layout=make_layout(batch.lengths, device),
            **_output_options(self.layer),
        )
        return _states(output, self.layer)[0]


@dataclass(frozen=True)
class PaddedBackend:
    """transformers' layers on a padded batch, correct for every model family."""

    network: Any
    layer: int

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Run one forward pass on ``[sequences, longest]``, and drop the states of the padding."""
        device = self.network.device
        padded = np.zeros((len(batch.lengths), int(batch.lengths.max())), np.int64)
        mask = np.zeros_like(padded)
        sequence = np.repeat(np.arange(len(batch.lengths)), batch.lengths)
        padded[sequence, batch.positions] = batch.ids
        mask[sequence, batch.positions] = 1
        # Selection by places does not wait for the device, as selection by a mask would.
        places = to_device(sequence * padded.shape[1] + batch.positions, device)
        output = self.network(
            input_ids=to_device(padded, device),
            attention_mask=to_device(mask, device),
            **_output_options(self.layer),
        )
        return _states(output, self.layer).flatten(0, 1)[places]


def backends_for(model: Model, device: str, dtype: str) -> list[str]:
    """Return the names of the backends that may suit a model, the fastest first."""
    if dtype == "int8":
        return ["int8"]
    names = ["padded"]
    if model.model_type in PACKABLE:
        names.insert(0, "packed")
    if can_fuse(model.model_type, model.activation, device):
        names.insert(0, "fused")
        if dtype == "bfloat16" and is_quicker_by_products():
            names.insert(0, "products")
    return names


def load_backend(model: Model, device: str, dtype: str, name: str) -> Backend:
    """Load a model's network for a backend.

    Args:
        model: what to load, and which of its layers is wanted.
        device: ``cpu`` or ``cuda``.
        dtype: the dtype of linear layers and attention.
        name: ``int8``, ``products``, ``fused``, ``packed`` or ``padded``.

    Raises:
        BadInput: weights are missing from the model's files.
    """
    layer = model.identity.layer
    if name in ("int8", "products", "fused"):
        plain = load_network(model, device, "float32", "packed")
        if name == "int8":
            return FusedBackend(make_int8_network(plain, is_quicker_by_products()), layer)
        kind = getattr(torch, dtype)
        by_products = name == "products"
        return FusedBackend(
            FusedNetwork(plain, lambda parts: FusedLayer.make(parts, kind, by_products)), layer
        )
    if name == "packed":
        return PackedBackend(load_network(model, device, dtype, "packed"), layer)
    return PaddedBackend(load_network(model, device, dtype, "sdpa"), layer)


def _output_options(layer: int) -> dict[str, Any]:
    return {} if layer == -1 else {"output_hidden_states": True}


def _states(output: Any, layer: int) -> torch.Tensor:
    found: torch.Tensor = output.last_hidden_state if layer == -1 else output.hidden_states[layer]
    return found
