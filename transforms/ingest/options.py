"""Options of reading and splitting documents; nothing heavy is imported here."""

from dataclasses import dataclass

from transforms.errors import check_at_least


@dataclass(frozen=True)
class PassageOptions:
    """Options that decide how documents are split into passages.

    Attributes:
        max_tokens: maximum number of tokens of a passage, including special tokens and the prompt.
        stride: minimum number of tokens that adjacent passages share.
        prompt: text before each passage, which the model sees and the store does not keep.
    """

    max_tokens: int
    stride: int = 32
    prompt: str = ""

    def __post_init__(self) -> None:
        """Raise BadInput if a number is too small."""
        check_at_least("max_tokens", self.max_tokens, 1, "Give a value such as 256")
        check_at_least("stride", self.stride, 0)
