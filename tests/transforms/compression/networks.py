"""Tiny seeded networks to prune."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AlbertConfig, AlbertModel, BertConfig, BertModel

from transforms.compression.layer_names import LayerNames, stored_layers
from transforms.models.options import Placement
from transforms.training.student import Student

Weights = dict[str, npt.NDArray[np.float32]]
NETWORKS: dict[str, tuple[Any, Any]] = {
    "albert": (AlbertConfig, AlbertModel),
    "bert": (BertConfig, BertModel),
}


def make_network(family: str = "albert", seed: int = 0, **sizes: int) -> tuple[Any, Weights]:
    """Return config and weights of a random network; the same ones for the same seed."""
    own = {"embedding_size": 12, "num_hidden_groups": 2} if family == "albert" else {}
    given = {
        "vocab_size": 60, "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 6,
        "intermediate_size": 40, "max_position_embeddings": 32, "initializer_range": 0.2,
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, **own, **sizes,
    }  # fmt: skip
    kind, network = NETWORKS[family]
    config = kind(**given)
    torch.manual_seed(seed)
    model = network(config, add_pooling_layer=False)
    for name, tensor in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(tensor, std=0.2)
    return config, {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}


def layers_of(config: Any) -> list[LayerNames]:
    """Return all stored layers."""
    return [names for group in stored_layers(config) for names in group]


def states(config: Any, weights: Weights, ids: torch.Tensor) -> npt.NDArray[np.float64]:
    """Return the last states, computed by transformers in float64."""
    model = NETWORKS[config.model_type][1](config, add_pooling_layer=False).double().eval()
    tensors = {name: torch.from_numpy(array).double() for name, array in weights.items()}
    model.load_state_dict(tensors, strict=True)
    with torch.inference_mode():
        found: npt.NDArray[np.float64] = model(input_ids=ids).last_hidden_state.numpy()
    return found


def token_ids(texts: int = 16, seed: int = 1) -> torch.Tensor:
    """Return random token ids ``[texts, 10]``."""
    return torch.randint(5, 60, (texts, 10), generator=torch.Generator().manual_seed(seed))


def student_of(config: Any, weights: Weights) -> Student:
    """Return a network in float32 on the CPU."""
    return Student(config, weights, Placement("cpu", "float32"))
