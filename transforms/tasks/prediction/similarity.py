"""How similar two texts are: the cosine of their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from transforms.errors import BadInput

if TYPE_CHECKING:
    from transforms.encoder.encoding import TextEncoder


def similarities(
    encoder: TextEncoder, first: Sequence[str], second: Sequence[str], row: int = 0
) -> npt.NDArray[np.float32]:
    """Return the cosine of each pair of texts; equal texts have exactly 1.

    Args:
        encoder: the model.
        first, second: as many texts each; none is blank.
        row: the number of the first pair, for messages.

    Returns:
        Float32 ``[pairs]``, from -1 to 1.

    Raises:
        BadInput: a text is blank or can't be embedded.
    """
    for place, pair in enumerate(zip(first, second, strict=True), row):
        if not all(text.strip() for text in pair):
            raise BadInput(f"pair {place}", None, "has a blank text", "Give two texts")
    distinct = list(dict.fromkeys((*first, *second)))
    places = {text: place for place, text in enumerate(distinct)}
    vectors = encoder.encode_texts(distinct)
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    ours, theirs = ([places[text] for text in texts] for texts in (first, second))
    found = np.clip(np.einsum("nd,nd->n", vectors[ours], vectors[theirs]), -1, 1)
    found[np.equal(ours, theirs)] = 1
    return np.asarray(found, np.float32)
