"""The weights of a model, as the headers of its safetensors files describe them.

A header is read and compared with the size of its file before anything is loaded. Nothing else than
safetensors is ever loaded: pickled weights could run code.
"""

import json
import math
import re
import struct
from dataclasses import dataclass
from typing import Any

from transforms.errors import BadInput
from transforms.models.model_files import inner_path, read_object, refusal

_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors")
_MOST_HEADER = 16 << 20
_MOST_TENSORS = 200_000
_MOST_DIMENSIONS = 16
_MOST_FILES = 1_000
_BYTES = {
    **{"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2},
    **{"BF16": 2, "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8},
}
_RESTORE = "Restore its .safetensors file"


@dataclass(frozen=True)
class Weights:
    """The tensors of a model: their shapes by name."""

    shapes: dict[str, tuple[int, ...]]

    @property
    def numbers(self) -> int:
        """Return how many numbers all tensors have."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def layers(self) -> int:
        """Return how many layers the names of the tensors count."""
        found = (re.findall(r"(?<=\.)\d+(?=\.)", name) for name in self.shapes)
        return max((1 + int(number) for numbers in found for number in numbers), default=0)


def read_weights(folder: str, name: str) -> Weights:
    """Read the headers of the files that transformers would load.

    Raises:
        BadInput: there are none, one is not in the folder, or one is not as its header says.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for file in weight_files(folder, name):
        shapes |= read_header(folder, file, name)
        if len(shapes) > _MOST_TENSORS:
            raise refusal(name, file, f"has more than {_MOST_TENSORS} tensors", _RESTORE)
    return Weights(shapes)


def weight_files(folder: str, name: str) -> list[str]:
    """Return the names of the files that transformers would load; raises as `read_weights`."""
    if inner_path(folder, _SINGLE, name).is_file():
        return [_SINGLE]
    index = read_object(folder, _INDEX, name)
    if not index:
        problem = "has no .safetensors weights, and pickled weights are never loaded"
        raise BadInput("model", name, problem, "Save it with save_pretrained")
    names = index.get("weight_map")
    if not isinstance(names, dict) or not isinstance(index.get("metadata"), dict):
        raise refusal(name, _INDEX, "lacks its weight_map or its metadata")
    files = sorted(set(map(str, names.values())))
    if len(files) > _MOST_FILES:
        raise refusal(name, _INDEX, f"names {len(files)} files, but at most {_MOST_FILES} are read")
    for file in files:
        if not _NAME.fullmatch(file):
            problem = f"names {file[:80]!r}, which is no .safetensors file of the folder"
            raise refusal(name, _INDEX, problem)
        if not inner_path(folder, file, name).is_file():
            raise refusal(name, _INDEX, f"names {file}, which is missing")
    return files


def read_header(folder: str, file: str, name: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors in a safetensors file of a folder, which fill the file.

    Raises:
        BadInput: the file is not as its header says.
    """
    path = inner_path(folder, file, name)
    size = path.stat().st_size
    with open(path, "rb") as opened:
        start = opened.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > min(_MOST_HEADER, size - 8):
            problem = f"can't be read: it has {size} bytes, and a header of {length}"
            raise refusal(name, file, problem, _RESTORE)
        content = opened.read(length)
    try:
        return _shapes(json.loads(content), size - 8 - length)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise refusal(name, file, f"can't be read: {error}", _RESTORE) from error


def _shapes(header: Any, size: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a header's tensors, which must fill the rest of the file.

    Raises:
        ValueError, TypeError, KeyError: they do not.
    """
    if not isinstance(header, dict):
        raise TypeError("its header is no object")
    found, places = {}, []
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        shape, (start, stop) = tuple(tensor["shape"]), tensor["data_offsets"]
        if not all(type(number) is int and number >= 0 for number in (*shape, start, stop)):
            raise ValueError(f"tensor {name[:80]!r} has an impossible shape or place")
        if len(shape) > _MOST_DIMENSIONS:
            raise ValueError(f"tensor {name[:80]!r} has {len(shape)} dimensions")
        if stop - start != math.prod(shape) * _BYTES[tensor["dtype"]]:
            raise ValueError(f"tensor {name[:80]!r} has other bytes than its shape needs")
        found[name] = shape
        places.append((start, stop))
    end = 0
    for start, stop in sorted(places):
        if start != end:
            raise ValueError(f"its tensors overlap, or leave a gap, at byte {end}")
        end = stop
    if end != size:
        raise ValueError(f"its tensors have {end} bytes, but {size} follow its header")
    return found
