"""Input files become parts: which rows make which output file.

Parts are planned from Parquet footers alone. A part takes consecutive rows; it may join row groups
and files, and a row group may be split among parts.
"""

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from transforms import storage
from transforms.errors import BadInput, Damaged
from transforms.records import RESERVED, without_views
from transforms.storage import FileInfo

#: Rows of a part at least and at most, where a part's size is chosen.
FEWEST_ROWS, MOST_ROWS = 512, 65_536
#: Uncompressed text bytes of a part at most.
MOST_TEXT_BYTES = 256 << 20
_SECONDS_PER_PART = 30
_BYTES_PER_TOKEN = 4
_FOOTER_THREADS = 16


@dataclass(frozen=True)
class ColumnOptions:
    """Which columns of the input hold what.

    Attributes:
        id_column: string or integer ids.
        text_column: the text.
        metadata: ``(new, old)`` name pairs of further columns.
        all_columns: take every further column under its own name.
    """

    id_column: str = "id"
    text_column: str = "text"
    metadata: tuple[tuple[str, str], ...] = ()
    all_columns: bool = False


@dataclass(frozen=True)
class RowGroup:
    """One row group of an input file, as its footer tells."""

    rows: int
    text_bytes: int


@dataclass(frozen=True)
class Slice:
    """Rows ``start`` to ``stop`` of a row group; ``row`` is the first one's number in its file."""

    file: int
    row_group: int
    start: int
    stop: int
    row: int


@dataclass(frozen=True)
class Part:
    """The rows of one vectors file."""

    number: int
    slices: tuple[Slice, ...]

    @property
    def rows(self) -> int:
        """How many input rows the part has."""
        return sum(piece.stop - piece.start for piece in self.slices)


@dataclass(frozen=True)
class Plan:
    """Everything that decides which rows go where; written into the segment before work.

    Attributes:
        files: the input files.
        columns: which columns hold what; ``all_columns`` is resolved into ``metadata``.
        schema: the metadata columns as they will be written.
        parts: in order.
    """

    files: tuple[FileInfo, ...]
    columns: ColumnOptions
    schema: pa.Schema
    parts: tuple[Part, ...]

    @property
    def rows(self) -> int:
        """How many input rows all parts have."""
        return sum(part.rows for part in self.parts)

    def to_json(self) -> bytes:
        """The plan as JSON."""
        value = {
            "files": [asdict(file) for file in self.files],
            "columns": asdict(self.columns),
            "schema": self.schema.serialize().to_pybytes().hex(),
            "parts": [
                [[s.file, s.row_group, s.start, s.stop, s.row] for s in part.slices]
                for part in self.parts
            ],
        }
        return json.dumps(value, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, content: bytes, where: str) -> "Plan":
        """The plan that `to_json` wrote; ``where`` names the file in errors.

        Raises:
            Damaged: it is not such a plan.
        """
        try:
            value = json.loads(content)
            columns = value["columns"]
            metadata = tuple((new, old) for new, old in columns.pop("metadata"))
            return cls(
                files=tuple(FileInfo(**file) for file in value["files"]),
                columns=ColumnOptions(metadata=metadata, **columns),
                schema=pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(value["schema"]))),
                parts=tuple(
                    Part(number, tuple(Slice(*piece) for piece in pieces))
                    for number, pieces in enumerate(value["parts"])
                ),
            )
        except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
            raise Damaged(
                f"{where} can't be read as a plan: {type(error).__name__}: {error}; "
                "remove the segment's folder and run again"
            ) from error


def plan_parts(
    files: list[FileInfo], columns: ColumnOptions, rows_per_part: int | None, rate: float
) -> Plan:
    """Plan the parts of an input from its footers.

    Args:
        files: Parquet files, in order.
        columns: which columns hold what.
        rows_per_part: rows of a part, or None to choose.
        rate: tokens a second that a worker is expected to embed; used to choose.

    Raises:
        BadInput: a file is not Parquet, a column is missing or of a wrong type, schemas of files
            differ, or there are no rows.
    """
    with ThreadPoolExecutor(_FOOTER_THREADS) as pool:
        footers = list(pool.map(_read_footer, files))
    columns = _resolve_columns(columns, files[0], footers[0].schema)
    schema = _metadata_schema(columns, files, footers)
    groups = [_row_groups(footer.metadata, columns.text_column) for footer in footers]
    rows = sum(group.rows for file in groups for group in file)
    if not rows:
        raise BadInput(f"the input has no rows: {_some(file.url for file in files)}")
    text_bytes = sum(group.text_bytes for file in groups for group in file)
    limit = rows_per_part or choose_rows_per_part(rows, text_bytes, rate)
    parts = tuple(cut_parts(groups, limit, MOST_TEXT_BYTES))
    return Plan(tuple(files), columns, schema, parts)


def choose_rows_per_part(rows: int, text_bytes: int, rate: float) -> int:
    """Rows that take about half a minute at ``rate`` tokens a second, within the bounds."""
    tokens_per_row = max(text_bytes / rows / _BYTES_PER_TOKEN, 1.0)
    return int(min(max(_SECONDS_PER_PART * rate / tokens_per_row, FEWEST_ROWS), MOST_ROWS))


def cut_parts(groups: list[list[RowGroup]], rows: int, text_bytes: int) -> Iterator[Part]:
    """Cut the row groups of files into parts of at most ``rows`` rows and ``text_bytes`` bytes.

    A row is never cut, so one row may exceed the bytes.
    """
    number = 0
    pieces: list[Slice] = []
    free_rows, free_bytes = rows, float(text_bytes)
    for file, file_groups in enumerate(groups):
        first_row = 0
        for index, group in enumerate(file_groups):
            per_row = group.text_bytes / group.rows if group.rows else 0.0
            start = 0
            while start < group.rows:
                rest = group.rows if free_bytes > 0 else 0
                fitting = int(free_bytes / per_row) if per_row else rest
                count = min(group.rows - start, free_rows, max(fitting, 0 if pieces else 1))
                if count:
                    stop = start + count
                    pieces.append(Slice(file, index, start, stop, first_row + start))
                    start = stop
                    free_rows -= count
                    free_bytes -= count * per_row
                if start < group.rows or not free_rows:
                    yield Part(number, tuple(pieces))
                    number, pieces = number + 1, []
                    free_rows, free_bytes = rows, float(text_bytes)
            first_row += group.rows
    if pieces:
        yield Part(number, tuple(pieces))


def check_ids(plan: Plan, taken: Iterable[pa.ChunkedArray]) -> None:
    """Raise BadInput where an id occurs twice in the input, or is ``taken`` by the store.

    Reads the id column alone, and holds the input's ids in memory.
    """
    column = plan.columns.id_column
    chunks = []
    for file in plan.files:
        try:
            with storage.open_input(file.url) as source:
                ids = pq.read_table(source, columns=[column]).column(0)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(file, error) from error
        chunks += ids.cast(pa.string()).chunks
    ids = pa.chunked_array(chunks, pa.string()).drop_null()
    counts = pc.value_counts(ids)
    twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    if len(twice):
        raise BadInput(
            f"{len(twice)} ids of column {column!r} occur more than once: "
            f"{_some(twice.to_pylist())}; give each document an id of its own"
        )
    for others in taken:
        known = ids.filter(pc.is_in(ids, value_set=others))
        if len(known):
            raise BadInput(
                f"{len(known)} ids of column {column!r} are in the store already: "
                f"{_some(known.to_pylist())}; leave them out, or give --mode replace to start "
                "the store anew from this input"
            )


def check_metadata(plan: Plan, others: Iterable[tuple[str, pa.Schema]]) -> None:
    """Raise BadInput where metadata columns differ in type from those that the store has.

    Args:
        plan: the input's.
        others: names and metadata schemas of live segments.
    """
    for name, schema in others:
        try:
            pa.unify_schemas([schema, plan.schema])
        except pa.ArrowException as error:
            raise BadInput(
                f"the metadata columns differ from those of segment {name!r}: {error}; "
                "cast or rename them, or give --mode replace to start the store anew"
            ) from error


@dataclass(frozen=True)
class _Footer:
    metadata: Any
    schema: pa.Schema


def _read_footer(file: FileInfo) -> _Footer:
    try:
        with storage.open_input(file.url) as source:
            parquet = pq.ParquetFile(source)
            return _Footer(parquet.metadata, parquet.schema_arrow)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: FileInfo, error: Exception) -> BadInput:
    reason = str(error).splitlines()[0]
    return BadInput(
        f"input file {file.url!r} can't be read as Parquet: {reason}; replace or remove it"
    )


def _row_groups(metadata: Any, text_column: str) -> list[RowGroup]:
    columns = {metadata.schema.column(i).path: i for i in range(metadata.num_columns)}
    text = columns.get(text_column)
    groups = []
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        text_bytes = group.column(text).total_uncompressed_size if text is not None else 0
        groups.append(RowGroup(group.num_rows, text_bytes))
    return groups


def _resolve_columns(columns: ColumnOptions, file: FileInfo, schema: pa.Schema) -> ColumnOptions:
    metadata = columns.metadata
    if columns.all_columns:
        renamed = {old for _, old in metadata}
        own = {columns.id_column, columns.text_column, *renamed}
        metadata += tuple((name, name) for name in schema.names if name not in own)
    new = [name for name, _ in metadata]
    for name, old in metadata:
        if name in RESERVED:
            raise BadInput(
                f"metadata column {name!r} of {file.url!r} has a name that the store uses; "
                f"rename it: --metadata-columns {name}_={old}"
            )
        if new.count(name) > 1:
            raise BadInput(
                f"metadata column {name!r} is given {new.count(name)} times; give it once"
            )
    return ColumnOptions(columns.id_column, columns.text_column, metadata)


def _metadata_schema(
    columns: ColumnOptions, files: list[FileInfo], footers: list[_Footer]
) -> pa.Schema:
    unified = pa.schema([])
    for file, footer in zip(files, footers, strict=True):
        _check_column(file, footer.schema, columns.id_column, "id", _is_id)
        _check_column(file, footer.schema, columns.text_column, "text", _is_text)
        fields = []
        for new, old in columns.metadata:
            _check_column(file, footer.schema, old, "metadata", None)
            fields.append(pa.field(new, _written_type(footer.schema.field(old).type)))
        try:
            unified = pa.unify_schemas([unified, pa.schema(fields)])
        except pa.ArrowException as error:
            raise BadInput(
                f"{file.url!r} and {files[0].url!r} differ in their metadata columns: {error}; "
                "write them with one schema"
            ) from error
    return unified


def _check_column(file: FileInfo, schema: pa.Schema, name: str, role: str, fits: Any) -> None:
    option = {"id": "--id-column", "text": "--text-column", "metadata": "--metadata-columns"}[role]
    if schema.names.count(name) != 1:
        problem = "has no" if name not in schema.names else "has more than one"
        raise BadInput(
            f"{file.url!r} {problem} {role} column {name!r}; its columns are "
            f"{', '.join(schema.names)}; name one with {option}"
        )
    kind = schema.field(name).type
    if fits is not None and not fits(kind):
        wanted = "strings or integers" if role == "id" else "strings"
        raise BadInput(
            f"{role} column {name!r} of {file.url!r} has type {kind}, and {wanted} are needed; "
            f"cast it, or name another with {option}"
        )


def _is_id(kind: pa.DataType) -> bool:
    return _is_text(kind) or bool(pt.is_integer(kind))


def _is_text(kind: pa.DataType) -> bool:
    if pt.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind))


def _written_type(kind: pa.DataType) -> pa.DataType:
    """The type that a metadata column has in the store; a dictionary stays one."""
    return kind if pt.is_dictionary(kind) else without_views(kind)


def _some(values: Iterable[Any], most: int = 5) -> str:
    listed = [repr(value) for value in values]
    return ", ".join(listed[:most]) + (", …" if len(listed) > most else "")
