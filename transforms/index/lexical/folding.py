"""Folding: what makes two spellings of a word one, in any script.

`clean` removes what nobody sees, `fold` removes what a user leaves out when asking: case, accents,
points, vowel marks, the kind of digits. `keep_accents` removes only what no stemmer needs.
"""

import re
import unicodedata

#: Format characters, joiners and variation selectors. A zero-width space and a zero-width
#: non-joiner may stand between words, so `clean` treats them on their own.
_INVISIBLE_CLASS = (
    "\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u17b4\u17b5\u180b-\u180f"
    "\u200d-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
_INVISIBLE = re.compile(f"[{_INVISIBLE_CLASS}]+")
#: Where it joins Persian or Arabic words, people also write them apart or as one.
_NON_JOINER = re.compile(r"(?<![\u0600-\u06ff\u0750-\u077f])\u200c|\u200c(?![\u0600-\u06ff])")
_APOSTROPHES = "\u02bb-\u02bf\u2018\u2019\u201b\u2032\u055a\ua78b\ua78c"
_APOSTROPHE = re.compile(
    f"(?<=[^\\W\\d_])(?:[{_APOSTROPHES}]"
    '|(?<=[\u05d0-\u05ea])["\u05f3\u05f4](?=[\u05d0-\u05ea]))(?=[^\\W\\d_])'
)
_HYPHENS = "\u2010\u2011\u2013\u2212\u05be\u1806\u30a0"
_HYPHEN = re.compile(f"[{_HYPHENS}]")
#: Characters that `clean` removes or replaces.
_REPLACED = re.compile(
    f'[{_INVISIBLE_CLASS}{_APOSTROPHES}{_HYPHENS}"\u200c\u05f3\u05f4\ud800-\udfff]'
)
#: Letters that Unicode doesn't decompose, but that a user writes otherwise.
_LETTERS = str.maketrans(
    {
        **{"æ": "ae", "œ": "oe", "ø": "o", "ı": "i", "ȷ": "j", "ſ": "s"},
        # Forms of alef, yeh, kaf and heh, as writers of Arabic, Persian and Urdu mix them.
        **{"ٱ": "ا", "ى": "ي", "ی": "ي", "ې": "ي", "ے": "ي", "ک": "ك", "ة": "ه", "ہ": "ه"},
        **{"ە": "ه", "ھ": "ه", "\u0640": "", "\u07fa": ""},
        # The candrabindu and the anusvara, in the scripts of India.
        **{chr(0x901 + place): chr(0x902 + place) for place in range(0, 0x400, 0x80)},
    }
)
_RESPELT = re.compile("[\u0345\u1f80-\u1fff]|\u0928\u094d")
#: A u after another vowel or a q begins no umlaut: ``neue``, ``Quelle``.
_UMLAUT = re.compile("(?<=[ao])e|(?<=u)(?<![aeiouyq]u)e")
_LONG_A = re.compile("aa|ae")
_NORDIC = frozenset({"danish", "norwegian", "swedish"})
#: Languages in which a word of ASCII may be another spelling of a word with other letters.
RESPELLING = _NORDIC | {"german", "turkish"}
_DEAD_N = "\u0928\u094d"
#: Combining classes of marks that are as much as letters: kana's voicing, Tibetan's vowels.
_LETTER_MARKS = frozenset({0, 8, 129, 130, 132})
#: Combining classes of marks that a stemmer may need: nukta and virama, besides.
_STEM_MARKS = _LETTER_MARKS | {7, 9}


def clean(text: str) -> str:
    """Normalize a text to NFKC without invisible characters; case and accents stay.

    Apostrophes and hyphens become those of ASCII, and a surrogate becomes a question mark.
    """
    if text.isascii():
        return text
    if _REPLACED.search(text):
        text = _INVISIBLE.sub("", text.encode(errors="replace").decode())
        text = _NON_JOINER.sub("", text).replace("\u00b4", "\u2019")
        text = _HYPHEN.sub("-", text)
    return _APOSTROPHE.sub("'", unicodedata.normalize("NFKC", text))


def fold(word: str) -> str:
    """Return a word without case, accents and points; a word of marks alone stays."""
    if word.isascii():
        return word.lower()
    return unicodedata.normalize("NFC", word.translate(_FOLDED)) or word


def foldings(word: str) -> list[str]:
    """Return `fold` of a word, and of other spellings that have other letters.

    In capitals an iota stands beside the Greek letter that it stood below. In Hindi a dot above
    may replace an n before a consonant.
    """
    found = [fold(word)]
    if _RESPELT.search(word):
        found += (fold(word.casefold()), fold(word.replace(_DEAD_N, "\u0902")))
    return found


def respell(folded: str, language: str) -> str:
    """Return a folded word as if its language had no umlauts: ``mueller`` is ``muller``."""
    if language == "german":
        return _UMLAUT.sub("", folded)
    if language in _NORDIC:
        return _LONG_A.sub("a", folded).replace("oe", "o")
    return folded


def keep_accents(word: str, language: str) -> str:
    """Return a word in lower case, with those accents that make a letter of its own."""
    if language == "turkish":
        word = word.replace("I", "ı").replace("İ", "i")
    if word.isascii():
        return word.lower()
    word = unicodedata.normalize("NFKC", word.casefold())
    if language == "russian":
        word = word.replace("ё", "е")
    return word if word.isalpha() else word.translate(_LIGHT) or word


def folded_character(character: str) -> str:
    """Return what `fold` makes of one character, before what it composes with its neighbours."""
    return _FOLDED[ord(character)]


def is_light(character: str) -> bool:
    """Return whether `keep_accents` keeps a character in a word that has more than letters."""
    return bool(_LIGHT[ord(character)])


class _Folded(dict[int, str]):
    """The folding of each character, as a table of `str.translate` that fills itself."""

    def __missing__(self, code: int) -> str:
        parts = unicodedata.normalize("NFKD", chr(code))
        parts = unicodedata.normalize("NFKD", _without(parts, _LETTER_MARKS).casefold())
        parts = _without(parts, _LETTER_MARKS).translate(_LETTERS)
        folded = "".join(str(unicodedata.decimal(each, each)) for each in parts)
        self[code] = folded
        return folded


class _Light(dict[int, str]):
    """Each character, or nothing for a mark that no stemmer needs."""

    def __missing__(self, code: int) -> str:
        self[code] = kept = _without(chr(code), _STEM_MARKS)
        return kept


def _without(text: str, classes: frozenset[int]) -> str:
    return "".join(each for each in text if unicodedata.combining(each) in classes)


_FOLDED, _LIGHT = _Folded(), _Light()
