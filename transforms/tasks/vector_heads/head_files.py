"""The folder of a head on stored vectors: ``head.safetensors`` and ``head.json``, never pickle.

``README.md`` is its model card, which nothing reads.

Anyone may have made the folder: nothing of it is used before sizes, shapes and values are checked.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transforms.catalog.manifest_json import convert
from transforms.errors import BadInput, Damaged
from transforms.models.identity import ModelIdentity
from transforms.models.model_files import inner_path, read_object
from transforms.models.weights import read_header
from transforms.storage.output_files import writing
from transforms.tasks.data.labels import LONGEST_NAME, MOST_CLASSES, Classes
from transforms.tasks.vector_heads.vector_head import VectorHead

HEAD_JSON, HEAD_WEIGHTS = "head.json", "head.safetensors"
VERSION = 1
_MOST_DIM = 1 << 16
#: The most bytes of the weights' file beside its numbers.
_MOST_HEADER = 1 << 16
_RESTORE = "Restore its files, or fit the head again with albeam classify"


@dataclass(frozen=True)
class _StoredHead:
    """The content of ``head.json``."""

    version: int
    kind: str
    classes: Classes
    encoder: ModelIdentity
    weights_sha256: str
    settings: dict[str, Any]
    metrics: dict[str, Any]


def check_head_output(output: str) -> None:
    """Raise BadInput if a head can't be written to a folder without loss of other files."""
    path = Path(output).absolute()
    if path.exists() and not path.is_dir():
        raise BadInput("output", output, "is a file", "Name a new folder")
    if path.is_dir() and any(path.iterdir()) and not _has_head(path):
        problem = "holds something other than a head, which would be lost"
        raise BadInput("output", output, problem, "Name a new folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"can't be created ({error.strerror})"
        raise BadInput("output", output, problem, "Name another folder") from error
    if not os.access(path, os.W_OK):
        raise BadInput("output", output, "can't be written to", "Name another folder")


def _has_head(path: Path) -> bool:
    """Return whether a folder has a head on vectors, whose files a new one replaces."""
    try:
        return read_object(str(path), HEAD_JSON, str(path)).get("kind") == "vector"
    except BadInput:
        return False


def write_head(output: str, head: VectorHead, card: str) -> None:
    """Write a head and its card into a folder; the weights first, so that ``head.json`` finds them.

    Args:
        output: the folder.
        head: the head.
        card: the text of the model card.
    """
    from safetensors.numpy import save

    content = save({"weights": head.weights, "bias": head.bias})
    digest = hashlib.sha256(content).hexdigest()
    stored = _StoredHead(
        VERSION, "vector", head.classes, head.encoder, digest, head.settings, head.metrics
    )
    text = json.dumps(asdict(stored), indent=1, ensure_ascii=False, sort_keys=True)
    files = {HEAD_WEIGHTS: content, HEAD_JSON: text.encode(), "README.md": card.encode()}
    for name, value in files.items():
        with writing(str(Path(output).absolute() / name)) as path:
            Path(path).write_bytes(value)


def read_head(folder: str) -> VectorHead:
    """Read a head that `write_head` wrote.

    Raises:
        BadInput: the folder has no head, a file leads out of it or is too large, its values do not
            fit each other, or a number is not finite.
    """
    try:
        return _read(folder)
    except BadInput as error:
        raise BadInput("head", folder, error.problem, error.remedy) from error
    except Damaged as error:
        raise BadInput(
            "head", folder, f"has a {HEAD_JSON} that {error.problem}", _RESTORE
        ) from error


def read_same_head(folder: str, digest: str) -> VectorHead:
    """Read the head that a run began with, on a worker.

    Raises:
        BadInput: this worker has no head in the folder, or one with another digest.
    """
    where = f"on the worker {platform.node()}"
    remedy = "Put the head of the run at the same place on every worker, and run again"
    try:
        head = read_head(folder)
    except BadInput as error:
        raise BadInput("head", folder, f"can't be read {where}: {error}", remedy) from error
    if head.digest() != digest:
        raise BadInput("head", folder, f"is another head {where}", remedy)
    return head


def _read(folder: str) -> VectorHead:
    if not Path(folder).is_dir():
        raise BadInput("head", folder, "is not a folder", "Name one that albeam classify wrote")
    value = read_object(folder, HEAD_JSON, folder)
    if not value:
        problem = f"has no {HEAD_JSON}"
        raise BadInput("head", folder, problem, "Name a folder that albeam classify wrote")
    if value.get("kind") == "network":
        problem = "is a whole network, which reads texts and has no use for vectors"
        remedy = "Give a head that albeam classify wrote, or label texts with albeam predict"
        raise BadInput("head", folder, problem, remedy)
    if value.get("version") != VERSION or value.get("kind") != "vector":
        problem = (
            f"has a head of kind {str(value.get('kind'))[:40]!r} and version "
            f"{str(value.get('version'))[:40]!r}, but albeam reads 'vector' and {VERSION}"
        )
        raise BadInput("head", folder, problem, "Install the albeam that wrote it")
    stored = convert(value, _StoredHead, HEAD_JSON)
    _check_stored(folder, stored)
    tensors = _read_tensors(folder, stored)
    return VectorHead(
        stored.classes,
        stored.encoder,
        tensors["weights"],
        tensors["bias"],
        stored.settings,
        stored.metrics,
    )


def _check_stored(folder: str, stored: _StoredHead) -> None:
    names = stored.classes.names
    if not 1 <= len(names) <= MOST_CLASSES or len(set(names)) < len(names):
        problem = f"has {len(names)} classes, of which {len(set(names))} are different"
        raise BadInput("head", folder, problem, _RESTORE)
    if max(map(len, names)) > LONGEST_NAME:
        raise BadInput("head", folder, "has a class with a name that is too long", _RESTORE)
    if stored.classes.integers:
        for name in names:
            try:
                fits = str(int(name)) == name and -(2**63) <= int(name) < 2**63
            except ValueError:
                fits = False
            if not fits:
                problem = f"has the class {name[:40]!r} among whole numbers"
                raise BadInput("head", folder, problem, _RESTORE)
    if not 1 <= stored.encoder.dim <= _MOST_DIM:
        problem = f"has an encoder with vectors of {stored.encoder.dim} numbers"
        raise BadInput("head", folder, problem, _RESTORE)


def _read_tensors(folder: str, stored: _StoredHead) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    rows, dim = len(stored.classes.names), stored.encoder.dim
    path = inner_path(folder, HEAD_WEIGHTS, folder)
    if not path.is_file():
        raise BadInput("head", folder, f"has no {HEAD_WEIGHTS}", _RESTORE)
    size, most = path.stat().st_size, 4 * rows * (dim + 1) + _MOST_HEADER
    if size > most:
        problem = f"has a {HEAD_WEIGHTS} of {size} bytes, but at most {most} are read"
        raise BadInput("head", folder, problem, _RESTORE)
    shapes = read_header(folder, HEAD_WEIGHTS, folder)
    wanted = {"weights": (rows, dim), "bias": (rows,)}
    if shapes != wanted:
        problem = f"has tensors of shapes {shapes}, but its {HEAD_JSON} needs {wanted}"
        raise BadInput("head", folder, problem, _RESTORE)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != stored.weights_sha256:
        problem = f"has a {HEAD_WEIGHTS} with another SHA-256 than its {HEAD_JSON} records"
        raise BadInput("head", folder, problem, _RESTORE)
    try:
        tensors: dict[str, Any] = load(content)
    except SafetensorError as error:
        raise BadInput("head", folder, f"can't be read: {error}", _RESTORE) from error
    for name, tensor in tensors.items():
        if tensor.dtype != np.float32 or not np.isfinite(tensor).all():
            problem = f"has {name} that are not finite numbers in float32"
            raise BadInput("head", folder, problem, _RESTORE)
    return tensors
