"""Fit the feed-forward outputs of a pruned network to those of the original, without training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from transforms.compression.importance import Importance
from transforms.compression.layer_names import stored_layers
from transforms.compression.pruning import most_important
from transforms.compression.sizes import Sizes
from transforms.training.student import Student

Array = npt.NDArray[np.floating]
#: How much a fit keeps to the weights that are there, against the mean square of the units.
_RIDGE = 1e-3


def inner_moments(
    student: Student, batches: Iterable[torch.Tensor]
) -> dict[str, npt.NDArray[np.float64]]:
    """Return sums of products of inner units over tokens, ``[units + 1, units + 1]`` by layer.

    The last unit is a constant 1. Shared layers count in all of their repeats.
    """
    config = student.model.config
    units = config.intermediate_size
    places = [names for group in stored_layers(config) for names in group]
    sums = {names.place: torch.zeros(units + 1, units + 1) for names in places}
    real: list[torch.Tensor] = []

    def adds(place: str) -> Any:
        def add(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            states = inputs[0][real[0]].float()
            states = torch.nn.functional.pad(states, (0, 1), value=1.0)
            sums[place] += (states.T @ states).cpu()

        return add

    hooks = [
        student.model.get_submodule(names.shrink).register_forward_pre_hook(adds(names.place))
        for names in places
    ]
    try:
        with torch.inference_mode():
            for ids in batches:
                placed = ids.to(student.device)
                real[:] = [placed >= 0]
                student.states(placed)
    finally:
        for hook in hooks:
            hook.remove()
    return {place: found.double().numpy() for place, found in sums.items()}


def refit(
    config: Any,
    weights: Mapping[str, Array],
    sizes: Sizes,
    importance: Mapping[str, Importance],
    moments: Mapping[str, npt.NDArray[np.float64]],
) -> dict[str, Array]:
    """Return the weights with outputs that make up for the units which `prune` will remove.

    The outputs of the units that remain take over what these know of the others, by least squares.
    A unit without output changes nothing.

    Args:
        config: the original config.
        weights: the original weights.
        sizes: those of the smaller network.
        importance: that of the units, by the place of the layer.
        moments: those of `inner_moments`.
    """
    found = dict(weights)
    if sizes.inner == config.intermediate_size:
        return found
    for names in (names for group in stored_layers(config) for names in group):
        kept = most_important(importance[names.place].inner, sizes.inner)
        removed = np.setdiff1d(np.arange(config.intermediate_size), kept)
        products = moments[names.place]
        known = np.append(kept, config.intermediate_size)
        among = products[np.ix_(known, known)]
        among = among + _RIDGE * np.trace(among) / len(known) * np.eye(len(known))
        share = np.linalg.solve(among, products[np.ix_(known, removed)])
        weight = weights[f"{names.shrink}.weight"]
        change = (weight[:, removed].astype(np.float64) @ share.T).astype(np.float32)
        fitted = weight.copy()
        fitted[:, kept] += change[:, :-1]
        found[f"{names.shrink}.weight"] = fitted
        found[f"{names.shrink}.bias"] = weights[f"{names.shrink}.bias"] + change[:, -1]
    return found
