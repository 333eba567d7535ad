"""BIO tags of words: checked, repaired, and as entities."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

OUTSIDE = "O"
#: ``B-`` or ``I-`` and a type, or ``O``.
TAG = re.compile(r"O|[BI]-.+", re.DOTALL)
#: Words as in texts with tags: letters and digits, also with single marks between them, such as
#: ``3.5``, ``well-known`` and ``U.S.``, but without a last ``'s``. Any other visible character is a
#: word of its own.
_WORD = re.compile(
    r"""
    (?:\w\.){2,}
    | ['’]s\b
    | \w+ (?: (?!['’]s\b) [-.,'’&@_] \w+ )*
    | [^\w\s]
    """,
    re.VERBOSE,
)

Spans = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Span:
    """An entity: its type, the first word or code point, and the one after the last."""

    start: int
    end: int
    type: str


def repair(tags: Sequence[str]) -> list[str]:
    """Return tags in which every entity begins with ``B-``: an ``I-`` that continues none."""
    made: list[str] = []
    before = OUTSIDE
    for tag in tags:
        begins = tag.startswith("I-") and before[2:] != tag[2:]
        made.append(f"B-{tag[2:]}" if begins else tag)
        before = tag
    return made


def entities(tags: Sequence[str]) -> list[Span]:
    """Return the entities of tags, in words; an ``I-`` that continues none begins one."""
    found: list[Span] = []
    tags = [*repair(tags), OUTSIDE]
    start = -1
    for place, tag in enumerate(tags):
        if start >= 0 and not tag.startswith("I-"):
            found.append(Span(start, place, tags[start][2:]))
            start = -1
        if tag.startswith("B-"):
            start = place
    return found


def join_words(words: Sequence[str]) -> tuple[str, Spans]:
    """Return words as a text with blanks between them, and the code points of each word."""
    ends = np.cumsum([len(word) + 1 for word in words], dtype=np.int64) - 1
    starts = ends - np.asarray([len(word) for word in words], np.int64)
    return " ".join(words), np.stack([starts, ends], axis=1).reshape(-1, 2)


def find_words(text: str, cuts: Sequence[int] = ()) -> Spans:
    """Return the code points ``[words, 2]`` of the words of a text.

    Args:
        text: the text.
        cuts: places at which a word ends, too.
    """
    inner = sorted(set(cuts))
    found: list[tuple[int, int]] = []
    for match in _WORD.finditer(text):
        start, end = match.span()
        for cut in inner:
            if start < cut < end:
                found.append((start, cut))
                start = cut
        found.append((start, end))
    return np.asarray(found, np.int64).reshape(-1, 2)


def tag_words(words: Spans, spans: Sequence[Span]) -> list[str]:
    """Return the tag of each word, by the entities of a text, which don't overlap."""
    tags = [OUTSIDE] * len(words)
    for span in spans:
        inside = np.flatnonzero((words[:, 1] > span.start) & (words[:, 0] < span.end))
        for number, place in enumerate(inside):
            tags[place] = f"{'I' if number else 'B'}-{span.type}"
    return tags
