"""The words of a question in a passage, to mark them."""

import re
from typing import NamedTuple

_WORD = re.compile(r"\w+")
#: Words of at least so many letters are alike if one is the other with another end.
_STEM = 4
_MOST_ENDING = 3


class Piece(NamedTuple):
    """A piece of a text: its kind is ``plain``, ``word`` or ``answer``."""

    text: str
    kind: str


def marked(text: str, question: str, answer: tuple[int, int] | None = None) -> list[Piece]:
    """Return a passage in pieces: words that the question has, and the span of an answer."""
    wanted = {word.casefold() for word in _WORD.findall(question)}
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
    shared = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        shared += 1
    return shared >= _STEM and max(len(one), len(other)) - shared <= _MOST_ENDING
