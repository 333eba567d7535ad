"""The identity of a model: the settings that must be equal for vectors to be comparable."""

from dataclasses import asdict, dataclass, fields
from typing import Any

#: The precisions of passages: that of any floating-point dtype, that of ``--dtype int8``, and that
#: of a file of ``albeam export --int8``.
PRECISIONS = FLOAT, INT8, ONNX_INT8 = ("float", "int8", "onnx-int8")


@dataclass(frozen=True)
class ModelIdentity:
    """The settings that determine a model's vectors; a store and a search must agree on them.

    Only ``name`` and ``revision`` may differ: they say where the model was found. The precision is
    that of the passages: `FLOAT`, or `INT8` or `ONNX_INT8` where products are made of bytes.
    """

    name: str
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
    precision: str = FLOAT

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values, without the usual precision."""
        # Names of segments are made from these, and older stores have no precision.
        return {
            name: value
            for name, value in asdict(self).items()
            if name != "precision" or value != FLOAT
        }

    def difference(self, other: "ModelIdentity") -> str:
        """Return the differences as ``field: ours, theirs``; "" if vectors are comparable."""
        return "; ".join(
            f"{field.name}: {getattr(self, field.name)!r}, {getattr(other, field.name)!r}"
            for field in fields(self)
            if field.name not in ("name", "revision")
            and getattr(self, field.name) != getattr(other, field.name)
        )
