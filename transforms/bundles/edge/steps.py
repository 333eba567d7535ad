"""The steps of tantivy's analyzers that albeam uses, by the tables that come with a bundle."""

import re
from collections.abc import Callable
from typing import Any

from transforms.index.lexical.words import CLASSES

#: Changes a text, or splits it.
Step = Callable[[str], Any]
#: The tables of the bundle that is searched; see `use_tables`.
_TABLES: dict[str, Any] = {}
#: Makes the stem of a word.
_STEMMER: list[Callable[[str], str]] = []


def use_tables(tables: dict[str, Any], stem: Callable[[str], str] | None) -> None:
    """Take the tables of a bundle, and the stemmer of its language, before words are analyzed."""
    _TABLES.update(tables)
    _TABLES["ascii"] = {ord(each): folded for each, folded in tables["ascii"].items()}
    _STEMMER[:] = [] if stem is None else [stem]


class Filter:
    """Filters of words."""

    @staticmethod
    def ascii_fold() -> Step:
        """Return what folds letters to ASCII."""
        return lambda text: text if text.isascii() else text.translate(_TABLES["ascii"])

    @staticmethod
    def lowercase() -> Step:
        """Return what makes each letter small, without regard to its neighbours."""
        return lambda text: text.lower() if text.isascii() else "".join(map(str.lower, text))

    @staticmethod
    def stemmer(_: str) -> Step:
        """Return the stemmer of the bundle's language."""
        return _STEMMER[0]


class Tokenizer:
    """Ways to split a text."""

    @staticmethod
    def raw() -> Step:
        """Return what takes the whole text."""
        return lambda text: [text]

    @staticmethod
    def whitespace() -> Step:
        """Return what splits at white space."""
        return str.split

    @staticmethod
    def regex(pattern: str) -> Step:
        """Return what finds all matches of a pattern, which has the syntax of Rust."""
        for name, rust in CLASSES.items():
            ranges = ((chr(first), chr(last)) for first, last in _TABLES["classes"][name])
            python = "".join(f"{re.escape(first)}-{re.escape(last)}" for first, last in ranges)
            # Possessive, as each other way to match a long word would be tried as well.
            pattern = pattern.replace(f"{rust}+", f"[{python}]++").replace(rust, f"[{python}]")
        return re.compile(pattern).findall


class TextAnalyzerBuilder:
    """A way to split a text, and filters of its words."""

    def __init__(self, split: Step) -> None:
        """Begin with a way to split."""
        self._split, self._filters = split, list[Step]()

    def filter(self, change: Step) -> "TextAnalyzerBuilder":
        """Append a filter."""
        self._filters.append(change)
        return self

    def build(self) -> "TextAnalyzerBuilder":
        """Return the analyzer."""
        return self

    def analyze(self, text: str) -> list[str]:
        """Return the words of a text."""
        words: list[str] = self._split(text)
        for change in self._filters:
            words = [change(word) for word in words]
        return words


class tantivy:
    """What `transforms.index.lexical` takes from the module of that name."""

    Filter, Tokenizer, TextAnalyzerBuilder = Filter, Tokenizer, TextAnalyzerBuilder
    TextAnalyzer = TextAnalyzerBuilder
