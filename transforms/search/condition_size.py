"""How long a condition may be: DuckDB's parser needs time and memory for each word of it."""

from transforms.errors import BadInput

#: The most letters and words. A word takes the parser some ten kilobytes.
MOST_LETTERS, MOST_WORDS = 1_000_000, 25_000
#: The most levels of nesting, and the most fields of one name, for which it needs quadratic time.
MOST_LEVELS, MOST_FIELDS = 200, 50
_REMEDY = 'Give values apart from it, such as where=("lang = any(?)", [["en", "de"]])'


def check_size(text: str) -> None:
    """Raise BadInput if a condition is too long to be parsed in little time and memory."""
    import duckdb

    if len(text) > MOST_LETTERS:
        problem = f"has {len(text)} letters, and {MOST_LETTERS} are possible"
        raise BadInput("where", text, problem, _REMEDY)
    # A word has a letter at least.
    if len(text) > MOST_WORDS and (words := len(duckdb.tokenize(text))) > MOST_WORDS:
        problem = f"has {words} words and signs, and {MOST_WORDS} are possible"
        raise BadInput("where", text, problem, _REMEDY)
