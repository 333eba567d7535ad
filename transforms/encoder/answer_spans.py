"""The rules by which readers find answers: windows of a passage, and the best span of one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: The most tokens of a pair of texts, even if a model allows more.
MOST_TOKENS = 512
#: The most tokens of an answer, and the most that two windows share: the usual values for SQuAD.
LONGEST_ANSWER = 30
_OVERLAP = 128


def question_room(limit: int) -> int:
    """Return the most tokens of a question, so that half of the window is left."""
    return limit // 2


def window_overlap(limit: int, special: int) -> int:
    """Return the tokens that two windows of a passage share.

    Args:
        limit: the most tokens of a window, its question included.
        special: how many of them are special tokens.
    """
    return max(0, min(_OVERLAP, (limit - question_room(limit) - special) // 2))


def best_span(
    start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]
) -> tuple[int, int, float]:
    """Return the first and the last token of the best span, and the sum of their logits.

    Args:
        start: the logit of each token of a window's passage to be the first of the answer.
        end: the same for the last one.
    """
    after = np.concatenate([end, np.full(LONGEST_ANSWER - 1, -np.inf)])
    scores = start[:, None] + np.lib.stride_tricks.sliding_window_view(after, LONGEST_ANSWER)
    first, length = np.unravel_index(int(scores.argmax()), scores.shape)
    return int(first), int(first + length), float(scores[first, length])


def without_blanks(passage: str, begin: int, end: int) -> tuple[int, int]:
    """Return a span without blanks at its edges: a token may begin with one."""
    text = passage[begin:end]
    begin += len(text) - len(text.lstrip())
    return begin, begin + len(text.strip())
