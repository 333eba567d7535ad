"""Errors that no one foresaw name the rows that a step worked on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa

from transforms.errors import AlbeamError, BadInput
from transforms.ingest.input_rows import InputRows
from transforms.storage.schema import FILE, ROW

#: Errors of values. Those of networks, disks and memory pass: they are not of these rows.
_OF_VALUES = (
    *(TypeError, ValueError, ArithmeticError, LookupError, AttributeError, NotImplementedError),
)
_REMEDY = "Look into it, leave its row or column out, or give -v to see where it failed"


def built(build: Callable[[InputRows], pa.Table], rows: InputRows) -> pa.Table:
    """Return ``build(rows)``.

    Raises:
        BadInput: a row can't be taken over; the error names the first such row.
    """
    try:
        return build(rows)
    except AlbeamError:
        raise
    except _OF_VALUES as error:
        for place in range(rows.count):
            one = rows.take(np.array([place]), rows.places[place : place + 1])
            try:
                build(one)
            except AlbeamError:
                raise
            except _OF_VALUES as reason:
                problem = f"row {int(one.places[0])} can't be read: {_described(reason)}"
                raise BadInput("input file", rows.url, problem, _REMEDY) from reason
        problem = f"rows {_span(rows.places.tolist())} can't be read: {_described(error)}"
        raise BadInput("input file", rows.url, problem, _REMEDY) from error


@contextmanager
def naming_rows(table: pa.Table, doing: str) -> Iterator[None]:
    """Turn an unforeseen error of a step into one that names the rows of its table.

    Args:
        table: rows with the columns ``_file`` and ``_row``.
        doing: what the step does with them, such as ``embedded``.
    """
    try:
        yield
    except AlbeamError:
        raise
    except _OF_VALUES as error:
        if not table.num_rows or FILE not in table.column_names:
            raise
        urls = dict.fromkeys(table.column(FILE).to_pylist())
        first, *others = urls
        chosen = table.column(ROW).to_numpy()[np.array(table.column(FILE).to_pylist()) == first]
        more = f", and rows of {len(others)} further files," if others else ""
        problem = f"rows {_span(chosen.tolist())}{more} can't be {doing}: {_described(error)}"
        raise AlbeamError("input file", first, problem, _REMEDY) from error


def _span(rows: list[int]) -> str:
    return f"{min(rows)} to {max(rows)}" if rows else "of none"


def _described(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
