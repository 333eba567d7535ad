"""The identity of a model: what must be equal for vectors to be comparable."""

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class ModelIdentity:
    """All that decides a vector's direction. Stores and searches must agree on it.

    ``name`` and ``revision`` say where the model was found and may differ; the rest may not.
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

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "ModelIdentity":
        """The identity that `to_dict` wrote; unknown keys are an error."""
        return cls(**value)

    def difference(self, other: "ModelIdentity") -> str:
        """What differs, as ``field: ours, theirs``; empty where vectors are comparable."""
        return "; ".join(
            f"{field.name}: {getattr(self, field.name)!r}, {getattr(other, field.name)!r}"
            for field in fields(self)
            if field.name not in ("name", "revision")
            and getattr(self, field.name) != getattr(other, field.name)
        )
