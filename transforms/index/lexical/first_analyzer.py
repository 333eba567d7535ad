"""The analyzer of lexical indexes that albeam 0.1 built: they are asked as they were written."""

import unicodedata

import tantivy

from transforms.index.lexical.terms import Word

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_TERM = rf"[{_UNSPACED}]|[[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]+"
_LONGEST_TERM = 64


class FirstAnalyzer:
    """Version 1: lower-case stems of runs of letters and digits, whose accents are then folded.

    Attributes:
        tokenizer: makes terms of what `written` returns.
    """

    def __init__(self, language: str) -> None:
        """Build the analyzer of a language, one of `transforms.catalog.options.LANGUAGES`."""
        builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.regex(_TERM))
        builder = builder.filter(tantivy.Filter.remove_long(_LONGEST_TERM))
        builder = builder.filter(tantivy.Filter.lowercase())
        if language != "none":
            builder = builder.filter(tantivy.Filter.stemmer(language))
        self.tokenizer = builder.filter(tantivy.Filter.ascii_fold()).build()

    def written(self, text: str) -> str:
        """Return a text in Unicode's NFKC form, with surrogates replaced."""
        return unicodedata.normalize("NFKC", text).encode(errors="replace").decode()

    def words(self, text: str) -> list[Word]:
        """Return the words of a text in order; each has one term."""
        return [Word((term,)) for term in self.tokenizer.analyze(self.written(text))]
