"""The columns of the folders that an input file is in, such as ``month`` of ``month=5``."""

import re
from datetime import date
from functools import lru_cache
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.types as pt

#: The value of a folder that stands for null, as Hive and Spark write it.
_NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"
_WHOLE = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@lru_cache(1_024)
def folder_columns(url: str) -> dict[str, str | None]:
    """Return the columns of the folders of a file, such as ``month`` of ``month=5/a.parquet``.

    Every folder of the URL counts, whatever part of it the user gave, as in DuckDB. The last folder
    counts of several with one name.
    """
    found: dict[str, str | None] = {}
    # What follows a question mark is part of the path, except on the web.
    path = url.partition("?")[0] if url.startswith(("http://", "https://")) else url
    for segment in path.split("/")[:-1]:
        name, equals, value = segment.partition("=")
        if name and equals:
            found[unquote(name)] = None if value == _NULL_FOLDER else unquote(value)
    return found


def folder_type(values: set[str | None]) -> pa.DataType:
    """Return the type of the column of some folders: whole numbers, days, or else text."""
    texts = values - {None}
    if texts and all(_is_whole(str(value)) for value in texts):
        return pa.int64()
    return pa.date32() if texts and all(_is_day(str(value)) for value in texts) else pa.string()


def folder_values(text: str | None, kind: pa.DataType, rows: int) -> pa.Array:
    """Return the column of a folder's value.

    Raises:
        pa.ArrowException: the value is not of this type.
    """
    value = pa.scalar(text, pa.string())
    if text is not None and pt.is_integer(kind):
        value = pa.scalar(text.removeprefix("+"), pa.string())
    return pa.repeat(value.cast(kind), rows)


def _is_whole(value: str) -> bool:
    return bool(_WHOLE.fullmatch(value)) and -(2**63) <= int(value) < 2**63


def _is_day(value: str) -> bool:
    try:
        return bool(_DAY.fullmatch(value) and date.fromisoformat(value))
    except ValueError:
        return False
