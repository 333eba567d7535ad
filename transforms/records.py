"""Arrow schemas, the Arrow-IPC coder, and content hashes.

Between the stages of the pipeline a chunk of a part travels as one ``pa.Table``. Columns whose name
starts with an underscore belong to the pipeline and are never written.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
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
    ]
)

#: Where Beam counts what albeam does.
METRICS = "albeam"

_CHUNK_KEY = b"albeam.chunk"


class ArrowTableCoder(beam.coders.Coder):
    """Arrow IPC for a ``pa.Table``, so that a slice ships its own rows and not its parent's."""

    def encode(self, value: pa.Table) -> bytes:
        """The table as one IPC stream."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write_table(value)
        return bytes(sink.getvalue())

    def decode(self, encoded: bytes) -> pa.Table:
        """The table of an IPC stream."""
        return pa.ipc.open_stream(encoded).read_all()

    def estimate_size(self, value: pa.Table) -> int:
        """The bytes of the rows; asked for every element, so it must not encode."""
        return int(value.nbytes)

    def is_deterministic(self) -> bool:
        """Whether equal tables give equal bytes: no, chunking shows in the stream."""
        return False

    def to_type_hint(self) -> type:
        """The element type."""
        return pa.Table  # type: ignore[no-any-return]

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


beam.coders.registry.register_coder(pa.Table, ArrowTableCoder)


@dataclass(frozen=True)
class Chunk:
    """Which piece of which part a table is. The pieces of one part follow each other in order."""

    part: int
    number: int
    last: bool


def mark_chunk(table: pa.Table, chunk: Chunk) -> pa.Table:
    """The same table with ``chunk`` in its schema's metadata."""
    value = json.dumps([chunk.part, chunk.number, chunk.last])
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


def text_hashes(texts: Sequence[str | None]) -> pa.Array:
    """BLAKE2b-128 of each text's UTF-8 bytes; null for null."""
    return pa.array([None if text is None else _digest(text.encode()) for text in texts], HASH)


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


def count_tokens(table: pa.Table) -> int:
    """How many token ids the rows of a table hold, special tokens counted."""
    return int(pc.sum(pc.list_value_length(table.column(TOKENS))).as_py() or 0)


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
    if pt.is_timestamp(kind) or pt.is_time64(kind) or pt.is_duration(kind) or pt.is_date64(kind):
        return pa.int64()
    if pt.is_dictionary(kind):
        return _without_time(kind.value_type)
    if pt.is_struct(kind):
        return pa.struct([field.with_type(_without_time(field.type)) for field in kind])
    if pt.is_map(kind):
        return pa.map_(_without_time(kind.key_type), _without_time(kind.item_type))
    if pt.is_fixed_size_list(kind):
        return pa.list_(_without_time(kind.value_type), kind.list_size)
    if pt.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_without_time(kind.value_type)))
    if pt.is_list(kind):
        return pa.list_(kind.value_field.with_type(_without_time(kind.value_type)))
    return kind
