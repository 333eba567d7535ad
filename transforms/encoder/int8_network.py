"""Make a network of bytes: look at the states of the float32 network first, then round it."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from transforms.encoder.fused_layers import FusedLayer, FusedNetwork, Product
from transforms.encoder.int8_layers import Int8Layer, Peaks
from transforms.encoder.layer_parts import LayerParts
from transforms.encoder.network import make_layout

#: Sequences of pseudo-random tokens whose states are looked at.
_SEQUENCES, _LENGTH = 16, 64


def make_int8_network(network: Any, by_products: bool) -> FusedNetwork:
    """Convert transformers' ``AlbertModel`` or ``BertModel`` in float32.

    Args:
        network: what is converted.
        by_products: whether attention is `attend_by_products`.
    """
    peaks = _find_peaks(network)
    return FusedNetwork(
        network, lambda parts: Int8Layer.make(parts, by_products, peaks[id(parts.expand)])
    )


def _find_peaks(network: Any) -> dict[int, Peaks]:
    """Return the largest size of each state before two products of each layer.

    The key of a layer is the ``id`` of its first feed-forward module.
    """
    found: dict[int, Peaks] = {}

    def watch(parts: LayerParts) -> FusedLayer:
        layer = FusedLayer.make(parts, torch.float32, by_products=False)
        width = parts.expand.in_features
        peaks = found[id(parts.expand)] = torch.zeros(width), torch.zeros(width)
        return replace(
            layer, mix=_watched(layer.mix, peaks[0]), expand=_watched(layer.expand, peaks[1])
        )

    config = network.config
    length = min(_LENGTH, config.max_position_embeddings)
    ids = np.random.default_rng(0).integers(0, config.vocab_size, _SEQUENCES * length)
    threads = torch.get_num_threads()
    try:
        # The number of threads must not change a bit of what is found.
        torch.set_num_threads(1)
        with torch.inference_mode():
            FusedNetwork(network, watch)(
                torch.from_numpy(ids),
                torch.arange(length).repeat(_SEQUENCES),
                make_layout(np.full(_SEQUENCES, length), torch.device("cpu")),
            )
    finally:
        torch.set_num_threads(threads)
    return found


def _watched(product: Product, peaks: torch.Tensor) -> Product:
    """Return a product that also records the largest size of each column of its input."""

    def multiply(states: torch.Tensor) -> torch.Tensor:
        torch.maximum(peaks, states.abs().amax(0), out=peaks)
        return product(states)

    return multiply
