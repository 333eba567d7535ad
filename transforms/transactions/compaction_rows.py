"""Read the rows of a compaction: the live rows of old parts, without splitting a document."""

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.parts import PartFormat, open_part, open_rejects
from transforms.catalog.plan import Part, Plan
from transforms.catalog.segment import PartInfo
from transforms.catalog.snapshot import SegmentRef
from transforms.ingest.part_tables import (
    BYTES_PER_CHUNK,
    ROWS_PER_CHUNK,
    join_tables,
    mark_chunks,
)
from transforms.ingest.read_parts import Reader
from transforms.storage import filesystem
from transforms.storage.column_types import cast_column
from transforms.storage.parquet_files import reading
from transforms.storage.schema import (
    FILE,
    REJECT_COLUMNS,
    REJECT_SCHEMA,
    ROW,
    SOURCE_FIELDS,
    TOKEN_FIELD,
)
from transforms.transactions.compaction import Source, compacted_format


def open_live(chosen: Sequence[SegmentRef], paths: SegmentPaths, plan: Plan) -> Reader:  # noqa: ARG001
    """Return `read_live` for the parts of a compaction of the chosen segments."""
    sources = [Source.open(paths.store, ref) for ref in chosen]
    return functools.partial(read_live, sources, form=compacted_format(sources))


def read_live(sources: Sequence[Source], part: Part, form: PartFormat) -> Iterator[pa.Table]:
    """Yield the live rows of a new part as marked tables, with their vectors, then its rejects.

    The tables have the columns of ``form`` and ``_file, _row, _reject, _tokens``. Metadata columns
    that a segment lacks are null. The passages of a document are in one table.
    """
    yield from mark_chunks(part.number, join_tables(_read_slices(sources, part, form)))


def _read_slices(sources: Sequence[Source], part: Part, form: PartFormat) -> Iterator[pa.Table]:
    documents = 0
    for piece in part.slices:
        source = sources[piece.file]
        old = source.info.parts[piece.row_group]
        mask = source.mask(piece.row_group)
        for table in whole_documents(source.paths, old, mask):
            ids = table.column("document_id").combine_chunks()
            new = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
            places = np.concatenate([[0], np.cumsum(new)]) + documents
            documents = int(places[-1]) + 1
            own = {ROW: pa.array(places, pa.int64()), FILE: pa.array([""] * len(ids), pa.string())}
            yield _with_columns(table, form, own)
        if old.rejects_name:
            url = filesystem.join(source.paths.rejects, old.rejects_name)
            with open_rejects(source.paths, old) as file, reading(url):
                rejects = file.read(REJECT_SCHEMA.names)
            yield _with_columns(rejects.rename_columns(list(REJECT_COLUMNS)), form, {})


def whole_documents(
    paths: SegmentPaths,
    part: PartInfo,
    mask: npt.NDArray[np.bool_],
    columns: Sequence[str] | None = None,
) -> Iterator[pa.Table]:
    """Yield the live rows of an old part in tables that do not split a document.

    Args:
        paths: the segment.
        part: one of its parts.
        mask: which rows of the part are live.
        columns: columns of the part, with ``document_id`` among them; all by default.
    """
    if not mask.any():
        return
    place, rest = 0, None
    with (
        open_part(paths, part) as file,
        reading(filesystem.join(paths.vectors, part.name)),
    ):
        size = sum(file.metadata.row_group(g).total_byte_size for g in range(file.num_row_groups))
        rows = max(min(ROWS_PER_CHUNK, BYTES_PER_CHUNK // max(size // part.rows, 1)), 1)
        for batch in file.iter_batches(rows, columns=columns):
            table = pa.Table.from_batches([batch])
            table = table.filter(pa.array(mask[place : place + batch.num_rows]))
            place += batch.num_rows
            table = table if rest is None else pa.concat_tables([rest, table])
            last = _start_of_last(table)
            if last:
                yield table.slice(0, last)
            rest = table.slice(last)
    if rest is not None and rest.num_rows:
        yield rest


def _start_of_last(table: pa.Table) -> int:
    """Return the place where the passages of the last document start."""
    if not table.num_rows:
        return 0
    ids = table.column("document_id").combine_chunks()
    other = np.flatnonzero(pc.not_equal(ids, ids[-1]).to_numpy(zero_copy_only=False))
    return int(other[-1]) + 1 if len(other) else 0


def _with_columns(table: pa.Table, form: PartFormat, own: dict[str, pa.Array]) -> pa.Table:
    """Return the table with all columns of a chunk in their order; missing ones are null."""
    columns = []
    schema = pa.schema([*form.schema, *SOURCE_FIELDS, TOKEN_FIELD])
    for field in schema:
        if field.name in own:
            columns.append(own[field.name])
        elif field.name in table.column_names:
            columns.append(cast_column(table.column(field.name), field.type))
        else:
            columns.append(pa.nulls(table.num_rows, field.type))
    return pa.table(columns, schema=schema)
