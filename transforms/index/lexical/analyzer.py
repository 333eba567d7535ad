"""The analyzers, which turn texts into terms; each lexical index keeps the version of its own.

A word is analyzed without what stands around it, so analyses of frequent words are kept.
"""

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

import tantivy

from transforms.catalog.options import ANALYZER_VERSION
from transforms.index.lexical.compounds import Compound
from transforms.index.lexical.first_analyzer import FirstAnalyzer
from transforms.index.lexical.folding import (
    RESPELLING,
    clean,
    fold,
    foldings,
    keep_accents,
    respell,
)
from transforms.index.lexical.terms import Terms, Word
from transforms.index.lexical.words import WordSplitter, simple_word

#: The name of the tokenizer in tantivy's schema.
ANALYZER = "albeam"
#: Languages whose stemmers need no accents. In the others a word has a second term.
_ACCENTS_FOLDED = frozenset({"dutch", "english", "german", "greek", "none"})
#: Longer words have no stem. Of longer terms, the end is replaced by a digest.
_LONGEST_STEMMED, _LONGEST_TERM, _KEPT = 100, 200, 32
#: How many texts without spaces are kept with their terms, and how long they may be.
_KEPT_TEXTS, _KEPT_LENGTH = 60_000, 40

T = TypeVar("T")


class AnyAnalyzer(Protocol):
    """What each version has.

    Attributes:
        tokenizer: makes terms of what `written` returns.
    """

    tokenizer: tantivy.TextAnalyzer

    def written(self, text: str) -> str:
        """Return a text as it is given to tantivy."""

    def words(self, text: str) -> list[Word]:
        """Return the words of a text."""


@functools.lru_cache(maxsize=8)
def analyzer_of(version: int, language: str) -> AnyAnalyzer:
    """Return the analyzer of a version, 1 or `ANALYZER_VERSION`, and a language."""
    return Analyzer(language) if version == ANALYZER_VERSION else FirstAnalyzer(language)


class Analyzer:
    """Version 2: stems of folded words, and of accented ones where the stemmer needs accents.

    Attributes:
        tokenizer: splits what `written` returns.
    """

    def __init__(self, language: str) -> None:
        """Build the analyzer of a language, one of `transforms.catalog.options.LANGUAGES`."""
        self._language = language
        self._keeps_accents = language not in _ACCENTS_FOLDED
        self._stems_ascii = language not in RESPELLING
        self._splitter = WordSplitter(language)
        fold, lower = tantivy.Filter.ascii_fold(), tantivy.Filter.lowercase()
        stem = [] if language == "none" else [tantivy.Filter.stemmer(language)]
        self._plain = _filters(fold, lower)
        self._stem_folded = _filters(fold, lower, *stem)
        self._stem_accented = _filters(*stem, fold, lower)
        self._terms: _Kept[Terms] = _Kept(self._terms_of_word)
        self._written: _Kept[str] = _Kept(self._write)
        self.tokenizer = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()

    def terms(self, text: str) -> list[str]:
        """Return the terms of a text; no character of it is query syntax."""
        return self.written(text).split()

    def written(self, text: str) -> str:
        """Return the terms of a text, with spaces between them."""
        return " ".join(map(self._written.__getitem__, text.split()))

    def words(self, text: str) -> list[Word]:
        """Return the words of a text."""
        return [word for each in text.split() for word in self._words_between_spaces(each)]

    def _write(self, text: str) -> str:
        """Return the terms of a text without spaces, with spaces between them."""
        if simple := simple_word(text):
            return " ".join(self._terms[simple])
        words = self._splitter.split(clean(text))
        terms = list(itertools.chain.from_iterable(map(self._terms.__getitem__, words.single)))
        for compound in words.compounds:
            for part in compound.parts:
                terms += self._terms[part]
            terms += self._whole(compound)
        terms += map(self._term_of_name, words.names)
        return " ".join(terms)

    def _words_between_spaces(self, text: str) -> Iterator[Word]:
        words = self._splitter.split(clean(text))
        for single in words.single:
            yield Word(self._terms[single])
        for compound in words.compounds:
            parts = tuple(self._terms[part] for part in compound.parts)
            if whole := self._whole(compound):
                yield Word(whole, parts)
            else:
                yield from map(Word, parts)
        for name in words.names:
            yield Word((self._term_of_name(name),))

    def _whole(self, compound: Compound) -> Terms:
        """Return the terms of a compound; none if they are a part's, as in ``Peter's``."""
        terms = self._terms[compound.whole]
        known = {term for part in compound.parts for term in self._terms[part]}
        return () if known.issuperset(terms) else terms

    def _term_of_name(self, name: str) -> str:
        return _bounded(self._plain(fold(name)))

    def _terms_of_word(self, word: str) -> Terms:
        if len(word) > _LONGEST_STEMMED:
            return (_bounded(self._plain(fold(word))),)
        if self._stems_ascii and word.isascii():
            return (self._stem_folded(word.lower()),)
        folded = [respell(each, self._language) for each in foldings(word)]
        terms = [self._stem_folded(each) for each in folded]
        if self._keeps_accents:
            accented = keep_accents(word, self._language)
            if accented != folded[0]:
                terms.insert(0, self._stem_accented(accented))
        return tuple(dict.fromkeys(terms)) if len(terms) > 1 else tuple(terms)


class _Kept(dict[str, T], Generic[T]):
    """What a function makes of short texts, kept for a bounded number of them."""

    def __init__(self, make: Callable[[str], T]) -> None:
        self._make = make

    def __missing__(self, text: str) -> T:
        made = self._make(text)
        if len(text) <= _KEPT_LENGTH:
            if len(self) >= _KEPT_TEXTS:
                self.clear()
            self[text] = made
        return made


def _filters(*filters: tantivy.Filter) -> Callable[[str], str]:
    """Return a function that applies filters to a word."""
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw())
    for each in filters:
        builder = builder.filter(each)
    analyze = builder.build().analyze

    def apply(word: str) -> str:
        [term] = analyze(word)
        # A word that is an ending alone has an empty stem.
        return str(term) or word

    return apply


def _bounded(term: str) -> str:
    """Return a term that tantivy takes: the end of a long one is replaced by its digest."""
    if len(term) <= _LONGEST_TERM:
        return term
    return term[:_KEPT] + hashlib.blake2b(term.encode(), digest_size=16).hexdigest()
