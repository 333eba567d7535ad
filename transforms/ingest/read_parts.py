"""Read the rows of a part from the input files in chunks, and mark those that can't be embedded."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

import apache_beam as beam
import numpy as np
import pyarrow as pa

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.plan import Part, Plan, Slice
from transforms.errors import BadInput, Damaged, first_line
from transforms.ingest.input_rows import InputRows
from transforms.ingest.label_column import label_marks
from transforms.ingest.part_tables import (
    BYTES_PER_CHUNK,
    ROWS_PER_CHUNK,
    bounded,
    join_tables,
    mark_chunks,
)
from transforms.ingest.row_errors import built
from transforms.ingest.survey import Survey
from transforms.runtime.checked_fn import CheckedFn
from transforms.storage import (
    arrow_coder,  # noqa: F401
    filesystem,
    input_files,
)
from transforms.storage.filesystem import FileInfo
from transforms.storage.hashing import metadata_hashes
from transforms.storage.parquet_files import CheckedFile
from transforms.storage.schema import FILE, REJECT, ROW


def read_part(plan: Plan, part: Part) -> Iterator[pa.Table]:
    """Yield the rows of a part as marked tables, each bounded in rows and in bytes.

    The tables have the columns ``document_id, text, metadata_hash, _file, _row, _reject`` and the
    metadata columns. A row without an id, without text or with blank text has the reason in
    ``_reject``.
    """
    yield from mark_chunks(part.number, read_chunks(plan, part))


def reject_reasons(ids: list[str | None], texts: list[str | None]) -> list[str | None]:
    """Return for each document why it can't be embedded; None if it can."""
    reasons: list[str | None] = []
    for identifier, text in zip(ids, texts, strict=True):
        if identifier is None:
            reasons.append("null id")
        elif text is None:
            reasons.append("null text")
        elif not text:
            reasons.append("empty text")
        elif not text.strip():
            reasons.append("blank text")
        else:
            reasons.append(None)
    return reasons


def read_chunks(plan: Plan, part: Part) -> Iterator[pa.Table]:
    """Yield the rows of a part as tables without chunk marks."""
    yield from join_tables(
        table for batch in read_slices(plan, *part.slices) for table in bounded(batch)
    )


def read_slices(plan: Plan | Survey, *pieces: Slice) -> Iterator[pa.Table]:
    """Yield the rows of slices as `read_part` does, in tables of bounded size.

    A file is opened once for slices of it that follow each other.
    """
    columns = plan.columns
    wanted = [columns.id_column, columns.text_column, *(old for _, old in columns.metadata)]

    def build(rows: InputRows) -> pa.Table:
        return _source_table(rows, plan)

    yield from _read(plan, pieces, wanted, build)


def read_ids(plan: Plan | Survey, *pieces: Slice) -> Iterator[pa.Table]:
    """Yield ``document_id, _row`` of the rows of slices; an id that is not UTF-8 is null."""
    column = plan.columns.id_column

    def build(rows: InputRows) -> pa.Table:
        ids, _ = _strings(rows.required(column))
        return pa.table({"document_id": pa.array(ids, pa.string()), ROW: pa.array(rows.places)})

    yield from _read(plan, pieces, [column], build)


def read_columns(plan: Plan | Survey, columns: list[str], *pieces: Slice) -> Iterator[pa.Table]:
    """Yield columns of files, unchanged and in this order, and ``_row``."""

    def build(rows: InputRows) -> pa.Table:
        table = pa.table([rows.required(name) for name in columns], columns)
        return table.append_column(ROW, pa.array(rows.places))

    yield from _read(plan, pieces, columns, build)


def _read(
    plan: Plan | Survey,
    pieces: Sequence[Slice],
    wanted: list[str],
    build: Callable[[InputRows], pa.Table],
) -> Iterator[pa.Table]:
    """Apply ``build`` to the rows of slices. Columns that a file lacks are left out.

    Raises:
        BadInput: a file changed since it was listed, or can't be read.
    """
    for number, group in groupby(pieces, lambda piece: piece.file):
        yield from _read_file(plan, plan.files[number], list(group), wanted, build)


def _read_file(
    plan: Plan | Survey,
    file: FileInfo,
    pieces: Sequence[Slice],
    wanted: list[str],
    build: Callable[[InputRows], pa.Table],
) -> Iterator[pa.Table]:
    piece = pieces[0]
    with filesystem.open_input(file.url) as source:
        input_files.check_unchanged(file)
        try:
            parquet = CheckedFile(source)
            for piece in pieces:
                # Rows that no slice has are read too, or else a page that is lost before them would
                # shift the rows of one column without a word.
                to_end = isinstance(plan, Plan) and plan.ends_group(piece)
                place = 0
                for rows in _batches(parquet, file.url, piece, wanted):
                    chosen = piece.chosen(place, place + rows.count)
                    if len(chosen):
                        yield built(
                            build, rows.take(chosen - place, chosen - piece.start + piece.row)
                        )
                    place += rows.count
                    if place >= piece.stop and not to_end:
                        break
                if place < piece.stop:
                    raise pa.ArrowInvalid(f"it has {place} rows, but {piece.stop} are planned")
            input_files.check_unchanged(file)
        except (TimeoutError, ConnectionError):
            raise
        except (pa.ArrowException, OSError) as error:
            reason = first_line(error)
            group = f"row group {piece.row_group} "
            raise BadInput(
                "input file",
                file.url,
                reason if reason.startswith(group) else f"{group}can't be read: {reason}",
                "Replace or remove the file and run again",
            ) from error


def _batches(
    parquet: CheckedFile, url: str, piece: Slice, wanted: list[str]
) -> Iterator[InputRows]:
    columns = parquet.columns
    places = sorted({place for place in map(columns.place, wanted) if place is not None})
    names = [columns.names[place] for place in places]
    leaves = [leaf for place in places for leaf in columns.leaves[place]]
    group = parquet.metadata.row_group(piece.row_group)
    per_row = max(group.total_byte_size // max(group.num_rows, 1), 1)
    size = max(min(ROWS_PER_CHUNK, BYTES_PER_CHUNK // per_row), 1)
    for batch in parquet.iter_leaves(size, piece.row_group, leaves):
        # The file's own names may not be UTF-8.
        found = dict(zip(names, batch.rename_columns(names).columns, strict=True))
        yield InputRows(url, columns, found, np.arange(batch.num_rows))


def _source_table(rows: InputRows, plan: Plan | Survey) -> pa.Table:
    columns = plan.columns
    ids, broken_ids = _strings(rows.required(columns.id_column))
    texts, broken_texts = _strings(rows.required(columns.text_column))
    reasons = reject_reasons(ids, texts)
    for broken, what in ((broken_texts, "text"), (broken_ids, "id")):
        for place in broken:
            reasons[place] = f"{what} is not UTF-8"
    metadata = {new: rows.column(old, plan.schema.field(new).type) for new, old in columns.metadata}
    try:
        marks = label_marks(columns, rows.count)
        hashes = metadata_hashes(metadata | marks, rows.count, plan.schema)
    except UnicodeDecodeError as error:
        # Ids and texts that are not UTF-8 become rejects.
        raise rows.undecodable(old for _, old in columns.metadata) or error from error
    table = pa.table(
        {
            "document_id": pa.array(ids, pa.string()),
            "text": pa.array(texts, pa.string()),
            "metadata_hash": hashes,
            FILE: pa.array([rows.url] * rows.count, pa.string()),
            ROW: pa.array(rows.places, pa.int64()),
            REJECT: pa.array(reasons, pa.string()),
        }
    )
    for name, values in metadata.items():
        table = table.append_column(plan.schema.field(name), values)
    return table


def _strings(column: pa.Array) -> tuple[list[str | None], list[int]]:
    """Return a column as Python strings, and the places that are not UTF-8, which become None."""
    column = column.cast(pa.string())
    try:
        return column.to_pylist(), []
    except UnicodeDecodeError:
        values: list[str | None] = []
        broken: list[int] = []
        for place, value in enumerate(column):
            try:
                values.append(value.as_py())
            except UnicodeDecodeError:
                values.append(None)
                broken.append(place)
        return values, broken


#: Reads the rows of one part of a plan as marked tables.
Reader = Callable[[Part], Iterator[pa.Table]]


def open_input(paths: SegmentPaths, plan: Plan) -> Reader:  # noqa: ARG001
    """Return `read_part` for the parts of a plan."""
    return functools.partial(read_part, plan)


class _ReadFn(CheckedFn):
    def __init__(self, paths: SegmentPaths, reader: Callable[[SegmentPaths, Plan], Reader]) -> None:
        super().__init__()
        self._paths, self._open = paths, reader

    def setup(self) -> None:
        super().setup()
        plan = self._paths.read_plan()
        if plan is None:
            raise Damaged("plan", self._paths.plan, "is missing", "Run the same command again")
        self._plan, self._read = plan, self._open(self._paths, plan)

    def process(self, element: int) -> Iterator[pa.Table]:
        # A bundle that is retried skips the parts that its first attempt finished.
        if self._paths.read_marker(element) is None:
            yield from self._read(self._plan.parts[element])


class ReadParts(beam.PTransform):
    """The transform that reads the rows of a segment's unfinished parts as tables."""

    def __init__(
        self,
        paths: SegmentPaths,
        parts: Iterable[int],
        reader: Callable[[SegmentPaths, Plan], Reader] = open_input,
        step: str = "Read",
    ) -> None:
        """Read parts.

        Args:
            paths: the segment, which has a plan.
            parts: the numbers of the parts to read.
            reader: opens what the parts are read from, once for each worker.
            step: the label of the step that reads.
        """
        super().__init__()
        self._paths, self._parts = paths, tuple(parts)
        self._reader, self._step = reader, step

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection[pa.Table]:
        """Spread the part numbers over the workers, then wire the reader."""
        read = beam.ParDo(_ReadFn(self._paths, self._reader))
        return (
            pbegin
            | "Parts" >> beam.Create(self._parts).with_output_types(int)
            | "Spread" >> beam.Reshuffle()
            | self._step >> read.with_output_types(pa.Table)
        )
