"""Compounds: words that signs or capitals join to names, paths, addresses and versions."""

import re
from collections.abc import Iterator
from typing import NamedTuple

#: What joins words to a compound, and what joins those to paths and addresses.
_JOINT = "(?:_+|[-'.·\u200b\u200c])"
_LINK = r"(?:[._-]?[/\\:@&=?%~+#][/\\:@&=?%~+#._-]{0,2})"
#: A text without these has no compound, and no word with a sign.
HAS_SIGN = re.compile("[-'.·\u200b\u200c_,/\\\\:@&=?%~+#]")
_AT_JOINT = re.compile(_JOINT)
_AT_LINK = re.compile(_LINK)
#: ``C++``, ``C#``, ``Disney+``; ``.NET``.
_ENDS_IN_SIGN = re.compile(r"(?<!\w)[^\W\d_]\w*+(?:\+\+|#(?!\w)|\+(?![\w+]))")
_BEGINS_WITH_POINT = re.compile(r"(?<![\w./\\])\.[^\W\d_]\w*")
_THOUSANDS = re.compile(r"(?<![\d,])\d{1,3}(?:,\d{3})+(?![\d,])")
_VERSION = re.compile(r"[vV](?=\d)")
_CAMEL = re.compile(r"(?<=a)(?=A)|(?<=0)(?=Aaa)|(?<=A)(?=Aaa)")
#: A text of random letters, such as one in base64, has more parts than any name.
_MOST_PARTS = 8
#: What follows an apostrophe in English contractions: joined, ``we'll`` would be ``well``.
_CONTRACTED = frozenset({"s", "ll", "re", "ve", "d", "m"})


class Compound(NamedTuple):
    """A word that is also written as several: ``e-mail``, ``O'Brien``, ``U.S.``, ``parseURL``.

    Attributes:
        whole: the word without signs.
        parts: its parts, and theirs.
    """

    whole: str
    parts: list[str]


def compound(word: str) -> str:
    """Return a regular expression for compounds, given one for words; for Rust and Python."""
    return f"{word}(?:(?:{_JOINT}|{_LINK}){word})+"


def signed_names(text: str) -> Iterator[str]:
    """Yield words that have a sign before or after them, such as ``C++``."""
    for pattern in (_ENDS_IN_SIGN, _BEGINS_WITH_POINT):
        yield from (match[0] for match in pattern.finditer(text))


def thousands(text: str) -> Iterator[str]:
    """Yield numbers with commas, without the commas."""
    yield from (match[0].replace(",", "") for match in _THOUSANDS.finditer(text))


def names(found: str) -> Iterator[str]:
    """Yield what is a word only with its signs: a compound, and names in it.

    Examples are ``https://example.com/a`` and ``example.com``, ``python-3.11`` and ``3.11``,
    ``snake_case``.
    """
    links = _AT_LINK.split(found)
    for link in links:
        if _is_name(link):
            yield from _versions(link)
            parts = link.split("-")
            if len(parts) > 1:
                yield from (each for part in parts if _is_name(part) for each in _versions(part))
    if len(links) > 1:
        yield found


def joined(found: str, elided: frozenset[str]) -> Iterator[Compound]:
    """Yield what signs join to a word that is also written without them.

    Args:
        found: a text that `compound` matches.
        elided: words that are not joined to the next one.
    """
    for link in _AT_LINK.split(found):
        parts = _AT_JOINT.split(link)
        if not 2 <= len(parts) <= _MOST_PARTS or _is_name(link):
            continue
        contracted = "'" in link and parts[-1].lower() in _CONTRACTED
        digits = all(part.isdigit() for part in parts)
        if not (contracted or digits or parts[0].lower() in elided):
            yield Compound("".join(parts), parts)


def camel_parts(word: str) -> list[str]:
    """Return the parts of a camelCase name; none of another word.

    Plurals such as ``PDFs`` have no parts.
    """
    if word[1:] == word[1:].lower() or word.isupper():
        return []
    shape = "".join("A" if each.isupper() else "a" if each.islower() else "0" for each in word)
    cuts = [match.start() for match in _CAMEL.finditer(shape)]
    if not 0 < len(cuts) < _MOST_PARTS:
        return []
    return [word[start:end] for start, end in zip([0, *cuts], [*cuts, len(word)], strict=True)]


def _is_name(link: str) -> bool:
    """Return whether a compound differs from the word without its signs."""
    if "_" in link:
        return True
    return "." in link and any(len(part) > 1 or part.isdigit() for part in link.split("."))


def _versions(name: str) -> Iterator[str]:
    """Yield a name, and a version without its v."""
    yield name
    if _VERSION.match(name):
        yield name[1:]
