"""Conditions on metadata columns, evaluated by DuckDB."""

import threading
import time
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.errors import BadInput
from transforms.search.condition import Condition, Where, as_condition, letters
from transforms.search.condition_costs import Rows
from transforms.search.condition_hints import remedy
from transforms.search.condition_names import Names, lower, names_of
from transforms.search.condition_rules import check_rules
from transforms.search.condition_size import MOST_LEVELS
from transforms.search.duckdb_columns import bounded, largest_row, readable
from transforms.storage.column_types import cast_column

_ROW, _TABLE = "albeam row", "albeam rows"
#: Columns that DuckDB or `Evaluation` adds.
_ROWS = (_ROW, "rowid")
#: The time that a condition may use on all rows, and the memory on those of one part.
_SECONDS = 30.0
_MEMORY = "1GB"


class Evaluation:
    """A condition that is evaluated over the rows of parts, all at the same time of day.

    The condition can read only the rows that are given: no files, other tables, extensions or
    settings. Times are those of UTC, whatever the machine's time zone is.

    Attributes:
        columns: the columns that it needs.
    """

    def __init__(self, where: Where, schema: pa.Schema) -> None:
        """Parse a condition over the columns of a store.

        Raises:
            BadInput: the condition can't be parsed, or its values don't fit its parameters.
        """
        self._condition, self._schema = as_condition(where), schema
        self.columns = named_columns(self._condition, schema)
        hidden = {lower(_TABLE), *(name for name in _ROWS if name not in map(lower, schema.names))}
        names = _names(self._condition, schema)
        check_rules(self._condition.text, names, tuple(hidden))
        self._every, self._cost = names.columns is None, names.cost
        self._letters = letters(self._condition.values)
        self._connection: Any = None
        self._left = _SECONDS

    def __enter__(self) -> "Evaluation":
        self._connection = _connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def matching(self, table: pa.Table, rows: int) -> npt.NDArray[np.bool_]:
        """Return which rows of a table meet the condition; null counts as no.

        Args:
            table: the `columns`.
            rows: its number of rows; a table without columns has none.

        Raises:
            BadInput: the condition names an unknown column, can't be evaluated or takes too long.
        """
        table = pa.table({name: readable(table.column(name)) for name in self.columns.names})
        times = max(table.num_columns, 1) if self._every else 1
        masks, waiting = [], [(0, rows)]
        while waiting:
            start, stop = waiting.pop()
            piece = table.slice(start, stop - start)
            size = Rows(stop - start, piece.nbytes, largest_row(piece))
            if self._cost.fits(self._condition.text, size, self._letters, times):
                masks.append(self._matching(piece, stop - start))
            else:
                middle = (start + stop) // 2
                waiting += [(middle, stop), (start, middle)]
        return np.concatenate(masks) if len(masks) > 1 else masks[0]

    def _matching(self, table: pa.Table, rows: int) -> npt.NDArray[np.bool_]:
        import duckdb

        try:
            return self._run(table, rows)
        except (duckdb.Error, pa.ArrowException) as error:
            plain = pa.table({name: bounded(table.column(name)) for name in table.column_names})
            if plain.equals(table) and plain.schema.equals(table.schema):
                raise self._refused(error) from error
        # Fewer functions take nanoseconds, and not all times can be converted. After some of these
        # errors the connection can't be used.
        self._connection.close()
        self._connection = _connect()
        try:
            return self._run(plain, rows)
        except (duckdb.Error, pa.ArrowException) as error:
            raise self._refused(error) from error

    def _run(self, table: pa.Table, rows: int) -> npt.NDArray[np.bool_]:
        import duckdb

        given = dict(zip(table.column_names, table.columns, strict=True))
        # The end of the line ends a comment.
        text = "(\n" + self._condition.text.rstrip("; \t\r\n") + "\n)"
        if self._every and given:
            # The condition would count a column of row numbers among all columns.
            query = f'SELECT coalesce(CAST({text} AS BOOLEAN), false) FROM "{_TABLE}"'
        else:
            row = _ROW
            while lower(row) in map(lower, given):
                row += "_"
            numbers = pa.chunked_array([pa.array(np.arange(rows, dtype=np.int64))])
            given[row] = numbers
            query = f'SELECT "{row}" FROM "{_TABLE}" WHERE {text}'
        watch = threading.Timer(max(self._left, 0.0), self._connection.interrupt)
        self._connection.register(_TABLE, pa.table(given))
        began = time.monotonic()
        watch.start()
        try:
            if self._left <= 0:
                raise duckdb.InterruptException
            executed = self._connection.execute(query, self._condition.values or None)
            columns = list(executed.fetchnumpy().values())
        except duckdb.InterruptException as error:
            problem = f"takes more than {_SECONDS:.0f} seconds"
            what = self._condition.text
            raise BadInput("where", what, problem, "Give a simpler condition") from error
        finally:
            watch.cancel()
            self._left -= time.monotonic() - began
        if self._every and table.num_columns:
            # Each column that the pattern stands for must meet the condition.
            met: npt.NDArray[np.bool_] = np.logical_and.reduce(
                [np.asarray(column, np.bool_) for column in columns]
            )
            if len(met) != rows:
                problem = "counts or sums several rows"
                what = self._condition.text
                raise BadInput("where", what, problem, "Give a condition of a single row")
            return met
        mask = np.zeros(rows, np.bool_)
        mask[columns[0]] = True
        return mask

    def _refused(self, error: Exception) -> BadInput:
        """Return the error of a condition that DuckDB refused; it names a column at fault."""
        text, lines = self._condition.text, [line for line in str(error).splitlines() if line]
        legible = _legible(self.columns)
        for field in self.columns:
            if field.name not in legible:
                problem = f"names the column {field.name}, and DuckDB has no type {field.type}"
                return BadInput("where", text, problem, "Leave it out of the condition")
        problem = f"can't be evaluated: {lines[0].rstrip('!') if lines else type(error).__name__}"
        return BadInput("where", text, problem, remedy(text, self._schema))


def check_condition(where: Where, schema: pa.Schema) -> None:
    """Raise BadInput if a condition can't be evaluated over these columns."""
    named = named_columns(where, schema)
    matching(pa.table([pa.chunked_array([], field.type) for field in named], named), where, schema)


def matching(table: pa.Table, where: Where, every: pa.Schema | None = None) -> Any:
    """Return which rows of a table meet a condition; see `Evaluation`.

    Args:
        table: metadata columns; `named_columns` are enough.
        where: the condition.
        every: all columns of the store, for error messages.
    """
    with Evaluation(where, every or table.schema) as evaluation:
        return evaluation.matching(table, table.num_rows)


def may_change(where: Where, schema: pa.Schema) -> bool:
    """Return whether rows may meet a condition over these columns only at some time, or by chance.

    Raises:
        BadInput: the condition can't be parsed.
    """
    return _names(as_condition(where), schema).may_change(frozenset(map(lower, schema.names)))


def named_columns(where: Where, schema: pa.Schema) -> pa.Schema:
    """Return the columns that a condition names, in their order.

    Of two columns whose names differ only by case, that of the same case is meant.

    Raises:
        BadInput: the condition can't be parsed or has other parameters than values, or it names
            columns that SQL can't tell apart.
    """
    condition = as_condition(where)
    names = _names(condition, schema)
    _check_values(condition, names)
    kept: set[str]
    if names.columns is None:
        kept = _legible(schema)
    else:
        exact = names.columns & set(schema.names)
        loose = {lower(name) for name in names.columns - exact} - {lower(name) for name in exact}
        kept = set(exact) | {name for name in schema.names if lower(name) in loose}
    known: dict[str, str] = {}
    for name in (name for name in schema.names if name in kept):
        twin = known.setdefault(lower(name), name)
        if twin != name:
            problem = (
                f"names the columns {twin!r} and {name!r}, which SQL can't tell apart, because it "
                "ignores case"
            )
            raise BadInput("where", condition.text, problem, "Rename one of the columns")
    return pa.schema([field for field in schema if field.name in kept])


def as_schema(table: pa.Table, schema: pa.Schema, rows: int) -> pa.Table:
    """Return a table of so many rows with the columns of a schema; missing columns are null."""
    columns = [
        cast_column(table.column(field.name), field.type)
        if field.name in table.column_names
        else pa.nulls(rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _names(condition: Condition, schema: pa.Schema) -> Names:
    try:
        return names_of(condition.text)
    except BadInput as error:
        advice = error.remedy or remedy(condition.text, schema)
        raise BadInput("where", condition.text, error.problem, advice) from error


def _check_values(condition: Condition, names: Names) -> None:
    values = condition.values
    given = set(values) if isinstance(values, dict) else {str(n + 1) for n in range(len(values))}
    if names.columns is None and not names.parameters:
        return
    if given != names.parameters:
        wanted = ", ".join(sorted(names.parameters)) or "none"
        problem = (
            f"has the parameters {wanted}, and values for {', '.join(sorted(given)) or 'none'}"
        )
        remedy = 'Give a value for each, such as where=("lang = ?", ["en"])'
        raise BadInput("where", condition.text, problem, remedy)


def _legible(schema: pa.Schema) -> set[str]:
    """Return the names of the columns that DuckDB has a type for."""
    import duckdb

    names = set()
    with _connect() as connection:
        for field in schema:
            column = readable(pa.chunked_array([], field.type))
            try:
                connection.from_arrow(pa.table({"value": column})).fetchall()
            except (duckdb.Error, pa.ArrowException):
                continue
            names.add(field.name)
    return names


def _connect() -> Any:
    """Open an empty database that reaches nothing, in UTC, and lock its settings."""
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": "false",
        "python_enable_replacements": "false",
        "autoload_known_extensions": "false",
        "autoinstall_known_extensions": "false",
        "temp_directory": "",
        # Arrow would compare some values otherwise, such as NaN.
        "disabled_optimizers": "filter_pushdown",
        "threads": "1",
        "memory_limit": _MEMORY,
        "max_expression_depth": str(MOST_LEVELS),
    }
    connection = duckdb.connect(config=settings)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET lock_configuration = true")
    # The time of day is that of the transaction.
    connection.begin()
    return connection
