"""What tantivy knows of characters, as tables for a search that has no tantivy."""

import functools
import sys
import unicodedata
from collections.abc import Iterable
from typing import Any

import tantivy

from transforms.index.lexical.folding import folded_character, is_light
from transforms.index.lexical.words import CLASSES

#: Ranges of characters, first and last.
Ranges = list[list[int]]

_SURROGATES = range(0xD800, 0xE000)
_HANGUL = range(0xAC00, 0xD7A4)


@functools.cache
def character_tables() -> dict[str, Any]:
    """Return the tables, as JSON has them.

    Returns:
        ``classes``: for each class of `transforms.index.lexical.words`, its ranges. ``ascii``: what
        tantivy's filter makes of characters that it folds to ASCII. The others are those of
        `transforms.index.lexical.folding`, of characters that they change: ``folded``, ``cases``
        (those that case folding and lower case change in different ways), and ``marks`` (ranges
        that no stemmer needs).
    """
    every = [code for code in range(sys.maxunicode + 1) if code not in _SURROGATES]
    letters = [chr(code) for code in every]
    simple = [each for each in letters if ord(each) not in _HANGUL]
    return {
        "classes": {name: _members(pattern, letters) for name, pattern in CLASSES.items()},
        "ascii": _changed(simple, _ascii_folding(simple)),
        "folded": _changed(simple, map(folded_character, simple)),
        "cases": {each: each.casefold() for each in simple if each.casefold() != each.lower()},
        "marks": _ranges(
            ord(each) for each in letters if unicodedata.combining(each) and not is_light(each)
        ),
    }


def _members(pattern: str, letters: list[str]) -> Ranges:
    """Return the characters that a pattern of Rust matches."""
    analyze = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.regex(pattern)).build().analyze
    found: list[str] = []
    for some in _batches(letters):
        found += analyze("".join(some))
    return _ranges(ord(each) for each in found)


def _batches(letters: list[str]) -> Iterable[list[str]]:
    return (letters[start : start + 50_000] for start in range(0, len(letters), 50_000))


def _ascii_folding(letters: list[str]) -> list[str]:
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw())
    analyze = builder.filter(tantivy.Filter.ascii_fold()).build().analyze
    return [analyze(each)[0] for each in letters]


def _changed(letters: Iterable[str], made: Iterable[str]) -> dict[str, str]:
    return {each: other for each, other in zip(letters, made, strict=True) if each != other}


def _ranges(codes: Iterable[int]) -> Ranges:
    found: Ranges = []
    for code in sorted(codes):
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return found
