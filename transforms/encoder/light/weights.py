"""The tensors of a model's safetensors files as float32 arrays, read without torch."""

import json
import math
import struct
from collections.abc import Iterator

import numpy as np

from transforms.encoder.light.functions import Floats
from transforms.models.model_files import inner_path
from transforms.models.weights import weight_files

#: The dtypes that are read; the bits of a bfloat16 are the upper half of those of a float32.
_DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}
_BFLOAT16 = "BF16"


def read_tensors(folder: str, name: str) -> dict[str, Floats]:
    """Return the floating-point tensors of a model's files, which were checked, by their names.

    Args:
        folder: the model's folder.
        name: the user's name of the model, for errors.

    Raises:
        BadInput: a file is missing or leads out of the folder.
    """
    found: dict[str, Floats] = {}
    for file in weight_files(folder, name):
        content = inner_path(folder, file, name).read_bytes()
        found |= dict(_tensors(content))
    return found


def _tensors(content: bytes) -> Iterator[tuple[str, Floats]]:
    [length] = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    for name, tensor in header.items():
        kind = tensor["dtype"]
        if kind not in _DTYPES:
            continue
        shape, start = tensor["shape"], 8 + length + tensor["data_offsets"][0]
        values = np.frombuffer(content, _DTYPES[kind], math.prod(shape), start).reshape(shape)
        if kind == _BFLOAT16:
            yield name, (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
        else:
            yield name, values.astype(np.float32, copy=False)
