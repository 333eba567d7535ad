"""Options of reading and splitting documents; nothing heavy is imported here."""

from dataclasses import dataclass

from transforms.errors import BadInput


@dataclass(frozen=True)
class PassageOptions:
    """Options that decide how documents are split into passages.

    Attributes:
        max_tokens: the most tokens of a passage, including special tokens and the prompt.
        stride: the fewest tokens that neighbouring passages share.
        prompt: text before each passage, which the model sees and the store does not keep.
    """

    max_tokens: int
    stride: int = 32
    prompt: str = ""

    def __post_init__(self) -> None:
        """Raise BadInput if a number is too small."""
        if self.max_tokens < 1:
            raise BadInput("max_tokens", self.max_tokens, "must be at least 1", "Give a larger one")
        if self.stride < 0:
            raise BadInput("stride", self.stride, "must not be negative", "Give 0 or more")
