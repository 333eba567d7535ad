"""Filters of the page: values of metadata columns, and the condition that they make.

The values come from the hits that are shown, so that they are those of visible documents.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from string import punctuation
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.types as pt

from transforms.errors import BadInput

#: Columns with values to choose from, and values of each.
_MOST_COLUMNS, _MOST_VALUES = 8, 8
#: A longer value is no category.
_LONGEST = 60
#: What stays as it is in the name of a column.
_PLAIN = " " + punctuation.replace("=", "").replace("%", "")


@dataclass(frozen=True)
class Value:
    """A value of a column.

    Attributes:
        text: the value as text.
        hits: how many of the shown documents have it.
        chosen: whether the page is filtered by it.
    """

    text: str
    hits: int
    chosen: bool


@dataclass(frozen=True)
class Facet:
    """A column, and its values."""

    column: str
    values: list[Value]


def facets_of(hits: Sequence[dict[str, Any]], chosen: Sequence[tuple[str, str]]) -> list[Facet]:
    """Return the columns whose values tell hits apart, and those that are chosen."""
    counts: dict[str, Counter[str]] = {}
    for hit in hits:
        for column, value in hit["metadata"].items():
            texts = {str(each) for each in (value if isinstance(value, list) else [value])}
            if all(_is_category(each) for each in texts):
                counts.setdefault(column, Counter()).update(texts)
    facets = []
    for column in dict.fromkeys([*(name for name, _ in chosen), *counts]):
        mine = [text for name, text in chosen if name == column]
        found = counts.get(column, Counter())
        others = [text for text, _ in found.most_common() if text not in mine]
        if not mine and (len(found) < 2 or max(found.values()) < 2):
            continue
        values = [Value(text, found[text], True) for text in mine]
        values += [Value(text, found[text], False) for text in others[:_MOST_VALUES]]
        facets.append(Facet(column, values))
    return facets[:_MOST_COLUMNS]


def condition_of(
    chosen: Sequence[tuple[str, str]], columns: pa.Schema
) -> tuple[str, list[str]] | None:
    """Return the condition of the chosen values; None without any.

    Raises:
        BadInput: the store has no such column.
    """
    if not chosen:
        return None
    texts, values = [], []
    for column, value in chosen:
        if column not in columns.names:
            problem = f"names the column {column!r}, which the store lacks"
            raise BadInput("filter", value, problem, "Remove this filter")
        kind = columns.field(column).type
        name = '"' + column.replace('"', '""') + '"'
        if pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind):
            texts.append(f"list_contains(CAST({name} AS VARCHAR[]), ?)")
        else:
            texts.append(f"CAST({name} AS VARCHAR) = ?")
        values.append(value)
    return " AND ".join(texts), values


def filter_text(column: str, value: str) -> str:
    """Return the text that `parse_filter` reads."""
    return f"{quote(column, safe=_PLAIN, errors='replace')}={value}"


def parse_filter(text: str) -> tuple[str, str]:
    """Return the column and the value of ``column=value``; raises BadInput without a value."""
    column, equals, value = text.partition("=")
    if not equals or not column:
        raise BadInput("filter", text, "is not COLUMN=VALUE", "Remove this filter")
    return unquote(column), value


def _is_category(text: str) -> bool:
    return 0 < len(text) <= _LONGEST and text != "None"
