"""The folder of a whole network with a head, as ``albeam finetune`` writes it: what is in it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from transforms.catalog.manifest_json import convert
from transforms.errors import BadInput, Damaged
from transforms.models.model_files import read_object
from transforms.models.options import Placement
from transforms.models.resolve import load_config, usable_positions
from transforms.models.weights import read_weights
from transforms.tasks.data.bio import OUTSIDE, TAG
from transforms.tasks.data.labels import Classes
from transforms.tasks.training_options import HEAD

VERSION = 1
#: Tokens of a batch at work, padding included.
BATCH_TOKENS = 4_096


@dataclass(frozen=True)
class NetworkSettings:
    """What ``head.json`` says of a network with one score for each class.

    Attributes:
        task: ``classify`` or ``tag``.
        classes: the classes, in the order of the scores.
        max_tokens: tokens of a window, special tokens included.
        overlap: tokens that a window shares with the next one of its text.
        metrics: what was measured in training.
    """

    version: int
    kind: str
    task: str
    classes: Classes
    max_tokens: int
    overlap: int
    metrics: dict[str, Any]


def read_kind(folder: str) -> str:
    """Return what a folder is: ``vector`` or ``network``, or what its ``head.json`` calls it.

    Raises:
        BadInput: the folder has no ``head.json`` that can be read.
    """
    return str(_read_head(folder)["kind"])


def read_task(folder: str) -> str:
    """Return ``vector`` for a head on vectors, or the task of a network, such as ``classify``.

    Raises:
        BadInput: the folder has no ``head.json`` that can be read.
    """
    value = _read_head(folder)
    return str(value.get("task") if value["kind"] == "network" else value["kind"])


def _read_head(folder: str) -> dict[str, Any]:
    try:
        value = read_object(folder, HEAD, folder) if Path(folder).is_dir() else {}
    except BadInput as error:
        raise BadInput("head", folder, error.problem, error.remedy) from error
    if value.get("kind") is None:
        remedy = "Name a folder that albeam classify or albeam finetune wrote"
        raise BadInput("head", folder, f"has no {HEAD}", remedy)
    return value


def read_network(folder: str, task: str) -> NetworkSettings:
    """Check the folder of a network, and return its settings; no weight is loaded.

    Args:
        folder: the folder.
        task: ``classify`` or ``tag``.

    Raises:
        BadInput: its files are not as they should be, its head is missing or has other classes, or
            it was trained for another task.
    """
    with _naming_head(folder, task) as restore:
        config, known = _checked(folder, task)
        stored = convert(known, NetworkSettings, HEAD)
        names = stored.classes.names
        shape = read_weights(folder, folder).shapes.get("classifier.weight")
        if shape != (len(names), int(config.hidden_size)) or len(set(names)) < len(names):
            problem = f"has a head of shape {shape} for {len(set(names))} classes"
            raise BadInput("head", folder, problem, restore)
        if task == "tag" and (OUTSIDE not in names or not all(map(TAG.fullmatch, names))):
            problem = f"has classes that are no BIO tags, such as {names[0][:40]!r}"
            raise BadInput("head", folder, problem, restore)
        positions = usable_positions(config)
        _check_windows(folder, stored.max_tokens, stored.overlap, positions, restore)
        return stored


@contextmanager
def _naming_head(folder: str, task: str) -> Iterator[str]:
    """Make errors name the head; gives the remedy for its files."""
    restore = f"Restore its files, or train it again with albeam finetune {task}"
    try:
        yield restore
    except BadInput as error:
        raise BadInput("head", folder, error.problem, error.remedy) from error
    except Damaged as error:
        raise BadInput("head", folder, f"has a {HEAD} that {error.problem}", restore) from error


def _checked(folder: str, task: str) -> tuple[Any, dict[str, Any]]:
    """Return the config and the known keys of ``head.json`` of a network for a task."""
    config = load_config(folder, folder)
    value = read_object(folder, HEAD, folder)
    if value.get("task") != task or value.get("version") != VERSION:
        problem = (
            f"has a head for the task {str(value.get('task'))[:40]!r} in version "
            f"{str(value.get('version'))[:40]!r}, and {task!r} in {VERSION} is read"
        )
        raise BadInput("head", folder, problem, f"Name a folder that albeam finetune {task} wrote")
    kind = ReaderSettings if task == "read" else NetworkSettings
    names = {field.name for field in fields(kind)}
    return config, {name: each for name, each in value.items() if name in names}


def _check_windows(
    folder: str, max_tokens: int, overlap: int, positions: int, restore: str
) -> None:
    """Raise BadInput if a network can't read windows of so many tokens."""
    if not 8 <= max_tokens <= positions or not 0 <= overlap <= max_tokens // 2:
        problem = (
            f"reads windows of {max_tokens} tokens that share {overlap}, and its network has "
            f"{positions} positions"
        )
        raise BadInput("head", folder, problem, restore)


def network_digest(folder: str) -> str:
    """Return the SHA-256 of what decides the predictions of a network."""
    found = hashlib.sha256()
    for path in sorted(Path(folder).iterdir()):
        if path.name.endswith((".safetensors", ".json")) and path.is_file():
            with path.open("rb") as file:
                found.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


@dataclass(frozen=True)
class ReaderSettings:
    """What ``head.json`` says of a reader.

    Attributes:
        task: ``read``.
        max_tokens: tokens of a window, with its question and special tokens.
        threshold: how much higher no answer may score than an answer that is given.
        metrics: what was measured in training.
    """

    version: int
    kind: str
    task: str
    max_tokens: int
    threshold: float
    metrics: dict[str, Any]

    @property
    def no_answer(self) -> bool:
        """Return whether the reader was trained with questions without answers."""
        return "threshold" in self.metrics


def read_reader(folder: str) -> ReaderSettings:
    """Check the folder of a reader, and return its settings; no weight is loaded.

    Raises:
        BadInput: as `read_network`.
    """
    with _naming_head(folder, "read") as restore:
        config, known = _checked(folder, "read")
        stored = convert(known, ReaderSettings, HEAD)
        shape = read_weights(folder, folder).shapes.get("qa_outputs.weight")
        if shape != (2, int(config.hidden_size)):
            problem = f"has a head of shape {shape}, and that of a reader has two rows"
            raise BadInput("head", folder, problem, restore)
        _check_windows(folder, stored.max_tokens, 0, usable_positions(config), restore)
        if not math.isfinite(stored.threshold):
            raise BadInput("head", folder, "has a threshold that is not finite", restore)
        return stored


def load_reader(folder: str, placement: Placement) -> tuple[ReaderSettings, Any, Any, Any]:
    """Load a reader: its settings, its network, and its tokenizer in both forms.

    The arguments and errors are those of `load_network`.
    """
    from transforms.tasks.networks.head_network import HeadNetwork, load_tokenizer
    from transforms.tasks.networks.pair_tokens import frame_pairs
    from transforms.tasks.networks.reading import EDGES

    resolved = _resolved(placement)
    with _naming_head(folder, "read"):
        settings = read_reader(folder)
        network = HeadNetwork(Path(folder), "read", EDGES, resolved, trained=True)
        network.model.eval()
        fast, tokenizer = load_tokenizer(Path(folder))
        frame_pairs(fast, folder)
        return settings, network, fast, tokenizer


def load_network(folder: str, task: str, placement: Placement) -> tuple[NetworkSettings, Any, Any]:
    """Load a network, and return its settings, itself in eval mode, and its tokenizer.

    Args:
        folder: the folder, which `read_network` accepts.
        task: ``classify`` or ``tag``.
        placement: the device, and the dtype of matrix products: ``auto``, ``float32`` or
            ``bfloat16``.

    Raises:
        BadInput: the folder can't be used, or the dtype is another.
    """
    from transforms.tasks.networks.head_network import HeadNetwork, load_tokenizer

    resolved = _resolved(placement)
    with _naming_head(folder, task):
        settings = read_network(folder, task)
        network = HeadNetwork(Path(folder), task, settings.classes, resolved, trained=True)
        network.model.eval()
        return settings, network, load_tokenizer(Path(folder))[1]


def _resolved(placement: Placement) -> Placement:
    from transforms.training.student import resolve_training_placement

    if placement.dtype not in ("auto", "float32", "bfloat16"):
        problem = "is no dtype of a network with a head"
        raise BadInput("dtype", placement.dtype, problem, "Give float32 or bfloat16")
    return resolve_training_placement(placement.device, placement.dtype)
