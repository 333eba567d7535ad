"""Which model, and where it runs, as a user asks for it."""

from dataclasses import dataclass

from transforms.models.identity import ModelIdentity

#: The model that comes with albeam; a name, so that a store finds it on any machine.
DEFAULT_MODEL = "albeam-small"
POOLINGS = ("mean", "cls", "max")
DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda")
DEFAULT_MAX_TOKENS = 256


@dataclass(frozen=True)
class ModelOptions:
    """What a user asks of a model; None means the model's own default.

    Attributes:
        model: a local folder or a hub name.
        revision: branch, tag or commit of a hub name.
        pooling: how token states become one vector: ``mean``, ``cls`` or ``max``.
        layer: index into the hidden states; 0 is the embedding layer, -1 the last layer.
        normalize: whether vectors get length 1.
        max_tokens: tokens of a passage, special tokens counted.
        query_prompt: text put before each question.
        passage_prompt: text put before each passage.
        expected: what the model must turn out to be, where that is known already.
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


@dataclass(frozen=True)
class Placement:
    """Where and how precisely a model runs: ``auto`` or one of `DEVICES` and of `DTYPES`."""

    device: str = "auto"
    dtype: str = "auto"
