"""Conversion of Arrow values to Python values and back."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt


def plain_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows as Python values; times with nanoseconds, which Python lacks, as text."""
    for place, field in enumerate(table.schema):
        kind = map_type(field.type, _time_as_text)
        if kind != field.type:
            table = table.set_column(place, field.name, pc.cast(table.column(place), kind))
    return table.to_pylist()  # type: ignore[no-any-return]


def plain_column(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Return the column whose values `plain_rows` returned; dictionaries are encoded again."""
    if pt.is_dictionary(kind):
        return plain_column(values, kind.value_type).dictionary_encode().cast(kind)
    numbers = map_type(kind, _time_as_number)
    if numbers == map_type(kind, _same):
        return pa.array(values, kind)
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


def _same(kind: pa.DataType) -> pa.DataType:
    return kind


def _time_as_number(kind: pa.DataType) -> pa.DataType:
    return kind if _time_as_text(kind) == kind else pa.int64()


def _text_as_number(value: Any, kind: pa.DataType) -> Any:
    """Return a value of `plain_rows` with its texts of times as integer nanoseconds."""
    if value is None:
        return None
    if pt.is_dictionary(kind):
        return _text_as_number(value, kind.value_type)
    if pt.is_struct(kind):
        return {field.name: _text_as_number(value[field.name], field.type) for field in kind}
    if pt.is_map(kind):
        kinds = kind.key_type, kind.item_type
        return [tuple(map(_text_as_number, pair, kinds)) for pair in value]
    if pt.is_fixed_size_list(kind) or pt.is_large_list(kind) or pt.is_list(kind):
        return [_text_as_number(each, kind.value_type) for each in value]
    if not isinstance(value, str) or _time_as_text(kind) == kind:
        return value
    if pt.is_time64(kind):
        value, kind = f"1970-01-01 {value}", pa.timestamp("ns")
    return pa.scalar(value).cast(kind).value


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
