"""Texts that a model can't read, such as those in a script that its vocabulary lacks."""

import numpy as np
import numpy.typing as npt

from transforms.models.word_tokens import TokenizedTexts


def mostly_unknown(
    tokens: TokenizedTexts, unknown: int | None, lead: int = 0
) -> npt.NDArray[np.bool_]:
    """Return for each text whether at least half of its characters are unknown to the vocabulary.

    Characters count and not tokens, because one unknown token may stand for many characters. A
    text without tokens counts as unknown.

    Args:
        tokens: the tokens of the texts.
        unknown: the id of the unknown token; None if the vocabulary has none.
        lead: the characters of a prompt before each text, which do not count.
    """
    spans = np.where(tokens.ends > lead, tokens.ends - np.maximum(tokens.starts, lead), 0)
    # No token has the id -1.
    missed = np.where(tokens.ids == (-1 if unknown is None else unknown), spans, 0)
    return 2 * _sums(missed, tokens.bounds) >= _sums(spans, tokens.bounds)


def _sums(values: npt.NDArray[np.int32], bounds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    before = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    sums: npt.NDArray[np.int64] = before[bounds[1:]] - before[bounds[:-1]]
    return sums
