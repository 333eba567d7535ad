"""A whole network that classifies texts, as ``albeam finetune classify`` writes it, at work."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.catalog.manifest_json import convert
from transforms.errors import BadInput, Damaged
from transforms.models.model_files import read_object
from transforms.models.options import Placement
from transforms.models.resolve import load_config, usable_positions
from transforms.models.weights import read_weights
from transforms.runtime.once import Once
from transforms.tasks.data.labels import Classes
from transforms.tasks.training_options import HEAD

VERSION = 1
_KEYS = ("version", "kind", "task", "classes", "max_tokens", "overlap", "metrics")
_RESTORE = "Restore its files, or train it again with albeam finetune classify"
#: Tokens of a batch, padding included.
_BATCH_TOKENS = 4_096

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ClassifierSettings:
    """What ``head.json`` says of a classifier.

    Attributes:
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
    try:
        kind = read_object(folder, HEAD, folder).get("kind") if Path(folder).is_dir() else None
    except BadInput as error:
        raise BadInput("head", folder, error.problem, error.remedy) from error
    if kind is None:
        remedy = "Name a folder that albeam classify or albeam finetune classify wrote"
        raise BadInput("head", folder, f"has no {HEAD}", remedy)
    return str(kind)


def read_classifier(folder: str) -> ClassifierSettings:
    """Check the folder of a classifier, and return its settings; no weight is loaded.

    Raises:
        BadInput: its files are not as they should be, its head is missing or has other classes, or
            it was trained for another task.
    """
    try:
        return _read(folder)
    except BadInput as error:
        raise BadInput("head", folder, error.problem, error.remedy) from error
    except Damaged as error:
        raise BadInput("head", folder, f"has a {HEAD} that {error.problem}", _RESTORE) from error


def _read(folder: str) -> ClassifierSettings:
    config = load_config(folder, folder)
    value = read_object(folder, HEAD, folder)
    if value.get("task") != "classify" or value.get("version") != VERSION:
        problem = (
            f"has a head for the task {str(value.get('task'))[:40]!r} in version "
            f"{str(value.get('version'))[:40]!r}, and 'classify' in {VERSION} is read"
        )
        raise BadInput("head", folder, problem, "Name the folder of a classifier")
    known = {name: each for name, each in value.items() if name in _KEYS}
    stored = convert(known, ClassifierSettings, HEAD)
    names, positions = stored.classes.names, usable_positions(config)
    shape = read_weights(folder, folder).shapes.get("classifier.weight")
    if shape != (len(names), int(config.hidden_size)) or len(set(names)) < len(names):
        problem = f"has a head of shape {shape} for {len(set(names))} classes"
        raise BadInput("head", folder, problem, _RESTORE)
    if not 8 <= stored.max_tokens <= positions or not 0 <= stored.overlap <= stored.max_tokens // 2:
        problem = (
            f"reads windows of {stored.max_tokens} tokens that share {stored.overlap}, and its "
            f"network has {positions} positions"
        )
        raise BadInput("head", folder, problem, _RESTORE)
    return stored


def classifier_digest(folder: str) -> str:
    """Return the SHA-256 of what decides the predictions of a classifier."""
    found = hashlib.sha256()
    for path in sorted(Path(folder).iterdir()):
        if path.name.endswith((".safetensors", ".json")) and path.is_file():
            with path.open("rb") as file:
                found.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


class TextClassifier:
    """A classifier that is loaded."""

    def __init__(self, folder: str, placement: Placement) -> None:
        """Load a classifier.

        Args:
            folder: the folder, which `read_classifier` accepts.
            placement: the device, and the dtype of matrix products: ``auto``, ``float32`` or
                ``bfloat16``.
        """
        from transforms.tasks.networks.head_network import HeadNetwork, load_tokenizer
        from transforms.training.student import resolve_training_placement

        if placement.dtype == "float16":
            problem = "is no dtype of a classifier"
            raise BadInput("dtype", placement.dtype, problem, "Give float32 or bfloat16")
        self.settings = read_classifier(folder)
        resolved = resolve_training_placement(placement.device, placement.dtype)
        self._network = HeadNetwork(Path(folder), "classify", self.settings.classes, resolved)
        self._network.model.eval()
        _, self._tokenizer = load_tokenizer(Path(folder))

    def scores(self, texts: Sequence[str]) -> Scores:
        """Return the probability of each class of each text, float32 ``[texts, classes]``.

        A long text is read in windows, and the mean of their scores decides.
        """
        import torch

        from transforms.tasks.networks.batches import validation_batches
        from transforms.tasks.networks.classification import text_scores
        from transforms.tasks.networks.windows import cut_windows

        if not len(texts):
            return np.zeros((0, len(self.settings.classes.names)), np.float32)
        settings = self.settings
        windows = cut_windows(self._tokenizer, texts, settings.max_tokens, settings.overlap)
        with torch.inference_mode():
            logits = text_scores(self._network, validation_batches(windows, _BATCH_TOKENS))
            found = torch.from_numpy(logits)
            shares = found.sigmoid() if settings.classes.several else found.softmax(dim=1)
        scores: Scores = shares.numpy().astype(np.float32)
        return scores


#: The classifier that all threads of a process share.
classifier_of = Once(TextClassifier, 1)
