"""The words of a question in a passage, to mark them."""

import re
from typing import NamedTuple

_WORD = re.compile(r"\w+")
#: A shorter word in small letters, such as "the", is marked only if the question has no other.
_SHORT = 4
#: Words are alike if one begins with the other, or if both begin with so many equal letters.
_STEM = 5
_MOST_ENDING = 3


class Piece(NamedTuple):
    """A piece of a text: its kind is ``plain``, ``word`` or ``answer``."""

    text: str
    kind: str


def marked(text: str, question: str, answer: tuple[int, int] | None = None) -> list[Piece]:
    """Return a passage in pieces: words that the question has, and the span of an answer."""
    words = _WORD.findall(question)
    longer = [word for word in words if len(word) >= _SHORT or word != word.lower()]
    wanted = {word.casefold() for word in longer or words}
    kinds: list[tuple[int, int, str]] = []
    if answer is not None and answer[0] < answer[1]:
        kinds.append((*answer, "answer"))
    for found in _WORD.finditer(text):
        start, stop = found.span()
        inside = answer is not None and start < answer[1] and stop > answer[0]
        if not inside and any(_alike(found[0].casefold(), word) for word in wanted):
            kinds.append((start, stop, "word"))
    pieces, place = [], 0
    for start, stop, kind in sorted(kinds):
        if start > place:
            pieces.append(Piece(text[place:start], "plain"))
        pieces.append(Piece(text[start:stop], kind))
        place = stop
    if place < len(text):
        pieces.append(Piece(text[place:], "plain"))
    return pieces


def _alike(one: str, other: str) -> bool:
    if one == other:
        return True
    pairs = enumerate(zip(one, other, strict=False))
    shared = next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
    least = min(_STEM, max(_SHORT, len(one)), max(_SHORT, len(other)))
    return shared >= least and max(len(one), len(other)) - shared <= _MOST_ENDING
