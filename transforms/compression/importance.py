"""How important each attention head and each inner unit of a layer is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from transforms.compression.layer_names import LayerNames, stored_layers
from transforms.training.student import Student

Array = npt.NDArray[np.floating]
#: Separates the random directions of the vectors from other numbers of the same seed.
_DIRECTIONS = 41


@dataclass(frozen=True)
class Importance:
    """The importance of the parts of a stored layer, from 0.

    Attributes:
        heads: that of each attention head.
        inner: that of each inner unit.
    """

    heads: npt.NDArray[np.float64]
    inner: npt.NDArray[np.float64]


def by_norms(config: Any, weights: Mapping[str, Array]) -> dict[str, Importance]:
    """Return the importance by the place of each layer, from the weights alone.

    That of a unit is the norm of its row times the norm of its column. That of a head is the norm
    of the product that carries its values to the layer's output.
    """
    width = config.hidden_size // config.num_attention_heads
    found = {}
    for names in _layers(config):
        value, output = (
            weights[f"{module}.weight"].astype(np.float64) for module in (names.value, names.output)
        )
        heads = [
            np.linalg.norm(output[:, start : start + width] @ value[start : start + width])
            for start in range(0, len(value), width)
        ]
        rows = np.linalg.norm(weights[f"{names.expand}.weight"].astype(np.float64), axis=1)
        columns = np.linalg.norm(weights[f"{names.shrink}.weight"].astype(np.float64), axis=0)
        found[names.place] = Importance(np.asarray(heads), rows * columns)
    return found


def by_taylor(
    student: Student, batches: Iterable[torch.Tensor], seed: int
) -> dict[str, Importance]:
    """Return the importance by the place of each layer, from the vectors of texts.

    It is the mean over the texts of the squared change of a text's vector when the head or the
    unit is removed, to the first order. Shared layers count in all of their repeats. The change is
    measured along one random direction for each text, which has the right mean.

    Args:
        student: the network; its gradients are left as they are.
        batches: token ids ``[texts, tokens]``, padded with -1.
        seed: the seed of the directions.
    """
    config = student.model.config
    directions = torch.Generator().manual_seed(seed * 100 + _DIRECTIONS)
    sums = {
        names.place: [
            torch.zeros(count, dtype=torch.float64)
            for count in (config.num_attention_heads, config.intermediate_size)
        ]
        for names in _layers(config)
    }
    total = 0
    for ids in batches:
        total += len(ids)
        with _gates(student, len(ids)) as gates:
            vectors = student.embed(ids.to(student.device))
            direction = torch.randn(vectors.shape, generator=directions).to(vectors.device)
            flat = [gate for pair in gates.values() for gate in pair]
            slopes = iter(torch.autograd.grad((vectors * direction).sum(), flat))
        for place in gates:
            for added in sums[place]:
                added.add_(next(slopes).double().square().sum(0).cpu())
    return {
        place: Importance(*(part.numpy() / max(total, 1) for part in parts))
        for place, parts in sums.items()
    }


@contextmanager
def _gates(student: Student, texts: int) -> Iterator[dict[str, list[torch.Tensor]]]:
    """Multiply the output of each head and unit by a gate of 1, a gate for each text."""
    config = student.model.config
    gates: dict[str, list[torch.Tensor]] = {}
    with ExitStack() as hooks:
        for names in _layers(config):
            gates[names.place] = []
            for module, count in (
                (names.output, config.num_attention_heads),
                (names.shrink, config.intermediate_size),
            ):
                gate = torch.ones(texts, count, device=student.device, requires_grad=True)
                gates[names.place].append(gate)
                hook = student.model.get_submodule(module).register_forward_pre_hook(_gated(gate))
                hooks.callback(hook.remove)
        yield gates


def _gated(gate: torch.Tensor) -> Any:
    def multiply(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        states = inputs[0]
        wide = gate.repeat_interleave(states.shape[-1] // gate.shape[1], dim=1)
        return (states * wide[:, None].to(states.dtype), *inputs[1:])

    return multiply


def _layers(config: Any) -> list[LayerNames]:
    return [names for group in stored_layers(config) for names in group]
