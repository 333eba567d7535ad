"""Survey an input by its Parquet footers: rows, columns and types, and whether they fit."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from transforms.catalog.options import ColumnOptions
from transforms.catalog.plan import Slice
from transforms.errors import BadInput, first_line
from transforms.ingest.columns import InputFile, check_excluded, metadata_schema, resolve_columns
from transforms.ingest.label_column import label_field
from transforms.storage import filesystem
from transforms.storage.file_columns import FileColumns
from transforms.storage.filesystem import FileInfo
from transforms.storage.parquet_files import CheckedFile, uncompressed_sizes


@dataclass(frozen=True)
class RowGroup:
    """One row group of an input file, as its footer describes it."""

    rows: int
    text_bytes: int


@dataclass(frozen=True)
class Footer:
    """The columns and the row groups of one Parquet file."""

    columns: FileColumns
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
#: The most rows of a row group: the most that Parquet's other readers can count.
_MOST_ROWS = 2**31 - 1


def survey_input(
    files: list[FileInfo], columns: ColumnOptions, stored: Sequence[pa.Schema] = ()
) -> Survey:
    """Read the footers of Parquet files, in order.

    Args:
        files: the input files.
        columns: which columns hold what.
        stored: the metadata schemas of the segments of the store that the input is for.

    Raises:
        BadInput: a file is not Parquet, a column is missing or has a wrong type, files differ in
            the type of a column, or there are no rows.
    """
    with ThreadPoolExecutor(_FOOTER_THREADS) as pool:
        footers = list(pool.map(lambda file: read_footer(file, columns.text_column), files))
    check_excluded(columns, _input_files(files, footers))
    return survey_footers(files, footers, columns, stored)


def survey_footers(
    files: list[FileInfo],
    footers: list[Footer],
    columns: ColumnOptions,
    stored: Sequence[pa.Schema] = (),
) -> Survey:
    """Survey Parquet files by the footers that `read_footer` has read.

    Raises:
        BadInput: as `survey_input`.
    """
    inputs = _input_files(files, footers)
    resolved = resolve_columns(columns, inputs)
    schema = metadata_schema(resolved, inputs, stored)
    if columns.label is not None:
        schema = schema.append(label_field(columns.label, stored, inputs))
    found = Survey(tuple(files), resolved, schema, tuple(each.groups for each in footers))
    if not found.rows:
        raise BadInput(
            "input", _some(file.url for file in files), "has no rows", "Give files that have rows"
        )
    return found


def _input_files(files: list[FileInfo], footers: list[Footer]) -> list[InputFile]:
    pairs = zip(files, footers, strict=True)
    return [InputFile(file, footer.columns) for file, footer in pairs]


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
            parquet = CheckedFile(source)
            return Footer(parquet.columns, _row_groups(parquet, text_column))
    except (pa.ArrowException, OSError) as error:
        reason = first_line(error)
        raise BadInput(
            "input file", file.url, f"can't be read as Parquet: {reason}", "Replace or remove it"
        ) from error


def _row_groups(parquet: CheckedFile, text_column: str) -> tuple[RowGroup, ...]:
    rows = parquet.group_rows
    if max(rows, default=0) > _MOST_ROWS:
        raise pa.ArrowInvalid(f"its footer says that a row group has {max(rows)} rows")
    place = parquet.columns.place(text_column)
    # A column that is missing, or is no text, is reported later.
    leaves = parquet.columns.leaves[place] if place is not None else ()
    sizes = uncompressed_sizes(parquet, leaves[0]) if leaves else [0] * len(rows)
    return tuple(map(RowGroup, rows, sizes))


def _some(values: Iterable[Any], most: int = 5) -> str:
    listed = [str(value) for value in values]
    return ", ".join(listed[:most]) + (", …" if len(listed) > most else "")
