"""Text on a screen: widths, ends of lines, and characters that a terminal would obey."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pipeline.command_line import screen
from pipeline.command_line.screen import columns, excerpt, json_escaped, printable, printable_lines

#: Letters of several widths and scripts, marks, joiners, blanks and what must not reach a terminal.
LETTERS = (
    "ab. 東京한\u1112\u1161\u0301\u0e35\u200d👩é\u3000\t\n\x1b\x07\x7f\x9b\u2028\u202e\u2066\udc80"
)


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        # A text without blanks is cut between characters, of which each has two columns.
        (
            "東京は日本の首都であり、多くの人々が住んでいます。",
            12,
            ["東京は日本の", "首都であり …"],
        ),
        ("https://example.org/" + "a" * 30, 16, ["https://example.", "org/aaaaaaaaaa …"]),
        # One with blanks is cut there.
        ("a river and a stone walls", 12, ["a river and", "a stone …"]),
        ("a river and a stone", 12, ["a river and", "a stone"]),
        # A blank that is far away leaves most of the line empty.
        ("a " + "b" * 30, 10, ["a bbbbbbbb", "bbbbbbbb …"]),
        ("short", 10, ["short"]),
        (" two \n\t  blanks ", 20, ["two blanks"]),
        ("", 10, []),
    ],
)
def test_the_beginning_of_a_text_fills_two_lines(text: str, width: int, lines: list[str]) -> None:
    assert excerpt(text, width, 2) == lines


def test_marks_stay_with_their_letter_and_joined_characters_together() -> None:
    assert excerpt("e\u0301" * 30, 10, 1) == ["e\u0301" * 8 + " …"]
    family = "👩\u200d👧"
    assert excerpt(family * 9, 10, 1) == [family * 2 + " …"]


@given(st.text(st.sampled_from(LETTERS), max_size=80), st.integers(8, 30), st.integers(1, 3))
def test_lines_fit_and_hold_the_text_in_order(text: str, width: int, most: int) -> None:
    lines = excerpt(text, width, most)
    shown = printable(" ".join(text.split()))
    # One that was cut ends with an ellipsis; only blanks are lost.
    whole = "".join(lines).removesuffix("…").replace(" ", "")
    assert shown.replace(" ", "").startswith(whole)
    assert len(lines) <= most
    if not lines or not lines[-1].endswith("…"):
        assert whole == shown.replace(" ", "")
    for line in lines:
        assert cell_len(line) <= width
        assert printable(line) == line


@given(st.text(max_size=40))
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    for letter in printable(text):
        assert unicodedata.category(letter) not in ("Cc", "Cs", "Zl", "Zp")
        assert unicodedata.bidirectional(letter) not in (
            *("LRE", "RLE", "PDF", "LRO", "RLO"),
            *("LRI", "RLI", "FSI", "PDI"),
        )
    assert printable(text) == text or len(printable(text)) > len(text)


def test_escapes_name_the_character() -> None:
    assert printable("a\x1b[31m\n\u202eb\x9b\udcff") == r"a\x1b[31m\n\u202eb\x9b\udcff"
    assert printable_lines("a\n\tb\x1b\r") == "a\n\tb\\x1b\\r"
    assert json_escaped('"\x7f\u2028"') == r'"\u007f\u2028"'


@pytest.mark.parametrize(("given", "found"), [("1", 16), ("0", 80), ("60", 60), ("10000", 100)])
def test_any_width_of_the_terminal_gives_lines(
    monkeypatch: pytest.MonkeyPatch, given: str, found: int
) -> None:
    monkeypatch.setenv("COLUMNS", given)
    assert columns() == found


def test_a_long_text_is_read_only_as_far_as_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(screen, "cells", lambda text: asked.append(len(text)) or cell_len(text))
    excerpt("東" * 100_000, 50, 2)
    assert sum(asked) < 1_000
