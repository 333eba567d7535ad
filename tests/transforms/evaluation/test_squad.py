"""Answers by SQuAD's rules, against the official script's own definitions."""

import pytest

from transforms.evaluation.squad import exact_match, f1, normalized


def test_case_punctuation_articles_and_blanks_do_not_count() -> None:
    assert normalized(" The  Quick-brown, fox! ") == "quickbrown fox"
    assert normalized("an apple a day") == "apple day"
    assert normalized("theatre") == "theatre"
    assert exact_match("the Denver Broncos.", ["Carolina", "Denver  Broncos"]) == 1
    assert exact_match("Denver", ["Denver Broncos"]) == 0


@pytest.mark.parametrize(
    ("answer", "known", "value"),
    [
        ("Denver Broncos", ["Denver Broncos"], 1),
        ("the Denver team", ["Denver Broncos"], 0.5),
        ("Denver", ["Carolina", "Denver Broncos"], 2 / 3),
        ("to be or not to be", ["to be"], 4 / 8),
        ("x", ["y"], 0),
        ("", ["y"], 0),
        ("", [], 1),
        ("x", [], 0),
        ("", ["the"], 1),
    ],
)
def test_f1_is_the_overlap_of_words_with_the_best_known_answer(
    answer: str, known: list[str], value: float
) -> None:
    assert f1(answer, known) == pytest.approx(value)
