"""Which passages a condition on metadata columns leaves, by DuckDB."""

import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.errors import BadInput

_ROW = "albeam row"
#: Seconds and memory that a condition may take on the rows of one part.
_SECONDS = 30.0
_MEMORY = "2GB"


def check_condition(where: str, schema: pa.Schema) -> None:
    """Raise BadInput where a condition is not one over these columns."""
    matching(named_columns(where, schema).empty_table(), where, schema)


def named_columns(where: str, schema: pa.Schema) -> pa.Schema:
    """The columns whose names occur in a condition, and maybe others; the first where none does.

    Raises:
        BadInput: SQL can't tell two of them apart.
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
            raise BadInput(
                f"condition {where!r} can't tell the columns {kept[name].name!r} and "
                f"{field.name!r} apart, as SQL ignores case; rename one"
            )
        kept[name] = field
    return pa.schema(list(kept.values()) or list(schema)[:1])


def matching(table: pa.Table, where: str, every: pa.Schema | None = None) -> npt.NDArray[np.bool_]:
    """Which rows of a table a condition holds for, null counted as no.

    Args:
        table: metadata columns, of which `named_columns` are enough.
        where: an SQL expression over them, such as ``lang = 'en' and year >= 2020``.
        every: all columns that there are, for errors.

    Nothing but the table can be read: files, other tables, extensions and settings are out of
    reach.

    Raises:
        BadInput: the condition can't be parsed, names what is not there, or takes too long.
    """
    import duckdb

    if not where.strip():
        raise BadInput("the condition is blank; give one such as lang = 'en', or none")
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
            raise BadInput(
                f"condition {where!r} takes more than {_SECONDS:.0f} seconds for "
                f"{table.num_rows} rows; give a simpler one"
            ) from error
        except duckdb.Error as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise BadInput(
                f"condition {where!r} can't be used: {lines[0]}; the columns are "
                f"{', '.join(_named(every or table.schema)) or 'none'}"
            ) from error
        finally:
            watch.cancel()
    mask = np.zeros(table.num_rows, np.bool_)
    mask[found[row]] = True
    return mask


def unified(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The columns of all segments; one that some lack is null there."""
    return pa.unify_schemas(list(schemas), promote_options="permissive")


def as_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the columns of a schema; null where it lacks one."""
    columns = [
        table.column(field.name).cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _named(schema: pa.Schema) -> list[str]:
    return [f"{field.name} ({field.type})" for field in schema]
