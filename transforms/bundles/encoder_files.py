"""The encoder of a bundle: the ONNX file of the store's model, and its tokenizer."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from transforms.bundles.edge.encoder import OnnxEncoder
from transforms.bundles.edge.files import Files
from transforms.encoder.engines.onnx_file import read_onnx_file
from transforms.encoder.probes import MIN_COSINE
from transforms.errors import AlbeamError
from transforms.models.exported import FILE
from transforms.models.identity import FLOAT
from transforms.models.options import ModelOptions
from transforms.models.resolve import Model, find_model, options_for
from transforms.models.tokenizer import load_tokenizer
from transforms.search.store import Store

#: Questions on which the copied encoder is compared with the store's.
_QUESTIONS = (
    "How do I read a file?",
    "Wer war's? Garçon, ``das'' Süße\u00a0kostet 3½ €.",
    "the quick brown fox jumps over the lazy dog " * 4,
)
#: Weights with fewer numbers stay as they are.
_SMALL = 1_024


def write_encoder(store: Store, moved: str | None, folder: Path) -> tuple[dict[str, Any], float]:
    """Write ``model.onnx`` and ``tokenizer.json``.

    Args:
        store: the store.
        moved: the present folder of its model, if it has moved.
        folder: where to.

    Returns:
        What the bundle's description says of the model, and the largest difference of a vector's
        number to that of the store's own encoder.

    Raises:
        BadInput: the model is not where it was, or has no ONNX form.
        AlbeamError: the copied encoder gives other vectors.
    """
    identity = store.snapshot.identity
    options = options_for(identity, moved)
    model = find_model(options)
    (folder / FILE).write_bytes(_onnx_file(model, options))
    tokenizer = load_tokenizer(model)
    (folder / "tokenizer.json").write_text(tokenizer.backend.to_str(), encoding="utf-8")
    about = {
        "name": identity.name,
        "dim": identity.dim,
        "normalize": identity.normalize,
        "max_tokens": identity.max_tokens,
        "prompt": identity.query_prompt,
        "prefix": tokenizer.prefix,
        "suffix": tokenizer.suffix,
    }
    copied = OnnxEncoder(Files(folder), about)
    about["checks"] = [{"question": each, "ids": copied.tokens(each)} for each in _QUESTIONS]
    ours = np.stack([copied.encode(each) for each in _QUESTIONS])
    theirs = store.encoder.encode_texts(list(_QUESTIONS), identity.query_prompt)
    products = np.sum(ours * theirs, 1)
    cosine = float((products / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)).min())
    least = MIN_COSINE["float32" if identity.precision == FLOAT else "int8"]
    if not cosine >= least:
        problem = f"gives other vectors by ONNX Runtime: a cosine of {cosine:.6f}, below {least}"
        raise AlbeamError("model", identity.name, problem, "Upgrade onnx and onnxruntime")
    return about, float(np.abs(ours - theirs).max())


def _onnx_file(model: Model, options: ModelOptions) -> bytes:
    """Return the content of an ONNX file of a model, which may be one already."""
    name = options.model
    if model.exported is not None:
        return read_onnx_file(model.folder, model.exported, name)
    from transforms.compression.onnx_export.export import export
    from transforms.compression.onnx_export.options import ExportOptions

    with tempfile.TemporaryDirectory(prefix="albeam-") as folder:
        output = Path(folder) / "exported"
        export(ExportOptions(options, output))
        return _halved((output / FILE).read_bytes())


def _halved(content: bytes) -> bytes:
    """Return an ONNX file whose weights are in float16, where float16 has them without loss.

    ONNX Runtime widens them when it opens the file.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.ModelProto.FromString(content)
    graph = model.graph
    casts = []
    for weight in graph.initializer:
        if weight.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(weight)
        if values.size < _SMALL or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    written: bytes = model.SerializeToString()
    return written
