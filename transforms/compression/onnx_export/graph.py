"""The ONNX graph of a network: exported, cleaned, and with its weights ready for products."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from transforms.compression.onnx_export.networks import ExportedNetwork
from transforms.errors import BadInput
from transforms.models.model_files import refusing

#: The version of ONNX's operators: it has all that encoders need, and older engines know it too.
OPSET = 20
#: A message of protobuf has at most 2 GiB; the graph itself takes some of it.
_MOST_BYTES = (1 << 31) - (64 << 20)
#: Two rows, so that neither dimension is taken for a constant.
_ROWS, _LENGTH = 2, 6
_AXES = ("rows", "length")


def export_graph(exported: ExportedNetwork, name: str) -> Any:
    """Return a network as a ``ModelProto`` with free numbers of rows and tokens.

    Raises:
        BadInput: torch can't export it, or it is too large for one file.
    """
    size = sum(each.numel() * 4 for each in exported.network.parameters())
    if size > _MOST_BYTES:
        problem = f"has {size} bytes of weights, and an ONNX file holds at most {_MOST_BYTES}"
        raise BadInput("model", name, problem, "Export a smaller model")
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    example = {key: torch.ones(_ROWS, _LENGTH, dtype=torch.int64) for key in exported.inputs}
    example["attention_mask"][1, _LENGTH // 2 :] = 0
    if "token_type_ids" in example:
        example["token_type_ids"][:, : _LENGTH // 2] = 0
    with refusing(name, "can't be exported by torch.onnx", "Export another model"), _quiet():
        program = torch.onnx.export(
            exported.network,
            tuple(example.values()),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=list(exported.inputs),
            output_names=list(exported.outputs),
            dynamic_shapes=_shapes(exported, free),
        )
    assert program is not None
    model = program.model_proto
    _clean(model)
    _fold_transposes(model.graph)
    return model


def _shapes(exported: ExportedNetwork, free: dict[int, Any]) -> dict[str, Any]:
    return dict.fromkeys(exported.inputs, free)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the exporter's notices, which are about its own parts."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _clean(model: Any) -> None:
    """Remove what tells of the machine that exported, and name the free dimensions."""
    del model.graph.value_info[:]
    model.producer_name, model.doc_string, model.graph.doc_string = "albeam", "", ""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    names: dict[str, str] = {}
    for place, dim in enumerate(model.graph.input[0].type.tensor_type.shape.dim):
        names[dim.dim_param] = _AXES[place]
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = names.get(dim.dim_param, dim.dim_param)


def _fold_transposes(graph: Any) -> None:
    """Store weights as products use them; the quantizer looks for weights there."""
    from onnx import numpy_helper

    weights = {each.name: each for each in graph.initializer}
    folded: dict[tuple[str, tuple[int, ...]], str] = {}
    renamed: dict[str, str] = {}
    kept = []
    for node in graph.node:
        if node.op_type != "Transpose" or node.input[0] not in weights:
            kept.append(node)
            continue
        order = tuple(next((list(a.ints) for a in node.attribute if a.name == "perm"), (1, 0)))
        key = (node.input[0], order)
        if key not in folded:
            folded[key] = f"{node.input[0]}.transposed"
            turned = np.ascontiguousarray(
                numpy_helper.to_array(weights[node.input[0]]).transpose(order)
            )
            graph.initializer.append(numpy_helper.from_array(turned, folded[key]))
        renamed[node.output[0]] = folded[key]
    for node in kept:
        for place, given in enumerate(node.input):
            node.input[place] = renamed.get(given, given)
    used = {given for node in kept for given in node.input} | {o.name for o in graph.output}
    left = [each for each in graph.initializer if each.name in used]
    del graph.node[:]
    graph.node.extend(kept)
    del graph.initializer[:]
    graph.initializer.extend(left)
