"""ONNX files of exported models, which anyone may have made: read, checked, never trusted.

An ONNX file can name other files as its weights. Such files are not read: only what the file itself
contains reaches an engine.
"""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from transforms.models.exported import FILE, Exported
from transforms.models.model_files import inner_path, refusal, refusing

#: The key of the file's own metadata that names the weights it was made from.
WEIGHTS_KEY = "albeam.weights_sha256"
#: The operators that engines have: ONNX's own, and those of ONNX Runtime's quantizer.
_DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})
#: A message of protobuf has no more bytes.
_MOST_BYTES = (1 << 31) - 1
_RESTORE = "Export the model again with albeam export"


def read_onnx_file(folder: str, exported: Exported, name: str) -> bytes:
    """Return the content of an exported folder's ONNX file.

    Args:
        folder: the folder.
        exported: what its description says.
        name: the user's name of the folder.

    Raises:
        BadInput: the file leads out of the folder, is too large or cut short, has weights in other
            files, has operators that engines lack, is another model's, or was changed.
    """
    path = inner_path(folder, FILE, name)
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise refusal(name, FILE, f"has {size} bytes, but at most {_MOST_BYTES} are read", _RESTORE)
    content = path.read_bytes()
    _check(content, exported, name)
    return content


def _check(content: bytes, exported: Exported, name: str) -> None:
    import onnx
    from google.protobuf.message import DecodeError

    whole = hashlib.sha256(content).hexdigest() == exported.sha256
    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        problem = f"is cut short or is no ONNX file: {error}"
        raise refusal(name, FILE, problem, _RESTORE) from error
    for tensor in _tensors(model):
        if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
            problem = f"takes the tensor {tensor.name[:80]!r} from another file"
            raise refusal(name, FILE, problem, "Save it with its weights inside")
    newest = onnx.defs.onnx_opset_version()
    for operators in model.opset_import:
        if operators.domain not in _DOMAINS:
            problem = f"has operators of {operators.domain[:80]!r}, which engines lack"
            raise refusal(name, FILE, problem, _RESTORE)
        if operators.domain in ("", "ai.onnx") and operators.version > newest:
            problem = (
                f"has the opset {operators.version}, and the installed onnx knows those to {newest}"
            )
            raise refusal(name, FILE, problem, "Upgrade onnx and the engine, or export it again")
    made_from = {each.key: each.value for each in model.metadata_props}.get(WEIGHTS_KEY)
    if made_from != exported.weights_sha256:
        problem = "was made from other weights than albeam.json says"
        raise refusal(name, FILE, problem, _RESTORE)
    if not whole:
        raise refusal(name, FILE, "was changed after its export", _RESTORE)


def _tensors(message: Any) -> Iterator[Any]:
    """Yield all tensors of a message of ONNX, however deep they lie."""
    pending = [message]
    while pending:
        for field, value in pending.pop().ListFields():
            if field.message_type is None:
                continue
            for each in [value] if hasattr(value, "ListFields") else value:
                if each.DESCRIPTOR.name == "TensorProto":
                    yield each
                else:
                    pending.append(each)


def running(name: str, engine: str) -> AbstractContextManager[None]:
    """Return a context in which an engine's errors say which file it can't run."""
    return refusing(name, f"has a {FILE} that {engine} can't run", _RESTORE)
