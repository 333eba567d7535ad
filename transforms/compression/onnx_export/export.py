"""Export a model: write its folder, and measure what the ONNX file changes."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from transforms.compression.onnx_export.graph import OPSET, export_graph
from transforms.compression.onnx_export.networks import (
    ExportedNetwork,
    find_task,
    load_encoder_network,
    load_head,
)
from transforms.compression.onnx_export.options import ExportOptions
from transforms.compression.onnx_export.quantize import quantize
from transforms.compression.onnx_export.summary import ExportSummary
from transforms.encoder.engines.onnx_file import WEIGHTS_KEY
from transforms.encoder.probes import MIN_COSINE, probe_ids
from transforms.encoder.reference import reference_vectors
from transforms.errors import AlbeamError, BadInput
from transforms.models.exported import DESCRIPTION, EMBED, FILE, PROBES, VERSION, Exported
from transforms.models.identity import FLOAT, ONNX_INT8
from transforms.models.model_files import inner_path
from transforms.models.resolve import Model, find_model
from transforms.models.tokenizer import load_tokenizer
from transforms.models.weights import weight_files
from transforms.training.export import replace_folder, write_json

Arrays = list[npt.NDArray[np.float32]]

#: Logits of a head in float32 may differ by this much.
_MOST_DIFFERENCE = 1e-4
_COPIED = (".json", ".txt", ".model", ".jinja")
_LEFT = (DESCRIPTION, "model.safetensors.index.json")


def export(options: ExportOptions, texts: Sequence[str] = ()) -> ExportSummary:
    """Write a model's folder with an ONNX file instead of its weights.

    Args:
        options: what to export, and where to.
        texts: texts on which the loss is also measured.

    Raises:
        BadInput: the model can't be used, or its head has no ONNX form.
        AlbeamError: the file does not give what the model gives.
    """
    model, name = find_model(options.model), options.model.model
    if model.exported is not None:
        problem, remedy = "was exported already", f"Give {model.identity.name}"
        raise BadInput("model", name, problem, remedy)
    task = find_task(model.folder, name)
    network = load_encoder_network(model) if task == EMBED else load_head(model.folder, name, task)
    graph = export_graph(network, name)
    if options.int8:
        graph = quantize(graph)
    graph.metadata_props.add(key=WEIGHTS_KEY, value=model.identity.weights_sha256)
    content = graph.SerializeToString()
    tokenizer = load_tokenizer(model)
    ids = probe_ids(tokenizer, model.identity.max_tokens)
    probes = len(ids)
    ids += [each for each in tokenizer.encode_framed(texts, model.identity.max_tokens) if each]
    expected = _expected(model, network, task, ids)
    cosines, difference = _compare(expected, _outputs(content, network, ids))
    _check(options, task, cosines[:probes], difference)
    description = _describe(options, model, network, task, content, float(cosines.min()))
    _write(options.output, model, description, content, expected[:probes])
    return ExportSummary(
        output=str(options.output),
        model=model.identity.name,
        task=task,
        opset=OPSET,
        precision=description.precision,
        bytes=len(content),
        source_bytes=_weight_bytes(model, name),
        texts=len(ids),
        least_cosine=float(cosines.min()),
        mean_cosine=float(cosines.mean()),
        largest_difference=difference,
    )


def _expected(model: Model, network: ExportedNetwork, task: str, ids: list[list[int]]) -> Arrays:
    """Return what the unmodified model gives for each text: its vector, or all its logits."""
    if task == EMBED:
        return list(reference_vectors(model, ids))
    with torch.inference_mode():
        return [
            np.concatenate(
                [each.numpy().ravel() for each in network.network(*_inputs(network, row).values())]
            )
            for row in ids
        ]


def _inputs(network: ExportedNetwork, row: list[int]) -> dict[str, torch.Tensor]:
    """Return the inputs of one text; the second half of a pair's tokens has type 1."""
    whole = torch.tensor([row])
    given = {"input_ids": whole, "attention_mask": torch.ones_like(whole)}
    if "token_type_ids" in network.inputs:
        given["token_type_ids"] = torch.zeros_like(whole)
        if "start_logits" in network.outputs or len(network.labels) == 1:
            given["token_type_ids"][:, len(row) // 2 :] = 1
    return given


def _outputs(content: bytes, network: ExportedNetwork, ids: list[list[int]]) -> Arrays:
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    # Its other threads spin while they wait, and a single text gives them little to do.
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    found = []
    for row in ids:
        given = {name: each.numpy() for name, each in _inputs(network, row).items()}
        outputs: Any = session.run(list(network.outputs), given)
        found.append(np.concatenate([np.asarray(each, np.float32).ravel() for each in outputs]))
    return found


def _compare(ours: Arrays, theirs: Arrays) -> tuple[npt.NDArray[np.float64], float]:
    """Return the cosine of each pair of arrays, and the largest difference."""
    cosines, largest = [], 0.0
    for one, other in zip(ours, theirs, strict=True):
        a, b = one.astype(np.float64), other.astype(np.float64)
        cosines.append(float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-30)))
        largest = max(largest, float(np.abs(a - b).max()))
    return np.array(cosines), largest


def _check(
    options: ExportOptions, task: str, cosines: npt.NDArray[np.float64], difference: float
) -> None:
    """Raise AlbeamError if an export would not be accepted when it is loaded."""
    least = MIN_COSINE["int8" if options.int8 else "float32"]
    exact = task == EMBED or options.int8
    if (exact and cosines.min() >= least) or (not exact and difference <= _MOST_DIFFERENCE):
        return
    problem = (
        f"the export is not written, because its outputs have a cosine of {cosines.min():.6f} to "
        f"those of the model, and differ by up to {difference:.6f}"
    )
    remedy = "Leave --int8 out" if options.int8 else "Upgrade onnx, onnxscript and onnxruntime"
    raise AlbeamError("output", str(options.output), problem, remedy)


def _describe(
    options: ExportOptions,
    model: Model,
    network: ExportedNetwork,
    task: str,
    content: bytes,
    least_cosine: float,
) -> Exported:
    identity = model.identity
    return Exported(
        version=VERSION,
        task=task,
        model=identity.name,
        revision=identity.revision,
        weights_sha256=identity.weights_sha256,
        tokenizer_sha256=identity.tokenizer_sha256,
        pooling=identity.pooling,
        layer=identity.layer,
        normalize=identity.normalize,
        max_tokens=identity.max_tokens,
        query_prompt=identity.query_prompt,
        passage_prompt=identity.passage_prompt,
        dim=identity.dim if task == EMBED else 0,
        precision=ONNX_INT8 if options.int8 else FLOAT,
        opset=OPSET,
        sha256=hashlib.sha256(content).hexdigest(),
        labels=network.labels,
        least_cosine=least_cosine,
    )


def _write(
    output: Path, model: Model, description: Exported, content: bytes, expected: Arrays
) -> None:
    """Write the folder, which appears whole or not at all."""
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _copy_settings(model, partial)
        (partial / FILE).write_bytes(content)
        if description.task == EMBED:
            np.save(partial / PROBES, np.stack(expected), allow_pickle=False)
        write_json(partial / DESCRIPTION, description.__dict__)
        replace_folder(partial, output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _copy_settings(model: Model, folder: Path) -> None:
    """Copy the tokenizer and all settings of a model, without weights."""
    source = Path(model.folder)
    for path in sorted([*source.iterdir(), *source.glob("*/config.json")]):
        if not path.name.endswith(_COPIED) or path.name in _LEFT or not path.is_file():
            continue
        file = path.relative_to(source)
        inner = inner_path(model.folder, str(file), model.identity.name)
        (folder / file).parent.mkdir(exist_ok=True)
        shutil.copyfile(inner, folder / file)


def _weight_bytes(model: Model, name: str) -> int:
    return sum(
        (Path(model.folder) / file).stat().st_size for file in weight_files(model.folder, name)
    )
