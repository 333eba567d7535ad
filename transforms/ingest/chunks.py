"""Chunk marks: which piece of which part a table is.

Between the stages of the pipeline a chunk of a part travels as one ``pa.Table``.
"""

import json
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from transforms.errors import BadInput
from transforms.storage.schema import FILE, ROW, TOKENS

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


def count_tokens(table: pa.Table) -> int:
    """How many token ids the rows of a table hold, special tokens counted."""
    return int(pc.sum(pc.list_value_length(table.column(TOKENS))).as_py() or 0)


def count_rows(table: pa.Table) -> int:
    """How many input rows the rows of a chunk come from; a row's passages lie in one chunk."""
    return int(table.group_by([FILE, ROW]).aggregate([]).num_rows)
