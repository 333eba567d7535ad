"""Words of all scripts, and the ways in which a user may write them."""

import functools
import random
import re
import unicodedata
from collections.abc import Iterator

#: Not part of a word that is asked without marks: in Tibetan and in kana a mark is a letter of its
#: own, where words have no spaces each mark is a word, and some characters nobody sees. A word of
#: the last ones has marks alone.
_APART = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f\u3040-\u30ff"
    "\u3099\u309a\ua980-\ua9df\ua9e0-\ua9ff\uaa60-\uaadf\u034f\u180b-\u180f\u17b4\u17b5"
    "\ufe00-\ufe0f\ufe70-\ufe7f\U00016ff0\U00016ff1\U000e0000-\U000e0fff]"
)
#: Apostrophes that are letters by Unicode: a mark that follows one makes it no apostrophe.
_APOSTROPHES = re.compile("[\u02bb-\u02bf\ua78b\ua78c]")


@functools.cache
def characters(*categories: str) -> tuple[str, ...]:
    """Return the assigned characters whose general category begins so."""
    every = map(chr, [*range(0xD800), *range(0xE000, 0x110000)])
    kept = (c for c in every if unicodedata.category(c)[0] in categories and not _APART.match(c))
    return tuple(kept)


def spellings(word: str) -> Iterator[str]:
    """Yield a word as it stands, in other cases, in other normal forms, and without accents."""
    plain = without_accents(word)
    yield from (word, word.upper(), word.lower(), word.title(), word.casefold())
    yield from (plain, plain.upper(), without_accents(word.upper()))
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        yield unicodedata.normalize(form, word)
        yield unicodedata.normalize(form, word.upper())


def without_accents(word: str) -> str:
    """Return a word without its combining marks."""
    marked = unicodedata.normalize("NFD", word)
    return unicodedata.normalize("NFC", "".join(c for c in marked if not unicodedata.combining(c)))


def random_words(seed: int, count: int) -> Iterator[str]:
    """Yield words, each of letters, digits and marks of one block of Unicode; seeded."""
    rng = random.Random(seed)
    letters: dict[int, list[str]] = {}
    for each in characters("L", "N", "M"):
        if not _APOSTROPHES.match(each):
            letters.setdefault(ord(each) >> 7, []).append(each)
    blocks = sorted(letters)
    while count:
        word = "".join(rng.choices(letters[rng.choice(blocks)], k=rng.randint(2, 8)))
        if without_accents(word):
            count -= 1
            yield word
