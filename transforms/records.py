"""Arrow schemas, chunk marks, content hashes, and values for people.

Between the stages of the pipeline a chunk of a part travels as one ``pa.Table``. Columns whose name
starts with an underscore belong to the pipeline and are never written.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from transforms.errors import BadInput

HASH = pa.binary(16)

#: The columns of a passage before embedding, in the order in which they are written.
PASSAGE_FIELDS: tuple[pa.Field, ...] = (
    pa.field("document_id", pa.string()),
    pa.field("passage", pa.int32()),
    pa.field("start", pa.int32()),
    pa.field("end", pa.int32()),
    pa.field("text", pa.string()),
    pa.field("text_hash", HASH),
    pa.field("metadata_hash", HASH),
)
#: The pipeline's own columns: where a row came from, why it is refused, its token ids.
FILE, ROW, REJECT, TOKENS = "_file", "_row", "_reject", "_tokens"
SOURCE_FIELDS: tuple[pa.Field, ...] = (
    pa.field(FILE, pa.string()),
    pa.field(ROW, pa.int64()),
    pa.field(REJECT, pa.string()),
)
TOKEN_FIELD: pa.Field = pa.field(TOKENS, pa.list_(pa.int32()))
VECTOR = "vector"
RESERVED = frozenset(
    [field.name for field in (*PASSAGE_FIELDS, *SOURCE_FIELDS, TOKEN_FIELD)] + [VECTOR]
)
REJECT_SCHEMA: pa.Schema = pa.schema(
    [
        ("document_id", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("reason", pa.string()),
        ("text_hash", HASH),
    ]
)
#: The columns of a chunk that `REJECT_SCHEMA` names, in its order.
REJECT_COLUMNS = ("document_id", FILE, ROW, REJECT, "text_hash")
#: Why a text is rejected that is all blanks to the tokenizer: known only once it is tokenized.
NO_TOKENS = "no tokens"

#: Where Beam counts what albeam does.
METRICS = "albeam"

_CHUNK_KEY = b"albeam.chunk"


@dataclass(frozen=True)
class Chunk:
    """Which piece of which part a table is. The pieces of one part follow each other in order."""

    part: int
    number: int
    last: bool
    segment: str = ""


def mark_chunk(table: pa.Table, chunk: Chunk) -> pa.Table:
    """The same table with ``chunk`` in its schema's metadata."""
    value = json.dumps([chunk.part, chunk.number, chunk.last, chunk.segment])
    return table.replace_schema_metadata({_CHUNK_KEY: value.encode()})


def chunk_of(table: pa.Table) -> Chunk:
    """The chunk that `mark_chunk` wrote.

    Raises:
        BadInput: the table was not read by `ReadParts`.
    """
    value = (table.schema.metadata or {}).get(_CHUNK_KEY)
    if value is None:
        raise BadInput(
            f"table with columns {table.column_names} carries no chunk mark; "
            "write only tables that ReadParts read"
        )
    return Chunk(*json.loads(value))


def text_hashes(texts: pa.Array) -> pa.Array:
    """BLAKE2b-128 of each text's UTF-8 bytes; null for null."""
    values = texts.cast(pa.large_binary()).to_pylist()
    return pa.array([None if value is None else _digest(value) for value in values], HASH)


def metadata_hashes(columns: dict[str, pa.Array], rows: int) -> pa.Array:
    """BLAKE2b-128 of each row's metadata, from names, types and values; column order is ignored.

    Args:
        columns: name to values, each of ``rows`` values.
        rows: how many rows there are, with or without columns.
    """
    names = sorted(columns)
    types = {name: str(columns[name].type) for name in names}
    head = json.dumps(types, sort_keys=True).encode()
    if not names:
        return pa.array([_digest(head)] * rows, HASH)
    values = [_plain_values(columns[name]) for name in names]
    return pa.array([_digest(head + _canonical(row)) for row in zip(*values, strict=True)], HASH)


def vectors_to_arrow(vectors: npt.NDArray[np.floating[Any]], dtype: pa.DataType) -> pa.Array:
    """Vectors of shape ``[rows, dim]`` as a fixed-size list array of ``dtype``, float32 or float16.

    A row with a value that is not finite in ``dtype`` becomes null.
    """
    rows, dim = vectors.shape
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(vectors).astype(dtype.to_pandas_dtype(), copy=False)
    flat = pa.array(vectors.reshape(-1))
    finite = np.isfinite(vectors).all(axis=1)
    mask = None if finite.all() else pa.array(~finite)
    assert len(flat) == rows * dim
    return pa.FixedSizeListArray.from_arrays(flat, dim, mask=mask)


def vectors_to_numpy(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.float32]:
    """A vector column without nulls as a float32 array of shape ``[rows, dim]``."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    dim = column.type.list_size
    # `flatten`, not `values`: a slice's `values` are its parent's.
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, dim).astype(np.float32, copy=False)  # type: ignore[no-any-return]


def question_vectors(vectors: npt.ArrayLike, dim: int) -> npt.NDArray[np.float32]:
    """Vectors to search for, as float32 ``[n, dim]`` that lies in one piece.

    Raises:
        BadInput: they have another shape, are no numbers, or one is not finite.
    """
    try:
        # What float32 can't hold becomes infinite, which is told below.
        with np.errstate(over="ignore"):
            found = np.ascontiguousarray(vectors, np.float32)
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"question vectors can't be taken for numbers: {error}; the store needs [n, {dim}]"
        ) from error
    if found.ndim != 2 or found.shape[1] != dim:
        raise BadInput(f"question vectors of shape {found.shape}; the store needs [n, {dim}]")
    wrong = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(wrong):
        raise BadInput(
            f"question vector {int(wrong[0])} has a number that is not finite; leave it out"
        )
    return found


def count_tokens(table: pa.Table) -> int:
    """How many token ids the rows of a table hold, special tokens counted."""
    return int(pc.sum(pc.list_value_length(table.column(TOKENS))).as_py() or 0)


def count_rows(table: pa.Table) -> int:
    """How many input rows the rows of a chunk come from; a row's passages lie in one chunk."""
    return int(table.group_by([FILE, ROW]).aggregate([]).num_rows)


def plain_rows(table: pa.Table) -> list[dict[str, Any]]:
    """The rows as Python values; times with nanoseconds, which Python lacks, as text."""
    for place, field in enumerate(table.schema):
        kind = _map_type(field.type, _time_as_text)
        if kind != field.type:
            table = table.set_column(place, field.name, pc.cast(table.column(place), kind))
    return table.to_pylist()  # type: ignore[no-any-return]


def plain_column(values: list[Any], kind: pa.DataType) -> pa.Array:
    """A column of what `plain_rows` made of one; a dictionary's values are counted anew."""
    if pt.is_dictionary(kind):
        return plain_column(values, kind.value_type).dictionary_encode().cast(kind)
    numbers = _map_type(kind, _time_as_number)
    if numbers == _map_type(kind, _same):
        return pa.array(values, kind)
    return pa.array([_text_as_number(value, kind) for value in values], numbers).cast(kind)


def without_views(kind: pa.DataType) -> pa.DataType:
    """The type with string views as strings: Arrow can neither filter nor take from views."""
    return _map_type(kind, _without_view)


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
    """A value in which `_time_as_text` was done, with the nanoseconds of such times instead."""
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
    return (column if target == column.type else pc.cast(column, target)).to_pylist()  # type: ignore[no-any-return]


def _without_time(kind: pa.DataType) -> pa.DataType:
    """The type with times as integers: a nanosecond has no Python value without pandas."""
    return _map_type(kind, _time_as_integer)


def _time_as_integer(kind: pa.DataType) -> pa.DataType:
    if pt.is_timestamp(kind) or pt.is_time64(kind) or pt.is_duration(kind) or pt.is_date64(kind):
        return pa.int64()
    return kind


def _map_type(kind: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """The type with ``change`` made to each of its leaves; dictionaries become their values."""
    if pt.is_dictionary(kind):
        return _map_type(kind.value_type, change)
    if pt.is_struct(kind):
        return pa.struct([field.with_type(_map_type(field.type, change)) for field in kind])
    if pt.is_map(kind):
        return pa.map_(_map_type(kind.key_type, change), _map_type(kind.item_type, change))
    if pt.is_fixed_size_list(kind):
        return pa.list_(_map_type(kind.value_type, change), kind.list_size)
    if pt.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_map_type(kind.value_type, change)))
    if pt.is_list(kind):
        return pa.list_(kind.value_field.with_type(_map_type(kind.value_type, change)))
    return change(kind)
