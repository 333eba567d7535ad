"""Which weights of a network a training changes: all, some, or added products of low rank."""

from __future__ import annotations

import math

import torch
from torch.nn.utils import parametrize

from transforms.errors import BadInput


class LowRank(torch.nn.Module):
    """Adds a product of two small matrices to a matrix (LoRA; Hu et al., 2021).

    The product is zero at first.
    """

    def __init__(self, weight: torch.Tensor, rank: int, generator: torch.Generator) -> None:
        """Prepare the product for a matrix [out, in]."""
        super().__init__()
        out, width = weight.shape
        bound = 1 / math.sqrt(width)
        down = torch.empty(rank, width).uniform_(-bound, bound, generator=generator)
        self.down = torch.nn.Parameter(down.to(weight))
        self.up = torch.nn.Parameter(weight.new_zeros(out, rank))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the sum of the matrix and the product."""
        # Twice the product is what the libraries for LoRA add by default.
        return torch.addmm(weight, self.up, self.down, alpha=2.0)


def choose_weights(
    model: torch.nn.Module, train: str, rank: int, seed: int, head: tuple[str, ...] = ()
) -> None:
    """Keep gradients of the weights that a training changes, and add adapters.

    Layers that share their weights share an adapter.

    Args:
        model: the network; changed in place.
        train: one of `options.TRAINED`.
        rank: the rank of adapters.
        seed: the seed of their first weights.
        head: beginnings of the names of the head's weights, which always change.

    Raises:
        BadInput: nothing would change.
    """
    if train == "all":
        return
    for name, weight in model.named_parameters():
        chosen = train == "embeddings" and "embeddings." in name
        weight.requires_grad_(chosen or name.startswith(head))
    if train == "lora":
        generator = torch.Generator().manual_seed(seed)
        for name, module in list(model.named_modules()):
            if isinstance(module, torch.nn.Linear) and "layer" in name:
                adapter = LowRank(module.weight.detach(), rank, generator)
                parametrize.register_parametrization(module, "weight", adapter)
    if not any(weight.requires_grad for weight in model.parameters()):
        raise BadInput("train", train, "leaves no weights to train", "Give all")


def merge_adapters(model: torch.nn.Module) -> None:
    """Replace each matrix that has an adapter by the sum; other networks stay as they are."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module, "weight"):
            with torch.no_grad():
                parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
