"""What a question asks for."""

from typing import NamedTuple

#: The terms of a word. A passage that has the word has one of them at least.
Terms = tuple[str, ...]


class Word(NamedTuple):
    """A word of a question.

    Attributes:
        terms: those of the word. The one that gives a passage the best score counts.
        parts: the terms of each of its parts; together they count instead, if that is better.
    """

    terms: Terms
    parts: tuple[Terms, ...] = ()

    def all_terms(self) -> frozenset[str]:
        """Return the terms of the word and of its parts."""
        return frozenset(self.terms).union(*self.parts)
