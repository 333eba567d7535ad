"""Changed copies of questions and of passages with answers: the answers stay as they are."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from transforms.tasks.data.answer_rows import AnswerRows, CodePoints
from transforms.tasks.data.augmentation import (
    WORD,
    Neighbours,
    Word,
    augment,
    change_words,
    joined,
)


def augment_answered(
    rows: AnswerRows, ways: Sequence[str], seed: Sequence[int], near: Neighbours
) -> AnswerRows:
    """Return a changed copy of each question and each passage; equal seeds give equal copies.

    A passage keeps the words of the answers to all its questions, in their order. The spans say
    where the answers stand in the changed passage.

    Args:
        rows: questions with passages and answers.
        ways: some of `AUGMENTATIONS`, applied in this order.
        seed: the numbers that decide what changes.
        near: the words that may replace a word, for ``synonym``.
    """
    answers: list[set[CodePoints]] = [set() for _ in rows.passages]
    for place, spans in zip(rows.places.tolist(), rows.spans, strict=True):
        answers[place].update(spans)
    rng = np.random.default_rng([*seed, 0])
    passages, moved = [], []
    for passage, own in zip(rows.passages, answers, strict=True):
        pieces = _pieces(passage, own)
        ends = [0, *(end for _, end, _ in pieces)]
        words = [
            Word(passage[start:end], passage[before:start], start, moves=not kept, cased=not kept)
            for (start, end, kept), before in zip(pieces, ends, strict=False)
        ]
        words = change_words(words, ways, rng, near)
        changed, edges = joined(words)
        passages.append(changed + passage[ends[-1] :])
        shifts = {w.mark: int(e) - w.mark for w, e in zip(words, edges[:, 0], strict=True)}
        starts = [start for start, _, _ in pieces]
        found = {}
        for start, end in own:
            shift = shifts[starts[bisect_right(starts, start) - 1]]
            found[start, end] = (start + shift, end + shift)
        moved.append(found)
    return replace(
        rows,
        questions=augment(rows.questions, ways, [*seed, 1], near),
        passages=passages,
        spans=[
            [moved[place][span] for span in spans]
            for place, spans in zip(rows.places.tolist(), rows.spans, strict=True)
        ],
    )


def _pieces(text: str, spans: Collection[CodePoints]) -> list[tuple[int, int, bool]]:
    """Return the words of a text; those that a span has or touches inside are one kept piece."""
    edges = [(*match.span(), False) for match in WORD.finditer(text)]
    edges += [(start, end, True) for start, end in spans]
    made: list[tuple[int, int, bool]] = []
    for start, end, kept in sorted(edges):
        if made and start < made[-1][1]:
            first, last, was = made[-1]
            made[-1] = first, max(last, end), was or kept
        else:
            made.append((start, end, kept))
    return made
