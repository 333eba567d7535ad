"""How weights change: the schedule of the learning rate, and optimizers that step as one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from transforms.training.options import Controls


@dataclass(frozen=True)
class Schedule:
    """Length and learning rate of a training.

    Attributes:
        steps: optimizer steps in all.
        rate: the highest learning rate.
        warmup: the share of the training in which the rate rises.
        minutes: also end after this time, and let the rate fall accordingly. Equal seeds then no
            longer give equal weights. None means no limit.
        decay: weight decay.
        clip: the largest norm of the gradients.
        evaluate_every: steps between evaluations.
        patience: stop after this many evaluations in a row without a better score.
        optimizer: what steps the matrices of layers, of `options.OPTIMIZERS`.
    """

    steps: int
    rate: float
    warmup: float = Controls.warmup
    minutes: float | None = None
    decay: float = Controls.decay
    clip: float = Controls.clip
    evaluate_every: int = Controls.evaluate_every
    patience: int = Controls.patience
    optimizer: str = Controls.optimizer

    @classmethod
    def of(cls, controls: Controls, epoch_steps: int) -> Schedule:
        """Return the schedule of a training whose passes over the data have so many steps."""
        return cls(
            controls.steps or max(1, round(controls.epochs * epoch_steps)),
            controls.rate,
            controls.warmup,
            controls.minutes,
            controls.decay,
            controls.clip,
            controls.evaluate_every,
            controls.patience,
            controls.optimizer,
        )

    def progress(self, step: int, seconds: float) -> float:
        """Return the share of the training that is done, from 0 to 1."""
        share = step / max(1, self.steps)
        if self.minutes is not None:
            share = max(share, seconds / (60 * self.minutes))
        return min(1.0, share)

    def factor(self, progress: float) -> float:
        """Return the factor of the rate: a linear warm-up, then half a cosine down to zero."""
        if progress < self.warmup:
            return max(0.01, progress / self.warmup)
        rest = (progress - self.warmup) / (1 - self.warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, rest)))


def group_parameters(
    model: torch.nn.Module,
) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """Return the matrices of layers, other matrices except embeddings, and all other weights.

    Weights without a gradient are left out. Added products of low rank are other matrices.
    """
    layers: list[torch.nn.Parameter] = []
    matrices: list[torch.nn.Parameter] = []
    rest: list[torch.nn.Parameter] = []
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        if weight.ndim < 2 or "embeddings." in name:
            rest.append(weight)
        else:
            inner = weight.ndim == 2 and "layer" in name and "parametrizations." not in name
            (layers if inner else matrices).append(weight)
    return layers, matrices, rest


@dataclass(frozen=True)
class Optimizers:
    """Several optimizers that step as one.

    Attributes:
        members: the optimizers; each holds weights of its own.
        rate: the learning rate at a factor of one.
    """

    members: Sequence[torch.optim.Optimizer]
    rate: float

    @classmethod
    def for_model(
        cls, model: torch.nn.Module, rate: float, decay: float, optimizer: str = "muon"
    ) -> Optimizers:
        """Build Muon (Jordan et al., 2024) for the matrices of layers and AdamW for the rest.

        With the optimizer ``adamw``, AdamW steps all weights.

        Muon's steps are scaled to the size of AdamW's (Liu et al., 2025), so one rate serves both.
        Weight decay applies to matrices only, not to embeddings.
        """
        layers, matrices, rest = group_parameters(model)
        if optimizer == "adamw":
            layers, matrices = [], [*layers, *matrices]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": decay},
            {"params": rest, "weight_decay": 0.0},
        ]
        members: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=rate, fused=True)]
        if layers:
            members.append(
                torch.optim.Muon(
                    layers, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"
                )
            )
        return cls(members, rate)

    def step(self, factor: float) -> None:
        """Take a step at `factor` times the rate, then clear the gradients."""
        for member in self.members:
            for group in member.param_groups:
                group["lr"] = self.rate * factor
            member.step()
            member.zero_grad(set_to_none=True)

    def state(self) -> list[dict[str, Any]]:
        """Return the state that a checkpoint must hold."""
        return [member.state_dict() for member in self.members]

    def load(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Restore the result of `state`."""
        for member, saved in zip(self.members, state, strict=True):
            member.load_state_dict(dict(saved))
