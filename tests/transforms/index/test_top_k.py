"""Top-k lists, against brute force."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.index.top_k import append_further, best_of_each, merge_top_k, no_hits, raise_top_k

#: Few different scores, so that equal ones meet.
SCORES = st.sampled_from([-1.5, -0.25, 0.0, 0.25, 0.5, 1.0])


@st.composite
def result_lists(draw: st.DrawFn) -> list[tuple[np.ndarray, np.ndarray]]:
    questions = draw(st.integers(0, 3))
    widths = draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
    lists, first = [], 0
    for width in widths:
        scores = draw(
            st.lists(
                st.lists(SCORES, min_size=width, max_size=width),
                min_size=questions,
                max_size=questions,
            )
        )
        empty = draw(st.integers(0, width))
        rows = np.tile(np.arange(first, first + width), (questions, 1)).reshape(questions, width)
        rows[:, width - empty :] = -1
        lists.append((np.array(scores, np.float32).reshape(questions, width), rows))
        first += width
    return lists


@given(result_lists(), st.integers(1, 12))
def test_merged_lists_are_the_best_of_all_with_equal_scores_by_row(
    lists: list[tuple[np.ndarray, np.ndarray]], k: int
) -> None:
    scores, rows = merge_top_k(lists, k)
    width = min(k, sum(s.shape[1] for s, _ in lists))
    assert scores.shape == rows.shape == (len(lists[0][0]), width)
    assert scores.dtype == np.float32
    for question in range(len(scores)):
        pairs = [
            (-score, row)
            for s, r in lists
            for score, row in zip(s[question].tolist(), r[question].tolist(), strict=True)
            if row >= 0
        ]
        best = sorted(pairs)[:width]
        empty = width - len(best)
        assert rows[question].tolist() == [row for _, row in best] + [-1] * empty
        assert scores[question].tolist() == [-s for s, _ in best] + [-np.inf] * empty


@given(st.lists(st.sampled_from("abcd")), st.integers(0, 5))
def test_the_best_of_each_are_the_first_places_of_different_keys(
    keys: list[str], most: int
) -> None:
    places = best_of_each(keys, most)
    assert [keys[place] for place in places] == list(dict.fromkeys(keys))[:most]
    assert all(keys[place] not in keys[:place] for place in places)
    assert places == sorted(places)


@given(st.data(), st.integers(1, 6), st.integers(0, 3))
def test_rows_that_come_later_raise_the_best(data: st.DataObject, k: int, questions: int) -> None:
    best = no_hits(questions)
    every, lives, first = [], [], 0
    for width in data.draw(st.lists(st.integers(0, 7), min_size=1, max_size=4)):
        line = st.lists(SCORES, min_size=width, max_size=width)
        drawn = data.draw(st.lists(line, min_size=questions, max_size=questions))
        scores = np.array(drawn, np.float32).reshape(questions, width)
        live = np.array(data.draw(st.lists(st.booleans(), min_size=width, max_size=width)), bool)
        best = raise_top_k(best, scores, first, k, live)
        every.append(scores)
        lives.append(live)
        first += width
    everything, live = np.concatenate(every, axis=1), np.concatenate(lives)
    for question in range(questions):
        living = np.flatnonzero(live).tolist()
        pairs = sorted((-float(everything[question, row]), row) for row in living)[:k]
        kept = best[1][question] >= 0
        assert best[1][question][kept].tolist() == [row for _, row in pairs]
        assert best[0][question][kept].tolist() == [-score for score, _ in pairs]


@given(result_lists())
def test_lists_are_continued_by_the_rows_that_they_lack(
    lists: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    best, first = no_hits(len(lists[0][0])), 0
    shown: list[list[tuple[int, float]]] = [[] for _ in lists[0][0]]
    for scores, rows in lists:
        # Some rows come again.
        again = np.where(rows < 0, rows, rows - first // 2)
        best = append_further(best, (scores, again))
        for line, more_rows, more in zip(shown, again.tolist(), scores.tolist(), strict=True):
            known = {row for row, _ in line}
            line += [
                (row, score)
                for row, score in zip(more_rows, more, strict=True)
                if row >= 0 and row not in known
            ]
        first += rows.shape[1]
    for question, line in enumerate(shown):
        rest = best[1].shape[1] - len(line)
        assert best[1][question].tolist() == [row for row, _ in line] + [-1] * rest
        assert best[0][question].tolist()[: len(line)] == [score for _, score in line]
