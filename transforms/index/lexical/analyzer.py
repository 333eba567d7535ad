"""Texts to terms."""

import unicodedata

import tantivy

#: Terms of a question that are looked for; of more, those that tell most.
MOST_TERMS = 64
#: Scripts without spaces between words: each character is a term.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_TERM = rf"[{_UNSPACED}]|[[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]+"
_LONGEST_TERM = 64
ANALYZER = "albeam"


class Analyzer:
    """Texts to terms: runs of letters and digits, in lower case, their stems, without accents."""

    def __init__(self, language: str) -> None:
        """``language`` is one of `transforms.catalog.lexical_manifest.LANGUAGES`."""
        builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.regex(_TERM))
        builder = builder.filter(tantivy.Filter.remove_long(_LONGEST_TERM))
        builder = builder.filter(tantivy.Filter.lowercase())
        if language != "none":
            builder = builder.filter(tantivy.Filter.stemmer(language))
        self.built = builder.filter(tantivy.Filter.ascii_fold()).build()

    def terms(self, text: str) -> list[str]:
        """The terms of a text in their order; none of it is query syntax."""
        return list(self.built.analyze(normalized(text)))


def normalized(text: str) -> str:
    """A text whose characters have one form each (Unicode's NFKC), and no surrogates."""
    return unicodedata.normalize("NFKC", text).encode(errors="replace").decode()
