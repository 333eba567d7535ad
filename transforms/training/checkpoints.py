"""The checkpoint of a training, from which a stopped one resumes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from transforms.errors import BadInput

CHECKPOINT = "checkpoint.pt"


@dataclass
class State:
    """The progress of a training, kept in checkpoints.

    Attributes:
        step: optimizer steps taken.
        seconds: time spent, earlier runs included.
        best: the best score.
        best_step: the step of the best score.
        stale: evaluations since the best score.
        history: the metrics of each evaluation.
    """

    step: int = 0
    seconds: float = 0.0
    best: float = -math.inf
    best_step: int = 0
    stale: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def read_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Return the content of a folder's checkpoint; None if there is none."""
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return {**saved, "state": State(**json.loads(saved["state"]))}


def write_checkpoint(
    folder: Path, settings: Mapping[str, Any], state: State, tensors: Mapping[str, Any]
) -> None:
    """Write a checkpoint; the old one stays intact until the new one is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"settings": json.dumps(settings), "state": json.dumps(asdict(state)), **tensors}
    partial = folder / f"{CHECKPOINT}.partial"
    with partial.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, folder / CHECKPOINT)


def check_same_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raise BadInput, naming the first difference, if a checkpoint has other settings.

    An empty list is what a checkpoint that is older than its option lacks.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return
    was = json.loads(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["settings"])
    for name, value in json.loads(json.dumps(dict(settings))).items():
        if was.get(name) != value and not (name not in was and value == []):
            raise BadInput(
                "checkpoint",
                str(path),
                f"was made with {name} {was.get(name)}, not {value}",
                "Resume with the same settings, or train anew in another --work folder",
            )


def random_state() -> list[torch.Tensor]:
    """Return the states of torch's random generators: the CPU's, then those of CUDA in use."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return [torch.get_rng_state(), *devices]


def restore_random_state(states: Sequence[torch.Tensor]) -> None:
    """Restore the result of `random_state`, as far as this machine has the devices."""
    torch.set_rng_state(states[0])
    if torch.cuda.is_available():
        for device, state in zip(range(torch.cuda.device_count()), states[1:], strict=False):
            torch.cuda.set_rng_state(state, device)
