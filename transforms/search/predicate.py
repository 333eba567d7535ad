"""Conditions on metadata columns, evaluated by DuckDB."""

import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.errors import BadInput

_ROW = "albeam row"
#: The time and memory that a condition may use on the rows of one part.
_SECONDS = 30.0
_MEMORY = "2GB"


def check_condition(where: str, schema: pa.Schema) -> None:
    """Raise BadInput if a condition can't be evaluated over these columns."""
    matching(named_columns(where, schema).empty_table(), where, schema)


def named_columns(where: str, schema: pa.Schema) -> pa.Schema:
    """Return the columns whose names occur in a condition, or the first column if none does.

    Columns that the condition does not use may be among them.

    Raises:
        BadInput: the names of two such columns differ only by case.
    """
    text = where.casefold()
    # This SQL function takes columns by a pattern of their names.
    every = "columns" in text
    kept: dict[str, pa.Field] = {}
    for field in schema:
        name = field.name.casefold()
        if not every and name not in text and name.replace('"', '""') not in text:
            continue
        if name in kept:
            problem = (
                f"names the columns {kept[name].name!r} and {field.name!r}, which SQL can't tell "
                "apart, because it ignores case"
            )
            raise BadInput("where", where, problem, "Rename one of the columns")
        kept[name] = field
    return pa.schema(list(kept.values()) or list(schema)[:1])


def matching(table: pa.Table, where: str, every: pa.Schema | None = None) -> npt.NDArray[np.bool_]:
    """Return which rows of a table meet a condition; null counts as no.

    The condition can read only the table: no files, other tables, extensions or settings.

    Args:
        table: metadata columns; `named_columns` are enough.
        where: an SQL expression over them, such as ``lang = 'en' and year >= 2020``.
        every: all columns of the store, for error messages.

    Raises:
        BadInput: the condition can't be parsed, names an unknown column, or takes too long.
    """
    import duckdb

    if not where.strip():
        raise BadInput("where", where, "is blank", "Give a condition such as lang = 'en', or none")
    row = _ROW
    while row.lower() in {name.lower() for name in table.column_names}:
        row += "_"
    numbered = table.append_column(row, pa.array(np.arange(table.num_rows, dtype=np.int64)))
    settings: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": "false",
        "python_enable_replacements": "false",
        "autoload_known_extensions": "false",
        "autoinstall_known_extensions": "false",
        "threads": "1",
        "memory_limit": _MEMORY,
    }
    with duckdb.connect(config=settings) as connection:
        connection.execute("SET lock_configuration = true")
        watch = threading.Timer(_SECONDS, connection.interrupt)
        watch.start()
        try:
            found = connection.from_arrow(numbered).filter(where).project(f'"{row}"').fetchnumpy()
        except duckdb.InterruptException as error:
            problem = f"takes more than {_SECONDS:.0f} seconds for {table.num_rows} rows"
            raise BadInput("where", where, problem, "Give a simpler condition") from error
        except duckdb.Error as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            names = ", ".join(_described(every or table.schema)) or "none"
            remedy = f"Give a condition over the columns: {names}"
            raise BadInput("where", where, f"can't be evaluated: {lines[0]}", remedy) from error
        finally:
            watch.cancel()
    mask = np.zeros(table.num_rows, np.bool_)
    mask[found[row]] = True
    return mask


def unified(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return the columns of all segments; a segment's missing columns are null there."""
    return pa.unify_schemas(list(schemas), promote_options="permissive")


def as_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the table with the columns of a schema; missing columns are null."""
    columns = [
        table.column(field.name).cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _described(schema: pa.Schema) -> list[str]:
    return [f"{field.name} ({field.type})" for field in schema]
