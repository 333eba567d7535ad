"""The scores of a reader's answers, and from where on it has none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transforms.evaluation import squad

Floats = npt.NDArray[np.float64]


def score_answers(answers: Sequence[str], known: Sequence[Sequence[str]]) -> tuple[Floats, Floats]:
    """Return exact match and F1 of each answer by SQuAD's rules; "" means that there is none."""
    rows = list(zip(answers, known, strict=True))
    exact = [squad.exact_match(answer, right) for answer, right in rows]
    f1 = [squad.f1(answer, right) for answer, right in rows]
    return np.asarray(exact, np.float64), np.asarray(f1, np.float64)


def choose_threshold(
    margins: Floats, answers: Sequence[str], known: Sequence[Sequence[str]]
) -> float:
    """Return the margin up to which answers are given, so that the mean F1 is highest.

    Args:
        margins: by how much no answer scores higher than the answer, for each question.
        answers: the best answer of each question.
        known: the known answers of each question.
    """
    _, given = score_answers(answers, known)
    _, withheld = score_answers([""] * len(answers), known)
    order = np.argsort(margins, kind="stable")
    ordered = np.clip(margins[order], -1e6, 1e6)
    # The gain of giving the answers of the first n questions, in the order of their margins.
    gains = np.concatenate([[0.0], np.cumsum((given - withheld)[order])])
    edges = np.concatenate([[ordered[0] - 2], ordered, [ordered[-1] + 2]])
    apart = edges[1:] > edges[:-1]
    best = int(np.where(apart, gains, -np.inf).argmax())
    return float((edges[best] + edges[best + 1]) / 2)
