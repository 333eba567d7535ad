"""How the trainings step: Muon for the layers' matrices, AdamW for all else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch


def parted(
    model: torch.nn.Module,
) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """Part the weights: matrices of layers, other matrices but embeddings, and the rest."""
    inner: list[torch.nn.Parameter] = []
    outer: list[torch.nn.Parameter] = []
    plain: list[torch.nn.Parameter] = []
    for name, weight in model.named_parameters():
        if weight.ndim < 2 or "embeddings." in name:
            plain.append(weight)
        else:
            (inner if weight.ndim == 2 and "layer" in name else outer).append(weight)
    return inner, outer, plain


@dataclass(frozen=True)
class Optimizers:
    """Several optimizers that step as one.

    Attributes:
        members: each holds weights of its own.
        rate: the learning rate at a factor of one.
    """

    members: Sequence[torch.optim.Optimizer]
    rate: float

    @classmethod
    def of(cls, model: torch.nn.Module, rate: float, decay: float) -> Optimizers:
        """Muon (Jordan et al., 2024) for the matrices of layers, AdamW for the rest.

        Muon's steps are scaled to the size of AdamW's (Liu et al., 2025), so that one rate serves
        both. Weight decay is for matrices alone, embeddings excepted.
        """
        inner, outer, plain = parted(model)
        groups: list[dict[str, Any]] = [
            {"params": outer, "weight_decay": decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        members: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=rate, fused=True)]
        if inner:
            members.append(
                torch.optim.Muon(inner, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
            )
        return cls(members, rate)

    def step(self, factor: float) -> None:
        """Step at `factor` times the rate, and forget the gradients."""
        for member in self.members:
            for group in member.param_groups:
                group["lr"] = self.rate * factor
            member.step()
            member.zero_grad(set_to_none=True)

    def state(self) -> list[dict[str, Any]]:
        """All that a checkpoint must hold."""
        return [member.state_dict() for member in self.members]

    def load(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Take over what `state` gave."""
        for member, held in zip(self.members, state, strict=True):
            member.load_state_dict(dict(held))
