"""The best span of a window, and the windows of a passage."""

import numpy as np
import pytest

from transforms.encoder.answer_spans import (
    LONGEST_ANSWER,
    best_span,
    question_room,
    window_overlap,
    without_blanks,
)


@pytest.mark.parametrize("tokens", [1, 2, 29, 30, 31, 90])
def test_the_best_span_is_the_one_of_brute_force(tokens: int) -> None:
    rng = np.random.default_rng(tokens)
    start, end = rng.normal(size=(2, tokens))
    spans = [(a, b) for a in range(tokens) for b in range(a, min(tokens, a + LONGEST_ANSWER))]
    first, last = max(spans, key=lambda span: start[span[0]] + end[span[1]])
    assert best_span(start, end) == (first, last, start[first] + end[last])


def test_of_equal_spans_the_first_and_shortest_is_best() -> None:
    assert best_span(np.zeros(40), np.zeros(40)) == (0, 0, 0.0)


@pytest.mark.parametrize("limit", [16, 40, 128, 256, 512])
def test_windows_advance_under_the_longest_question(limit: int) -> None:
    room = limit - question_room(limit) - 3
    assert 0 <= window_overlap(limit, 3) <= max(1, room) // 2


def test_blanks_at_edges_are_left_out() -> None:
    assert without_blanks("a  bc d", 1, 6) == (3, 5)
    assert without_blanks("   ", 0, 2) == (2, 2)
