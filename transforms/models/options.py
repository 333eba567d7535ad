"""The model and its placement, as a user asks for them."""

from dataclasses import dataclass

from transforms.errors import check_at_least, check_choice
from transforms.models.identity import ModelIdentity

#: The model that albeam contains; stores refer to it by this name, which any machine finds.
DEFAULT_MODEL = "albeam-small"
#: The names of the reader and the reranker that come with albeam.
DEFAULT_READER, DEFAULT_RERANKER = "albeam-reader", "albeam-reranker"
POOLINGS = ("mean", "cls", "max")
FLOAT_DTYPES = ("auto", "float32", "bfloat16", "float16")
DTYPES = (*FLOAT_DTYPES, "int8")
DEVICES = ("auto", "cpu", "cuda")
#: What computes vectors; all but torch run the folders of albeam export.
ENGINES = ("auto", "torch", "onnx", "openvino")
DEFAULT_MAX_TOKENS = 256


@dataclass(frozen=True)
class ModelOptions:
    """The model that a user asks for; None means the model's own default.

    Attributes:
        model: a local folder or a hub name.
        revision: the branch, tag or commit of a hub name.
        pooling: how token states become one vector: ``mean``, ``cls`` or ``max``.
        layer: the index into the hidden states; 0 is the embedding layer, -1 the last layer.
        normalize: whether vectors are scaled to length 1.
        max_tokens: the tokens of a passage, special tokens included.
        query_prompt: the text before each question.
        passage_prompt: the text before each passage.
        expected: the identity that the model must have, if it is known already.
    """

    model: str
    revision: str | None = None
    pooling: str | None = None
    layer: int = -1
    normalize: bool | None = None
    max_tokens: int | None = None
    query_prompt: str | None = None
    passage_prompt: str | None = None
    expected: "ModelIdentity | None" = None

    def __post_init__(self) -> None:
        """Raise BadInput for an unknown pooling, or if a passage has no room for a token."""
        check_choice("pooling", self.pooling, POOLINGS)
        check_at_least("max_tokens", self.max_tokens, 1, "Give a value such as 256")


@dataclass(frozen=True)
class Placement:
    """The device, the dtype and the engine of a model: each one of `DEVICES`, `DTYPES`, `ENGINES`.

    The engine ``auto`` is torch, or ONNX Runtime for a folder that albeam export wrote.
    """

    device: str = "auto"
    dtype: str = "auto"
    engine: str = "auto"

    def __post_init__(self) -> None:
        """Raise BadInput for an unknown device, dtype or engine."""
        check_choice("device", self.device, DEVICES)
        check_choice("dtype", self.dtype, DTYPES)
        check_choice("engine", self.engine, ENGINES)
