"""Survey an input by its Parquet footers: rows, columns and types, and whether they fit."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from transforms.catalog.options import ColumnOptions
from transforms.catalog.plan import Slice
from transforms.errors import BadInput
from transforms.storage import filesystem
from transforms.storage.arrow_values import without_views
from transforms.storage.filesystem import FileInfo
from transforms.storage.schema import RESERVED


@dataclass(frozen=True)
class RowGroup:
    """One row group of an input file, as its footer describes it."""

    rows: int
    text_bytes: int


@dataclass(frozen=True)
class Footer:
    """The schema and the row groups of one Parquet file."""

    schema: pa.Schema
    groups: tuple[RowGroup, ...]


@dataclass(frozen=True)
class Survey:
    """The content of the footers of an input.

    Attributes:
        files: the input files.
        columns: as in a `Plan`.
        schema: as in a `Plan`.
        groups: the row groups of each file.
    """

    files: tuple[FileInfo, ...]
    columns: ColumnOptions
    schema: pa.Schema
    groups: tuple[tuple[RowGroup, ...], ...]

    @property
    def rows(self) -> int:
        """The number of rows of the input."""
        return sum(group.rows for file in self.groups for group in file)


_FOOTER_THREADS = 16


def survey_input(files: list[FileInfo], columns: ColumnOptions) -> Survey:
    """Read the footers of Parquet files, in order.

    Raises:
        BadInput: a file is not Parquet, a column is missing or has a wrong type, schemas differ,
            or there are no rows.
    """
    with ThreadPoolExecutor(_FOOTER_THREADS) as pool:
        footers = list(pool.map(lambda file: read_footer(file, columns.text_column), files))
    return survey_footers(files, footers, columns)


def survey_footers(files: list[FileInfo], footers: list[Footer], columns: ColumnOptions) -> Survey:
    """Survey Parquet files by the footers that `read_footer` has read.

    Raises:
        BadInput: as `survey_input`.
    """
    columns = _resolve_columns(columns, files[0], footers[0].schema)
    schema = _metadata_schema(columns, files, footers)
    found = Survey(tuple(files), columns, schema, tuple(each.groups for each in footers))
    if not found.rows:
        raise BadInput(
            "input", _some(file.url for file in files), "has no rows", "Give files that have rows"
        )
    return found


def slices_of(survey: Survey) -> Iterator[Slice]:
    """Yield all row groups of a survey's files."""
    for place, groups in enumerate(survey.groups):
        first = 0
        for number, group in enumerate(groups):
            if group.rows:
                yield Slice(place, number, 0, group.rows, first)
            first += group.rows


def read_footer(file: FileInfo, text_column: str) -> Footer:
    """Read the footer of a Parquet file; raises BadInput if it can't be read."""
    try:
        with filesystem.open_input(file.url) as source:
            parquet = pq.ParquetFile(source)
            return Footer(parquet.schema_arrow, _row_groups(parquet.metadata, text_column))
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: FileInfo, error: Exception) -> BadInput:
    reason = str(error).splitlines()[0]
    return BadInput(
        "input file", file.url, f"can't be read as Parquet: {reason}", "Replace or remove it"
    )


def _row_groups(metadata: Any, text_column: str) -> tuple[RowGroup, ...]:
    columns = {metadata.schema.column(i).path: i for i in range(metadata.num_columns)}
    text = columns.get(text_column)
    groups = []
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        text_bytes = group.column(text).total_uncompressed_size if text is not None else 0
        groups.append(RowGroup(group.num_rows, text_bytes))
    return tuple(groups)


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
                "metadata column",
                name,
                f"in {file.url} has a name that the store uses itself",
                f"Rename it: --metadata-columns {name}_={old}",
            )
        if new.count(name) > 1:
            raise BadInput(
                "metadata column", name, f"is given {new.count(name)} times", "Give it once"
            )
    return ColumnOptions(columns.id_column, columns.text_column, metadata)


def _metadata_schema(
    columns: ColumnOptions, files: list[FileInfo], footers: list[Footer]
) -> pa.Schema:
    unified = pa.schema([])
    for file, footer in zip(files, footers, strict=True):
        _check_column(file, footer.schema, columns.id_column, "id", _is_id)
        _check_column(file, footer.schema, columns.text_column, "text", _is_text)
        fields = []
        for new, old in columns.metadata:
            _check_column(file, footer.schema, old, "metadata", None)
            kind = footer.schema.field(old).type
            if pt.is_nested(kind) and _holds_null(kind):
                raise BadInput(
                    "metadata column",
                    old,
                    f"in {file.url} has type {kind}, and Arrow can't slice nested columns of type "
                    "null",
                    "Cast the inner null columns to another type, or leave the column out",
                )
            fields.append(pa.field(new, _written_type(footer.schema.field(old).type)))
        try:
            unified = pa.unify_schemas([unified, pa.schema(fields)])
        except pa.ArrowException as error:
            raise BadInput(
                "input file",
                file.url,
                f"has other metadata columns than {files[0].url}: {error}",
                "Write all files with one schema",
            ) from error
    return unified


def _check_column(file: FileInfo, schema: pa.Schema, name: str, role: str, fits: Any) -> None:
    option = {"id": "--id-column", "text": "--text-column", "metadata": "--metadata-columns"}[role]
    if schema.names.count(name) != 1:
        problem = "has no" if name not in schema.names else "has more than one"
        raise BadInput(
            "input file",
            file.url,
            f"{problem} {role} column {name!r}; its columns are {', '.join(schema.names)}",
            f"Name one of them with {option}",
        )
    kind = schema.field(name).type
    if fits is not None and not fits(kind):
        wanted = "strings or integers" if role == "id" else "strings"
        raise BadInput(
            f"{role} column",
            name,
            f"in {file.url} has type {kind} instead of {wanted}",
            f"Cast it, or name another column with {option}",
        )


def _is_id(kind: pa.DataType) -> bool:
    return _is_text(kind) or bool(pt.is_integer(kind))


def _is_text(kind: pa.DataType) -> bool:
    if pt.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind))


def _holds_null(kind: pa.DataType) -> bool:
    """Return whether a type is null or contains a column of type null."""
    return pt.is_null(kind) or any(
        _holds_null(kind.field(number).type) for number in range(kind.num_fields)
    )


def _written_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of a metadata column in the store; dictionaries keep theirs."""
    return kind if pt.is_dictionary(kind) else without_views(kind)


def _some(values: Iterable[Any], most: int = 5) -> str:
    listed = [str(value) for value in values]
    return ", ".join(listed[:most]) + (", …" if len(listed) > most else "")
