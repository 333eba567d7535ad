"""Chunk marks: which chunk of which part a table is.

Between the stages of the pipeline, a chunk of a part is one ``pa.Table``.
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
    """The place of a table in its part. The chunks of a part follow each other in order."""

    part: int
    number: int
    last: bool
    segment: str = ""


def mark_chunk(table: pa.Table, chunk: Chunk) -> pa.Table:
    """Return the table with ``chunk`` in its schema metadata."""
    value = json.dumps([chunk.part, chunk.number, chunk.last, chunk.segment])
    return table.replace_schema_metadata({_CHUNK_KEY: value.encode()})


def chunk_of(table: pa.Table) -> Chunk:
    """Return the chunk that `mark_chunk` wrote.

    Raises:
        BadInput: `ReadParts` did not read the table.
    """
    value = (table.schema.metadata or {}).get(_CHUNK_KEY)
    if value is None:
        raise BadInput(
            "table",
            None,
            f"has no chunk mark; its columns are {', '.join(table.column_names)}",
            "Write only tables that ReadParts read",
        )
    return Chunk(*json.loads(value))


def count_tokens(table: pa.Table) -> int:
    """Return the number of token ids in a table, including special tokens."""
    return int(pc.sum(pc.list_value_length(table.column(TOKENS))).as_py() or 0)


def count_rows(table: pa.Table) -> int:
    """Return the number of input rows of a chunk; all passages of a row are in one chunk."""
    return int(table.group_by([FILE, ROW]).aggregate([]).num_rows)
