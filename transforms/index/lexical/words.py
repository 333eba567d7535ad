"""Words of a text: runs of letters, marks and digits; and the compounds that they are in."""

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import tantivy

from transforms.index.lexical.compounds import (
    HAS_SIGN,
    Compound,
    camel_parts,
    compound,
    joined,
    names,
    signed_names,
    thousands,
)

#: Scripts without spaces between words, in which each character is a word.
_UNSPACED = "".join(
    rf"\p{{{script}}}"
    for script in (
        *("Han", "Hiragana", "Katakana", "Bopomofo", "Yi", "Tangut", "Nushu"),
        *("Thai", "Lao", "Khmer", "Myanmar", "Javanese", "Balinese"),
        *("Tai_Le", "New_Tai_Lue", "Tai_Tham", "Tai_Viet"),
    )
)
#: Classes of characters, in Rust's syntax. Emoji and other symbols are words, too.
CLASSES = {
    "letter": rf"[[\p{{L}}\p{{M}}\p{{N}}]--[[{_UNSPACED}]--\p{{Nd}}]]",
    "unspaced": f"[{_UNSPACED}]",
    "symbol": r"[\p{So}--[\u{fffd}]]",
}
_LETTER = CLASSES["letter"]
_WORD = f"{_LETTER}+|{CLASSES['unspaced']}|{CLASSES['symbol']}"
#: Of frequent unspaced scripts: the characters that are no signs. Python splits them faster.
_CHARACTERS = re.compile(
    "([\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u3400-\u4dbf"
    "\u4e00-\u9fff\u0e01-\u0e3a\u0e40-\u0e4e\U00020000-\U000323af]+)"
)
#: A word of letters of a frequent script, and the signs that may surround it.
_SIMPLE = re.compile(
    "[0-9a-zA-Z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0386\u0388-\u03ff\u0400-\u0481"
    "\u048a-\u052f\u05d0-\u05ea\u0620-\u063f\u0641-\u064a\u0671-\u06d3\u0901-\u0963\u1e00-\u1eff"
    "\uac00-\ud7a3]+"
)
_BEFORE = "([{\"'«„“‘‚¿¡「『（《"
_AFTER = ".,;:!?)]}\"'»“”’…。、，！？：；）》」』।؟،؛"
_ASCII_WORD = re.compile("[0-9a-zA-Z]+")
# Possessive, as each other way to match a long word would be tried as well.
_ASCII_COMPOUND = re.compile("(?<![0-9a-zA-Z])" + compound("[0-9a-zA-Z]++"))
#: Articles, pronouns and prepositions that lose a vowel: they are not joined to the next word.
_ELIDED = {
    language: frozenset(articles.split())
    for language, articles in (
        ("french", "c d j jusqu l lorsqu m n puisqu qu quoiqu s t"),
        (
            "italian",
            "agl all c coll d dagl dall degl dell gl l m negl nell pell s sugl sull t un v",
        ),
    )
}


def simple_word(text: str) -> str:
    """Return the word of a text that is one word with common signs around it; "" for others."""
    word = text.lstrip(_BEFORE).rstrip(_AFTER)
    if not _SIMPLE.fullmatch(word) or not unicodedata.is_normalized("NFKC", word):
        return ""
    return "" if camel_parts(word) else word


@dataclass
class Words:
    """What stands in a text.

    Attributes:
        single: the words that are in no compound.
        compounds: the words that are also written as several.
        names: what is a word only with its signs: ``C++``, ``snake_case``, paths. Their parts
            are words, too.
    """

    single: list[str] = field(default_factory=list)
    compounds: list[Compound] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


class WordSplitter:
    """A splitter of cleaned texts without spaces, in which case and accents still stand."""

    def __init__(self, language: str) -> None:
        """Build the splitter for texts in a language."""
        self._elided = _ELIDED.get(language, frozenset())
        self._words = _find_all(_WORD)
        self._compounds = _find_all(compound(f"{_LETTER}+"))

    def split(self, text: str) -> Words:
        """Return the words of a text."""
        words = Words()
        if text.isascii():
            self._split(text, _ASCII_WORD.findall, _ASCII_COMPOUND.findall, words)
            return words
        # Where characters are words, they have the odd places.
        for place, each in enumerate(_CHARACTERS.split(text)):
            if place % 2:
                words.single += each
            elif word := simple_word(each):
                words.single.append(word)
            elif each.rstrip(_AFTER):
                self._split(each, self._words, self._compounds, words)
        return words

    def _split(
        self,
        text: str,
        find_words: Callable[[str], list[str]],
        find_compounds: Callable[[str], list[str]],
        words: Words,
    ) -> None:
        single = find_words(text)
        joint: Counter[str] = Counter()
        if HAS_SIGN.search(text):
            words.names += itertools.chain(signed_names(text), thousands(text))
            for found in find_compounds(text):
                words.names += names(found)
                for each in joined(found, self._elided):
                    joint.update(each.parts)
                    more = [inner for part in each.parts for inner in camel_parts(part)]
                    words.compounds.append(Compound(each.whole, each.parts + more))
        for word in single:
            if joint[word]:
                joint[word] -= 1
            elif parts := camel_parts(word):
                words.compounds.append(Compound(word, parts))
            else:
                words.single.append(word)


def _find_all(pattern: str) -> Callable[[str], list[str]]:
    """Return a function that finds a pattern that Python's expressions don't have."""
    built = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.regex(pattern)).build()
    return built.analyze
