"""Changed copies of questions and passages: answers stay, and their places are right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.tasks.data.answer_augmentation import augment_answered
from transforms.tasks.data.answer_rows import AnswerRows, CodePoints
from transforms.tasks.training_options import AUGMENTATIONS

PASSAGES = [
    " In 1912, Ada  Lovelace wrote to Charles\u00a0Babbage; he lived in London-Straße. ",
    "The stone bridge crosses a river, and the river has no other bridge for many miles.",
]
ANSWERS = [
    (0, ["Ada  Lovelace"]),
    (0, ["Lovelace wrote", "1912"]),
    (0, ["London"]),
    (1, ["river"]),
    (1, []),
]
NEAR = {
    "wrote": ["spoke"],
    "lived": ["stayed"],
    "bridge": ["tower"],
    "miles": ["kilometres"],
    "who": ["what"],
}


def places(text: str, answer: str) -> list[CodePoints]:
    """All places of an answer in a text."""
    starts = [place for place in range(len(text)) if text.startswith(answer, place)]
    return [(start, start + len(answer)) for start in starts]


def rows(count: int) -> AnswerRows:
    some = ANSWERS * count
    return AnswerRows(
        "data",
        "",
        ["Who lived by the bridge long ago, and when?"] * len(some),
        PASSAGES,
        np.asarray([place for place, _ in some], np.int64),
        [answers for _, answers in some],
        [
            sorted(span for answer in answers for span in places(PASSAGES[place], answer))
            for place, answers in some
        ],
    )


def check(before: AnswerRows, after: AnswerRows) -> None:
    """Each span of each row has the text that it had."""
    assert after.answers == before.answers
    for row, (was, now) in enumerate(zip(before.spans, after.spans, strict=True)):
        place = before.places[row]
        old, new = before.passages[place], after.passages[place]
        assert [old[a:b] for a, b in was] == [new[a:b] for a, b in now]
        assert now == sorted(now)


@pytest.mark.parametrize("ways", [*([way] for way in AUGMENTATIONS), AUGMENTATIONS, ()])
def test_answers_stay_and_their_places_are_right(ways: tuple[str, ...]) -> None:
    before = rows(1)
    made = [augment_answered(before, ways, (1, number), NEAR) for number in range(60)]
    for after in made:
        check(before, after)
    for texts in zip(*(after.passages for after in made), strict=True):
        assert (len(set(texts)) > 1) == bool(ways)
    assert (len({after.questions[0] for after in made}) > 1) == bool(ways)


def test_each_way_changes_the_other_words() -> None:
    def found(way: str) -> str:
        made = [augment_answered(rows(1), [way], (2, number), NEAR) for number in range(60)]
        return " ".join(text for after in made for text in after.passages)

    assert "stone The" in found("swap")
    assert "The bridge" in found("delete")
    assert "STONE" in found("case")
    assert "tower" in found("synonym")
    assert "tower" not in found("swap")


def test_equal_seeds_give_equal_copies() -> None:
    one, other, third = (
        augment_answered(rows(2), AUGMENTATIONS, seed, NEAR) for seed in ((5, 1), (5, 1), (5, 2))
    )
    assert (one.passages, one.questions, one.spans) == (
        other.passages,
        other.questions,
        other.spans,
    )
    assert one.passages != third.passages
    assert one.questions != third.questions


@settings(max_examples=60, deadline=None)
@given(st.text("aßİ \t\n\u00a0.", max_size=25), st.data(), st.integers(0, 99))
def test_any_spans_of_any_text_keep_their_characters(
    text: str, data: st.DataObject, seed: int
) -> None:
    edges = st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))
    drawn = data.draw(st.lists(edges, max_size=4))
    spans = sorted({(min(pair), max(pair)) for pair in drawn if pair[0] != pair[1]})
    before = AnswerRows(
        "data", "", ["a"], [text], np.zeros(1, np.int64), [[text[a:b] for a, b in spans]], [spans]
    )
    check(before, augment_answered(before, AUGMENTATIONS, (seed,), {"a": ["ab"], ".": ["a"]}))
