"""The analyzer, which turns texts into terms."""

import unicodedata

import tantivy

#: The most terms of a question that are searched for: those with the largest weights.
MAX_TERMS = 64
#: Scripts without spaces between words, in which each character is a term.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_TERM = rf"[{_UNSPACED}]|[[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]+"
_LONGEST_TERM = 64
ANALYZER = "albeam"


class Analyzer:
    """An analyzer of texts: lower-case stems, without accents, of runs of letters and digits."""

    def __init__(self, language: str) -> None:
        """Build the analyzer of a language, one of `transforms.index.options.LANGUAGES`."""
        builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.regex(_TERM))
        builder = builder.filter(tantivy.Filter.remove_long(_LONGEST_TERM))
        builder = builder.filter(tantivy.Filter.lowercase())
        if language != "none":
            builder = builder.filter(tantivy.Filter.stemmer(language))
        self.built = builder.filter(tantivy.Filter.ascii_fold()).build()

    def terms(self, text: str) -> list[str]:
        """Return the terms of a text, in order; no character is query syntax."""
        return list(self.built.analyze(normalized(text)))


def normalized(text: str) -> str:
    """Normalize a text to Unicode's NFKC form, and replace surrogates."""
    return unicodedata.normalize("NFKC", text).encode(errors="replace").decode()
