"""Folders that albeam export wrote: an ONNX file in the place of weights, and what it computes."""

import math
from dataclasses import dataclass
from typing import Any

from transforms.errors import BadInput
from transforms.models.identity import FLOAT, ONNX_INT8
from transforms.models.model_files import inner_path, read_object, refusal
from transforms.models.options import POOLINGS, ModelOptions

DESCRIPTION, FILE, PROBES = "albeam.json", "model.onnx", "probes.npy"
VERSION = 1
#: The task of a folder without a head.
EMBED = "embed"
_RESTORE = "Export the model again with albeam export"


@dataclass(frozen=True)
class Exported:
    """What `DESCRIPTION` says of an exported model.

    Attributes:
        task: `EMBED`, or what the head does: ``classify``, ``tag``, ``read`` or ``rerank``.
        model, revision: where the source model was found.
        weights_sha256, tokenizer_sha256: the digests of the source model's files.
        pooling, layer, normalize: what the file computes; fixed in it.
        max_tokens: the tokens of a passage, special tokens included.
        dim: the length of a vector; 0 with a head.
        precision: `FLOAT`, or `ONNX_INT8` if ONNX Runtime's quantizer made its products of bytes.
        opset: the version of ONNX's operators.
        sha256: the digest of the file.
        labels: the classes of a head, in the order of its scores.
        least_cosine: the lowest cosine to float32 in the export's own check.
    """

    version: int
    task: str
    model: str
    revision: str | None
    weights_sha256: str
    tokenizer_sha256: str
    pooling: str
    layer: int
    normalize: bool
    max_tokens: int
    query_prompt: str
    passage_prompt: str
    dim: int
    precision: str
    opset: int
    sha256: str
    labels: tuple[str, ...]
    least_cosine: float


def read_exported(folder: str, name: str) -> Exported | None:
    """Return the description of an exported folder; None if the folder was not exported.

    Raises:
        BadInput: the description is damaged, or of another version of albeam.
    """
    value = read_object(folder, DESCRIPTION, name)
    if not value:
        return None
    # Models of torch are read where msgspec is missing.
    import msgspec

    try:
        found = msgspec.convert(value, Exported, strict=True)
    except msgspec.ValidationError as error:
        raise refusal(name, DESCRIPTION, f"is damaged: {error}", _RESTORE) from error
    if found.version != VERSION:
        problem = f"has the version {found.version}, and {VERSION} is read"
        raise refusal(name, DESCRIPTION, problem, _RESTORE)
    if (
        found.pooling not in POOLINGS
        or found.precision not in (FLOAT, ONNX_INT8)
        or found.max_tokens < 1
        or not math.isfinite(found.least_cosine)
    ):
        raise refusal(name, DESCRIPTION, "has values that albeam export does not write", _RESTORE)
    if not inner_path(folder, FILE, name).is_file():
        raise refusal(name, DESCRIPTION, f"describes {FILE}, which is missing", _RESTORE)
    return found


def check_exported(exported: Exported, options: ModelOptions, tokenizer: str, config: Any) -> None:
    """Check that an exported encoder computes what is asked for.

    Args:
        exported: what its folder says.
        options: what the user asks for.
        tokenizer: the digest of the folder's tokenizer.
        config: the folder's config.

    Raises:
        BadInput: it has a head, an option differs from what its file computes, or a file of the
            folder is another model's.
    """
    name = options.model
    if exported.task != EMBED:
        problem = f"is an exported head for the task {exported.task[:40]!r}, not an encoder"
        raise BadInput("model", name, problem, "Export the encoder itself")
    if tokenizer != exported.tokenizer_sha256 or int(config.hidden_size) != exported.dim:
        problem = "has a tokenizer or a config of another model than its ONNX file"
        raise BadInput("model", name, problem, _RESTORE)
    asked = {
        "pooling": options.pooling,
        "layer": None if options.layer == ModelOptions.layer else options.layer,
        "normalize": options.normalize,
    }
    layers = int(config.num_hidden_layers)
    for option, value in asked.items():
        fixed = getattr(exported, option)
        if value is None or value == fixed or (option == "layer" and value == fixed + layers + 1):
            continue
        problem = f"is not what the exported file computes, which is {fixed}"
        raise BadInput(option, value, problem, "Leave it out, or export the model again with it")
