"""What to do about a condition that DuckDB refuses."""

import re

import pyarrow as pa

from transforms.search.condition_names import lower

#: Columns that an error lists.
_MOST = 40
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def remedy(text: str, schema: pa.Schema) -> str:
    """Return what to do about a condition that can't be evaluated over the columns of a store."""
    words = _words(text)
    keywords = {lower(word) for word, kind in words if kind == "keyword"}
    bare = lower(" ".join(word for word, kind in words if kind != "string_const"))
    unquoted = re.sub(r'"[^"]*"', " ", bare)
    for name in schema.names:
        needs = lower(name) in keywords if _PLAIN.fullmatch(name) else _unquoted_in(name, unquoted)
        if needs and f'"{lower(name)}"' not in bare:
            quoted = '"' + name.replace('"', '""') + '"'
            return f"Write the column {name} in double quotes: {quoted}"
    names = {lower(name) for name in schema.names}
    for word, _ in words:
        if word.startswith('"') and lower(word.strip('"')) not in names:
            said = word.strip('"').replace("'", "''")
            return f"Write texts in single quotes: '{said}'. {columns(schema)}"
    return f"Give a condition over the columns: {listed(schema)}"


def columns(schema: pa.Schema) -> str:
    """Return a sentence that names the columns of a schema."""
    return f"The columns are {listed(schema)}"


def listed(schema: pa.Schema) -> str:
    """Return the names of a schema's columns with their types."""
    named = [f"{field.name} ({field.type})" for field in list(schema)[:_MOST]]
    more = [f"and {len(schema) - _MOST} more"] if len(schema) > _MOST else []
    return ", ".join(named + more) or "none"


def _unquoted_in(name: str, text: str) -> bool:
    """Return whether a text has a name that must be quoted without quotes, in any spacing."""
    parts = [re.escape(part) for part in re.findall(r"\w+|[^\w\s]", lower(name))]
    return bool(parts) and re.search(r"(?<!\w)" + r"\s*".join(parts) + r"(?!\w)", text) is not None


def _words(text: str) -> list[tuple[str, str]]:
    """Return the words of an SQL text with their kinds, without comments."""
    import duckdb

    whole = text.encode("utf-8", "replace")
    try:
        found = duckdb.tokenize(text)
    except (duckdb.Error, UnicodeError):
        return []
    starts = [start for start, _ in found] + [len(whole)]
    words = [
        (whole[start:stop].decode("utf-8", "replace").strip(), kind.name)
        for (start, kind), stop in zip(found, starts[1:], strict=True)
    ]
    return [(word, kind) for word, kind in words if kind != "comment"]
