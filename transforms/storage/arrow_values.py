"""Conversion of Arrow values to Python values and back."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from transforms.storage.time_texts import PER_SECOND, time_number, time_text

_PER_DAY = {unit: 86_400 * count for unit, count in PER_SECOND.items()}

#: What a value raises that Python lacks: a far date, an unknown zone.
LACKING = (ArithmeticError, ValueError, LookupError)


def plain_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows as Python values; see `plain_values`."""
    if not table.num_columns:
        return [{} for _ in range(table.num_rows)]
    columns = [plain_values(column) for column in table.columns]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def plain_values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return the values of a column as Python values.

    What Python can't hold is text: times with nanoseconds, dates and times before the year 1 or
    after 9999, those of a zone that is unknown here. Durations in nanoseconds are numbers.
    """
    kind = map_type(column.type, _time_as_text)
    if map_type(column.type, _doubtful_as_null) == map_type(column.type, _same):
        try:
            return _listed(column if kind == column.type else pc.cast(column, kind))
        except LACKING:
            pass
    return [plain_value(value) for value in column]


def _listed(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    return column.to_pylist()  # type: ignore[no-any-return]


def plain_value(value: pa.Scalar) -> Any:
    """Return one value as `plain_values` does."""
    kind = value.type
    if not value.is_valid:
        return None
    if pt.is_dictionary(kind):
        return plain_value(value.value)
    if pt.is_struct(kind):
        return {field.name: plain_value(value[place]) for place, field in enumerate(kind)}
    if pt.is_map(kind):
        pairs = (value.values[place] for place in range(len(value.values)))
        return [(plain_value(pair[0]), plain_value(pair[1])) for pair in pairs]
    if hasattr(kind, "value_type"):
        return [plain_value(each) for each in value.values]
    return _plain_time(value, kind) if pt.is_temporal(kind) else value.as_py()


def _plain_time(value: pa.Scalar, kind: pa.DataType) -> Any:
    number = int(value.value)
    if pt.is_duration(kind) and kind.unit == "ns":
        return number
    if not pt.is_time(kind) or 0 <= number < _PER_DAY[kind.unit]:
        try:
            if _time_as_text(kind) == kind:
                return value.as_py()
            text = value.cast(pa.string()).as_py()
            if _number_of(text, kind) == number:
                return text
        except LACKING:
            pass
    return time_text(number, kind)


def plain_column(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Return the column whose values `plain_rows` returned; dictionaries are encoded again."""
    if pt.is_dictionary(kind):
        return plain_column(values, kind.value_type).dictionary_encode().cast(kind)
    if map_type(kind, _time_as_text) == map_type(kind, _same):
        try:
            return pa.array(values, kind)
        except (pa.ArrowException, *LACKING):
            if map_type(kind, _time_as_number) == map_type(kind, _same):
                raise
    numbers = map_type(kind, _time_as_number)
    return pa.array([_text_as_number(value, kind) for value in values], numbers).cast(kind)


def without_views(kind: pa.DataType) -> pa.DataType:
    """Return the type with views as strings: Arrow can neither filter views nor take from them."""
    return map_type(kind, _without_view)


def _without_view(kind: pa.DataType) -> pa.DataType:
    if pt.is_string_view(kind):
        return pa.string()
    return pa.binary() if pt.is_binary_view(kind) else kind


def _time_as_text(kind: pa.DataType) -> pa.DataType:
    if pt.is_duration(kind) and kind.unit == "ns":
        return pa.int64()
    if (pt.is_timestamp(kind) or pt.is_time64(kind)) and kind.unit == "ns":
        return pa.string()
    return kind


def _doubtful_as_null(kind: pa.DataType) -> pa.DataType:
    """Return null for times whose value or text may differ from what Arrow holds.

    Python takes times of a day modulo 24 hours. Offsets from UTC in texts have no seconds, which
    they had in the 19th century.
    """
    local = pt.is_timestamp(kind) and kind.unit == "ns" and kind.tz not in (None, "UTC")
    return pa.null() if pt.is_time(kind) or local else kind


def _same(kind: pa.DataType) -> pa.DataType:
    return kind


def _time_as_number(kind: pa.DataType) -> pa.DataType:
    if pt.is_date32(kind) or pt.is_time32(kind):
        return pa.int32()
    return pa.int64() if pt.is_temporal(kind) else kind


def _text_as_number(value: Any, kind: pa.DataType) -> Any:
    """Return a value of `plain_rows` with its dates and times as numbers."""
    if value is None:
        return None
    if pt.is_dictionary(kind):
        return _text_as_number(value, kind.value_type)
    if pt.is_struct(kind):
        return {field.name: _text_as_number(value.get(field.name), field.type) for field in kind}
    if pt.is_map(kind):
        kinds = kind.key_type, kind.item_type
        return [tuple(map(_text_as_number, pair, kinds)) for pair in value]
    if hasattr(kind, "value_type"):
        return [_text_as_number(each, kind.value_type) for each in value]
    if not pt.is_temporal(kind):
        return value
    if not isinstance(value, str):
        if isinstance(value, timedelta):
            # Arrow takes no duration near the end of its own range.
            return value // timedelta(microseconds=1) * PER_SECOND[kind.unit] // 1_000_000
        return value if isinstance(value, int) else pa.scalar(value, kind).value
    return _number_of(value, kind)


def _number_of(text: str, kind: pa.DataType) -> int:
    number = time_number(text, kind)
    # Other texts have an offset from UTC.
    return int(pa.scalar(text).cast(kind).value) if number is None else number


def map_type(kind: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """Return the type with ``change`` applied to each leaf; dictionaries become their values."""
    if pt.is_dictionary(kind):
        return map_type(kind.value_type, change)
    if pt.is_struct(kind):
        return pa.struct([field.with_type(map_type(field.type, change)) for field in kind])
    if pt.is_map(kind):
        return pa.map_(map_type(kind.key_type, change), map_type(kind.item_type, change))
    if pt.is_fixed_size_list(kind):
        return pa.list_(map_type(kind.value_type, change), kind.list_size)
    if pt.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(map_type(kind.value_type, change)))
    if pt.is_list(kind):
        return pa.list_(kind.value_field.with_type(map_type(kind.value_type, change)))
    return change(kind)
