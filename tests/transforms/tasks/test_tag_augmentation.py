"""Changed copies of tagged texts: entities stay as they are."""

from __future__ import annotations

import numpy as np
import pytest

from transforms.tasks.data.bio import Span, entities, find_words, tag_words
from transforms.tasks.data.tag_augmentation import augment_tagged
from transforms.tasks.data.tag_rows import TagRows

TEXT = " In 1912, Ada  Lovelace wrote to Charles\u00a0Babbage; he lived in London. "
SPANS = [Span(10, 23, "person"), Span(33, 48, "person"), Span(62, 68, "place")]
NEAR = {"wrote": ["spoke"], "lived": ["stayed"], "london": ["paris"]}


def rows(count: int) -> TagRows:
    words = find_words(TEXT)
    return TagRows(
        "data", "", [TEXT] * count, [words] * count, [tag_words(words, SPANS)] * count, 0
    )


def found(made: TagRows, row: int) -> list[tuple[str, str]]:
    """The text and the type of each entity of a row."""
    words = made.words[row]
    return [
        (made.texts[row][words[e.start, 0] : words[e.end - 1, 1]], e.type)
        for e in entities(made.tags[row])
    ]


@pytest.mark.parametrize("ways", [("swap",), ("delete",), ("synonym",), ("swap", "delete")])
def test_entities_keep_their_words_and_tags(ways: tuple[str, ...]) -> None:
    before = rows(200)
    made = augment_tagged(before, ways, (1, 2), NEAR)
    assert len({*made.texts}) > 3
    for row in range(200):
        assert found(made, row) == found(before, row)
        assert len(made.words[row]) == len(made.tags[row])
        assert all(made.texts[row][a:b].strip() for a, b in made.words[row])
        if ways != ("delete",) and "delete" not in ways:
            assert len(made.words[row]) == len(before.words[row])


def test_the_case_of_any_word_changes_and_its_place_is_right() -> None:
    made = augment_tagged(rows(100), ("case",), (1,), {})
    texts = {text.lower() for text in made.texts}
    assert texts == {TEXT.lower()}
    assert any(name == "ADA  Lovelace" for row in range(100) for name, _ in found(made, row))


def test_a_synonym_replaces_no_entity() -> None:
    made = augment_tagged(rows(300), ("synonym",), (3,), NEAR)
    assert any("spoke" in text for text in made.texts)
    assert all("London" in text for text in made.texts)


def test_equal_seeds_give_equal_copies_and_nothing_is_lost() -> None:
    ways = ("swap", "delete", "case")
    one, other = (augment_tagged(rows(30), ways, (5, 1), {}) for _ in range(2))
    assert one.texts == other.texts
    assert one.texts != augment_tagged(rows(30), ways, (5, 2), {}).texts
    same = augment_tagged(rows(1), (), (1,), {})
    assert same.texts == [TEXT]
    assert np.array_equal(same.words[0], find_words(TEXT))


def test_a_text_keeps_a_word() -> None:
    words = find_words("river")
    few = TagRows("data", "", ["river", ""], [words, find_words("")], [["O"], []], 0)
    for seed in range(40):
        made = augment_tagged(few, ("delete", "swap", "case"), (seed,), {})
        assert made.texts[0].lower() == "river"
        assert (made.texts[1], len(made.words[1])) == ("", 0)
