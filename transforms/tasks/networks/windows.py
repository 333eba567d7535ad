"""Texts as windows of tokens, so that a network of few positions reads texts of any length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.models.model_files import refusing
from transforms.models.tokenizer import Tokenizer

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

#: Texts that are tokenized at once; the tokenizer's results are large.
_AT_ONCE = 1_000


@dataclass(frozen=True)
class Windows:
    """The windows of some texts, in the order of the texts.

    Attributes:
        ids: the token ids of each window, special tokens included.
        texts: the text of each window, ``[windows]``.
        firsts: the place in its text of each window's first token, ``[windows]``.
        offsets: the code points ``[tokens, 2]`` of each text's tokens; empty if not asked for.
        prefix: special tokens at the beginning of a window.
        special: special tokens of a window.
        seconds: where each window's second text begins, ``[windows]``; None for one text each.
    """

    ids: list[Int32]
    texts: Int64
    firsts: Int64
    offsets: list[Int32]
    prefix: int
    special: int
    seconds: Int64 | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def lengths(self) -> Int64:
        """The tokens of each window, special tokens included."""
        return np.asarray([len(each) for each in self.ids], dtype=np.int64)

    @cached_property
    def weights(self) -> npt.NDArray[np.float32]:
        """The share of each window in its text: the windows of a text add up to 1."""
        return (1 / np.bincount(self.texts)[self.texts]).astype(np.float32)


def cut_windows(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    max_tokens: int,
    overlap: int = 0,
    offsets: bool = False,
) -> Windows:
    """Cut texts into windows.

    Args:
        tokenizer: the model's tokenizer.
        texts: the texts. One without tokens is a window of special tokens.
        max_tokens: tokens of a window, special tokens included, at most.
        overlap: tokens that a window shares with the next one of its text.
        offsets: whether the result has offsets.
    """
    prefix, suffix = (np.asarray(each, np.int32) for each in (tokenizer.prefix, tokenizer.suffix))
    room = max_tokens - len(prefix) - len(suffix)
    ids: list[Int32] = []
    owners: list[int] = []
    firsts: list[int] = []
    places: list[Int32] = []
    for number, encoding in enumerate(encodings(tokenizer.backend, texts)):
        pieces = np.asarray(encoding.ids, np.int32)
        if offsets:
            places.append(np.asarray(encoding.offsets, np.int32).reshape(-1, 2))
        for first in window_starts(len(pieces), room, overlap):
            ids.append(np.concatenate([prefix, pieces[first : first + room], suffix]))
            owners.append(number)
            firsts.append(first)
    special = len(prefix) + len(suffix)
    return Windows(
        ids,
        np.asarray(owners, np.int64),
        np.asarray(firsts, np.int64),
        places,
        len(prefix),
        special,
    )


def window_starts(tokens: int, room: int, overlap: int) -> range:
    """Return where the windows of a text begin: one window if all tokens have room."""
    return range(0, max(1, tokens - overlap), max(1, room - overlap))


def encodings(backend: Any, texts: Sequence[str]) -> Any:
    """Yield the encoding of each text by a ``tokenizers.Tokenizer``, without special tokens."""
    for start in range(0, len(texts), _AT_ONCE):
        # A pattern of a tokenizer that backtracks too long ends in what is no Exception.
        with refusing("", "has a tokenizer that can't tokenize a text"):
            found = backend.encode_batch(
                list(texts[start : start + _AT_ONCE]), add_special_tokens=False
            )
        yield from found
