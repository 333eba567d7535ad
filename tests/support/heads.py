"""Damage to the folders of trained heads."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save_file


def change(**values: Any) -> Callable[[Path], None]:
    """Return what changes values of ``head.json`` in a folder."""

    def apply(folder: Path) -> None:
        stored = json.loads((folder / "head.json").read_text())
        (folder / "head.json").write_text(json.dumps(stored | values))

    return apply


def without_weights(beginning: str) -> Callable[[Path], None]:
    """Return what removes the weights whose names have a beginning from a folder."""

    def apply(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        kept = {name: each for name, each in weights.items() if not name.startswith(beginning)}
        save_file(kept, folder / "model.safetensors", {"format": "pt"})

    return apply
