"""Columns as DuckDB can read them: types that it lacks, and times beyond its range."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from transforms.storage.arrow_values import map_type, without_views

Integers = npt.NDArray[np.int64]

#: DuckDB's infinite date and timestamp are the largest numbers; the negative ones are infinite too.
_FOREVER, _LAST_DAY = np.int64(2**63 - 1), np.int64(2**31 - 1)
#: The microseconds of the first timestamp, and the days of the last, that DuckDB holds.
_FIRST, _DAYS = np.int64(-9_223_372_022_400_000_000), np.int64(106_751_991)
_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}
#: The most digits of DuckDB's decimals.
_DIGITS = 38


def readable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column with floats for half floats, strings for views, and decimals of 38 digits.

    Decimals that don't fit become floats. A column of another type that DuckDB can't read stays.
    Days in milliseconds become days, because DuckDB counts those that are far away wrongly.
    """
    if pt.is_date64(column.type):
        return bounded(column)
    same = map_type(column.type, lambda kind: kind)
    for change in (_shorter, _as_float):
        kind = map_type(column.type, change)
        if kind == same:
            return column
        try:
            return pc.cast(column, kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
    return column


def largest_row(table: pa.Table) -> int:
    """Return at least as many bytes as the largest row of a table has."""
    return sum(_largest(column) for column in table.columns)


def _largest(column: pa.ChunkedArray) -> int:
    kind = column.type
    if pt.is_string(kind) or pt.is_binary(kind) or pt.is_large_string(kind):
        return pc.max(pc.binary_length(column)).as_py() or 0
    return min(int(column.nbytes), 16) if pt.is_primitive(kind) else int(column.nbytes)


def bounded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of times in microseconds; what DuckDB can't compare is infinite."""
    kind = column.type
    if pt.is_date64(kind):
        per_day = 86_400_000
        days = _changed(column, pa.int64(), pa.int64(), lambda numbers: numbers // per_day)
        column = _changed(days, pa.int32(), pa.int64(), _bounded_days)
    if pt.is_date(kind):
        days = column.cast(pa.int32()).cast(pa.date32())
        return _changed(days, pa.date32(), pa.int32(), _bounded_days)
    if pt.is_time64(kind) and kind.unit == "ns":
        return _changed(column, pa.time64("us"), pa.int64(), lambda numbers: numbers // 1_000)
    if not (pt.is_timestamp(kind) or pt.is_duration(kind)):
        return column
    zone = pa.timestamp("us", kind.tz) if pt.is_timestamp(kind) else pa.duration("us")
    if kind.unit == "ns":
        return _changed(column, zone, pa.int64(), lambda numbers: numbers // 1_000)
    factor = _MICROSECONDS[kind.unit]
    return _changed(column, zone, pa.int64(), lambda numbers: _bounded_times(numbers, factor))


def _shorter(kind: pa.DataType) -> pa.DataType:
    kind = without_views(kind)
    if pt.is_float16(kind):
        return pa.float32()
    return pa.decimal128(_DIGITS, kind.scale) if _is_long(kind) else kind


def _as_float(kind: pa.DataType) -> pa.DataType:
    kind = without_views(kind)
    if pt.is_float16(kind):
        return pa.float32()
    return pa.float64() if _is_long(kind) else kind


def _is_long(kind: pa.DataType) -> bool:
    return bool(pt.is_decimal256(kind))


def _changed(
    column: pa.ChunkedArray,
    kind: pa.DataType,
    numbers: pa.DataType,
    change: Callable[[Integers], Integers],
) -> pa.ChunkedArray:
    """Return the column with its numbers changed, and its nulls kept."""
    chunks = []
    for chunk in column.chunks:
        whole = chunk.cast(numbers)
        values = change(whole.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64))
        missing = whole.is_null().to_numpy(zero_copy_only=False)
        chunks.append(pa.array(values, numbers, mask=missing).cast(kind))
    return pa.chunked_array(chunks, kind)


def _bounded_days(days: Integers) -> Integers:
    return np.where(np.abs(days) > _DAYS, np.sign(days) * _LAST_DAY, days)


def _bounded_times(numbers: Integers, factor: int) -> Integers:
    late, early = numbers > _FOREVER // factor, numbers < -(-_FIRST // factor)
    times = np.where(late | early, 0, numbers) * factor
    return np.where(late, _FOREVER, np.where(early, -_FOREVER, times))
