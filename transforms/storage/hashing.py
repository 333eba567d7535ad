"""Content hashes of texts and of metadata rows."""

import hashlib
import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from transforms.storage.arrow_values import LACKING, map_type, plain_value
from transforms.storage.schema import HASH


def text_hashes(texts: pa.Array) -> pa.Array:
    """Return BLAKE2b-128 of each text's UTF-8 bytes; null for null."""
    values = texts.cast(pa.large_binary()).to_pylist()
    return pa.array([None if value is None else _digest(value) for value in values], HASH)


def metadata_hashes(
    columns: dict[str, pa.Array], rows: int, schema: pa.Schema | None = None
) -> pa.Array:
    """Return BLAKE2b-128 of each row's metadata: names, types and values, in any column order.

    Args:
        columns: the columns by name, each of ``rows`` values.
        rows: the number of rows; there may be no columns.
        schema: the columns' types; by default those that they have. Equal types may differ in the
            names of what is in lists.
    """
    names = sorted(columns)
    kinds = columns if schema is None else {name: schema.field(name) for name in names}
    types = {name: str(kinds[name].type) for name in names}
    head = json.dumps(types, sort_keys=True).encode()
    if not names:
        return pa.array([_digest(head)] * rows, HASH)
    values = [_plain_values(columns[name]) for name in names]
    return pa.array([_digest(head + _canonical(row)) for row in zip(*values, strict=True)], HASH)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _canonical(row: tuple[Any, ...]) -> bytes:
    return json.dumps(row, sort_keys=True, default=_encode_other).encode()


def _encode_other(value: Any) -> str:
    if isinstance(value, bytes):
        return "bytes:" + value.hex()
    return f"{type(value).__name__}:{value}"


def _plain_values(column: pa.Array) -> list[Any]:
    target = _without_time(column.type)
    plain = column if target == column.type else pc.cast(column, target)
    try:
        return plain.to_pylist()  # type: ignore[no-any-return]
    except LACKING:
        # Values that Python has are hashed as in a column without such that it lacks.
        return [plain_value(value) for value in plain]


def _without_time(kind: pa.DataType) -> pa.DataType:
    """Return the type with times as integers: Python has no nanoseconds without pandas."""
    return map_type(kind, _time_as_integer)


def _time_as_integer(kind: pa.DataType) -> pa.DataType:
    if pt.is_timestamp(kind) or pt.is_time64(kind) or pt.is_duration(kind) or pt.is_date64(kind):
        return pa.int64()
    return kind
