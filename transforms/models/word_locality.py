"""Find out whether a tokenizer gives a text exactly the tokens of its words, and for which words.

A word is the text between the four separators of `SEPARATORS`. A tokenizer is word-local if each of
its steps treats a word inside a text as it treats the word alone: each step below looks at one
character, or at neighbours without a separator between them. There are exceptions at the edge of a
word, and `Locality.holds` returns False for them: a combining mark (or the like) that joins the
separator before it; an added token that includes the white space around it; a letter that is
dropped at the start of a text or after an added token, where the ``Precompiled`` step miscounts.
"""

import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

SEPARATORS = " \t\n\r"

_NORMALIZERS = frozenset({"NFKD", "StripAccents", "Lowercase", "Precompiled", "BertNormalizer"})
_MODELS = frozenset({"Unigram", "WordPiece"})
#: Steps after the model that do not change ids and offsets of a single text.
_POST_PROCESSORS = frozenset({"TemplateProcessing", "BertProcessing"})


@dataclass(frozen=True)
class Locality:
    """The word-locality of a tokenizer.

    Attributes:
        obstacle: why texts can't be tokenized word by word; "" if they can.
        greedy: the added tokens that include the white space next to them.
        added: a pattern for added tokens that split a word before it is normalized.
        drops: returns whether a letter is normalized to nothing.
    """

    obstacle: str
    greedy: tuple[str, ...]
    added: re.Pattern[str]
    drops: Callable[[str], bool]

    def holds(self, word: str) -> bool:
        """Return whether a word, without separators and not empty, always has the same tokens."""
        if not _may_begin(word[0]) or not _may_end(word[-1]) or self.drops(word[0]):
            return False
        if self.added.search(word) is None:
            return True
        return not any(token in word for token in self.greedy) and not any(map(self.drops, word))


def find_locality(backend: Any) -> Locality:
    """Return the word-locality of a ``tokenizers.Tokenizer``; an unknown step is an obstacle."""
    # Not by `to_str`, which writes the whole vocabulary.
    obstacle = (
        _in_normalizer(_state(backend.normalizer))
        or _in_pre_tokenizer(_state(backend.pre_tokenizer))
        or _unlisted("model", {"type": type(backend.model).__name__}, _MODELS)
        or _unlisted("post-processor", _state(backend.post_processor), _POST_PROCESSORS)
    )
    normalizer = backend.normalizer

    def normalize(text: str) -> str:
        return text if normalizer is None else str(normalizer.normalize_str(text))

    @lru_cache(maxsize=1 << 16)
    def drops(letter: str) -> bool:
        return not normalize(letter)

    tokens = list(backend.get_added_tokens_decoder().values())
    greedy = [token for token in tokens if token.lstrip or token.rstrip]
    for token in tokens:
        content = token.content
        spaced = any(letter.isspace() for letter in content + normalize(content))
        if spaced or (token.normalized and token in greedy):
            obstacle = obstacle or f"its added token {content!r} reaches over white space"
    # Tokens that are matched in normalized text do not split a word before normalization.
    contents = [re.escape(token.content) for token in tokens if not token.normalized]
    return Locality(
        obstacle,
        tuple(token.content for token in greedy),
        re.compile("|".join(contents) or "(?!)"),
        drops,
    )


def _state(step: Any) -> dict[str, Any] | None:
    """Return a step of a tokenizer as an object of JSON."""
    return None if step is None else dict(json.loads(step.__getstate__()))


def _in_normalizer(step: dict[str, Any] | None) -> str:
    for each in _steps(step, "normalizers"):
        if each["type"] != "Replace":
            obstacle = _unlisted("normalizer", each, _NORMALIZERS)
        elif each["pattern"] == {"Regex": " {2,}"} and each["content"] == " ":
            obstacle = ""
        else:
            plain = _is_plain(each["pattern"].get("String", "")) and _is_plain(each["content"])
            obstacle = "" if plain else f"its normalizer replaces {each['pattern']}"
        if obstacle:
            return obstacle
    return ""


def _in_pre_tokenizer(step: dict[str, Any] | None) -> str:
    steps = _steps(step, "pretokenizers")
    kinds = [each["type"] for each in steps]
    if kinds in (["WhitespaceSplit"], ["BertPreTokenizer"]):
        return ""
    # The scheme "first" would mark each word as a text's first.
    if kinds == ["WhitespaceSplit", "Metaspace"] and steps[1].get("prepend_scheme") != "first":
        return ""
    return f"its pre-tokenizer is {' and '.join(kinds) or 'none'}"


def _steps(step: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    if step is None:
        return []
    if step["type"] == "Sequence":
        return [inner for each in step[key] for inner in _steps(each, key)]
    return [step]


def _unlisted(what: str, step: dict[str, Any] | None, known: frozenset[str]) -> str:
    if step is None or step["type"] in known:
        return ""
    return f"its {what} is {step['type']}"


def _is_plain(text: str) -> bool:
    return bool(text) and all("!" <= letter <= "~" for letter in text)


@lru_cache(maxsize=1 << 16)
def _may_begin(letter: str) -> bool:
    """Return whether a letter stays separate from a separator before it.

    Marks join the character before them, in normal forms and in graphemes. Characters of category C
    and U+FFFD may be dropped before such a step, which exposes the mark after them.
    """
    if "!" <= letter <= "~":
        return True
    first = unicodedata.normalize("NFKD", letter)[0]
    skin_tone = "\U0001f3fb" <= letter <= "\U0001f3ff"
    return not skin_tone and letter != "\ufffd" and unicodedata.category(first)[0] not in "MC"


@lru_cache(maxsize=1 << 16)
def _may_end(letter: str) -> bool:
    """Return whether a letter stays separate from a separator after it.

    The letters that do not are format characters, of category C, and letters of a few scripts.
    """
    if "!" <= letter <= "~":
        return True
    prepended = letter == "\u0d4e" or "\U00011000" <= letter <= "\U00011fff"
    return not prepended and unicodedata.category(letter)[0] != "C"
