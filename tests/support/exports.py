"""Exported models, and ONNX files that are not as albeam export writes them."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from transforms.models.exported import DESCRIPTION, FILE
from transforms.models.options import ModelOptions


def export_model(model: Path, output: Path, int8: bool = False, **options: Any) -> Path:
    """Export a model, and return the folder; skips the test without the extra ``onnx``."""
    for library in ("onnxscript", "onnxruntime"):
        pytest.importorskip(library)
    from transforms.compression.onnx_export.export import export
    from transforms.compression.onnx_export.options import ExportOptions

    export(ExportOptions(ModelOptions(str(model), **options), output, int8=int8))
    return output


def changed_copy(exported: Path, folder: Path, change: Callable[[Any], object]) -> Path:
    """Copy an exported folder, change its ONNX model, and name the new file's digest."""
    shutil.copytree(exported, folder)
    model = onnx.load(folder / FILE)
    change(model)
    content = model.SerializeToString()
    (folder / FILE).write_bytes(content)
    describe(folder, sha256=hashlib.sha256(content).hexdigest())
    return folder


def describe(folder: Path, **changes: Any) -> None:
    """Change values of an exported folder's description."""
    file = folder / DESCRIPTION
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
