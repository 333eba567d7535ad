"""Texts that come as token ids of the model, and the number of tokens of texts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.errors import BadInput

if TYPE_CHECKING:
    from transforms.encoder.encoding import TextEncoder

Input = str | Sequence[int]


def embed_ids(encoder: "TextEncoder", lists: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
    """Return the vectors of lists of token ids, float32 ``[lists, dim]``.

    Special tokens are added, and a list that is too long is cut, as for texts.
    """
    tokenizer = encoder.tokenizer
    room = encoder.identity.max_tokens - tokenizer.special_tokens
    cut = [np.array(each[:room], np.int32) for each in lists]
    counts = np.array([len(each) for each in cut], np.int64)
    starts = np.cumsum(counts) - counts
    ids, bounds = tokenizer.frame_runs(np.concatenate(cut), starts, counts)
    framed = pa.ListArray.from_arrays(pa.array(bounds.astype(np.int32)), pa.array(ids))
    found = encoder.encode(framed)
    for row, reason in found.failed.items():
        raise BadInput("input", None, f"can't be embedded at place {row}: {reason}", "Leave it out")
    return found.vectors


def check_ids(encoder: "TextEncoder", inputs: Sequence[Input]) -> None:
    """Raise BadInput for a list of ids that is empty, or has an id that the model lacks."""
    most = encoder.tokenizer.backend.get_vocab_size()
    for place, given in enumerate(inputs):
        if isinstance(given, str):
            continue
        if not given:
            raise BadInput("input", None, f"has no token at place {place}", "Leave it out")
        wrong = next((each for each in given if not 0 <= each < most), None)
        if wrong is not None:
            problem = f"has the token {wrong} at place {place}, and the model has {most:,}"
            raise BadInput("input", None, problem, "Give texts, or tokens of this model")


def count_tokens(encoder: "TextEncoder", inputs: Sequence[Input]) -> int:
    """Return how many tokens inputs have, without special ones."""
    texts = [given for given in inputs if isinstance(given, str)]
    counted = int(encoder.tokenizer.encode(texts).bounds[-1]) if texts else 0
    return counted + sum(len(given) for given in inputs if not isinstance(given, str))
