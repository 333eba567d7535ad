"""Chunks: the bounds of a table, and the mark that says which chunk of which part it is.

Between the stages of the pipeline, a chunk of a part is one ``pa.Table``.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from transforms.errors import BadInput, Damaged
from transforms.storage.schema import FILE, ROW, TOKENS

#: The bounds of a chunk, the unit of rows that is held in memory.
ROWS_PER_CHUNK = 2_048
BYTES_PER_CHUNK = 8 << 20
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


def mark_chunks(part: int, tables: Iterable[pa.Table], segment: str = "") -> Iterator[pa.Table]:
    """Mark each table of a part with its place among them, and with a segment if one is given."""
    previous: pa.Table | None = None
    number = 0
    for table in tables:
        if previous is not None:
            yield mark_chunk(previous, Chunk(part, number, False, segment))
            number += 1
        previous = table
    if previous is None:
        raise Damaged("part", part, "has no rows in the plan", "Start again with a new store")
    yield mark_chunk(previous, Chunk(part, number, True, segment))


def join_tables(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Join small tables, in order, up to the bounds of a chunk."""
    pending: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        if pending and (
            rows + table.num_rows > ROWS_PER_CHUNK or size + table.nbytes > BYTES_PER_CHUNK
        ):
            yield pa.concat_tables(pending)
            pending, rows, size = [], 0, 0
        pending.append(table)
        rows += table.num_rows
        size += table.nbytes
    if pending:
        yield pa.concat_tables(pending)


def bounded(table: pa.Table) -> Iterator[pa.Table]:
    """Halve a table until it fits into a chunk or has one row."""
    if table.num_rows > 1 and table.nbytes > BYTES_PER_CHUNK:
        middle = table.num_rows // 2
        yield from bounded(table.slice(0, middle))
        yield from bounded(table.slice(middle))
    else:
        yield table


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
