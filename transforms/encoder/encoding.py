"""What encoders have in common, with torch or without: their results and their methods."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.errors import BadInput
from transforms.models.identity import ModelIdentity
from transforms.models.tokenizer import Tokenizer

NON_FINITE = "non-finite vector"


@dataclass
class Encoding:
    """The vectors of some texts, and the texts that failed.

    Attributes:
        vectors: float32 ``[rows, dim]``; those of failed rows are not finite.
        failed: maps each row that failed on its own to the reason.
    """

    vectors: npt.NDArray[np.float32]
    failed: dict[int, str] = field(default_factory=dict)


class TextEncoder(Protocol):
    """A loaded model that embeds texts. Threads may share one."""

    @property
    def identity(self) -> ModelIdentity:
        """The identity of its vectors."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer."""

    @property
    def device(self) -> str:
        """Where it runs: ``cpu`` or ``cuda``."""

    @property
    def dtype(self) -> str:
        """The dtype of its products."""

    def encode_texts(self, texts: list[str], prompt: str = "") -> npt.NDArray[np.float32]:
        """Return the vectors of texts, float32 ``[texts, dim]``; raises BadInput if one fails."""

    def encode(self, tokens: pa.ListArray) -> Encoding:
        """Return the vectors of framed token ids, ``list<int32>`` without empty rows."""


class PassageEncoder(TextEncoder, Protocol):
    """A loaded model that embeds the passages of a run, and tells how far it is."""

    def encode(
        self, tokens: pa.ListArray, progress: Callable[[int, int], None] | None = None
    ) -> Encoding:
        """Return the vectors as `TextEncoder` does.

        Args:
            tokens: ``list<int32>`` without nulls and without empty rows.
            progress: called after each batch with its numbers of rows and tokens.
        """


def frame_texts(
    tokenizer: Tokenizer, identity: ModelIdentity, texts: Sequence[str], prompt: str
) -> pa.ListArray:
    """Return the framed token ids of texts after a prompt, cut to the model's ``max_tokens``.

    Raises:
        BadInput: one of the texts is none.
    """
    # `frame_all` reports entries that are not strings.
    prompted = [prompt + text if isinstance(text, str) else text for text in texts]
    return tokenizer.frame_all(prompted, identity.max_tokens)


def checked_vectors(encoding: Encoding, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the vectors of texts; raises BadInput for the first one that failed."""
    for row, reason in encoding.failed.items():
        problem, remedy = f"can't be embedded: {reason}", "Shorten or remove this text"
        raise BadInput(f"text {row}", texts[row][:60], problem, remedy)
    return encoding.vectors
