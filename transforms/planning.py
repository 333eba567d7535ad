"""Input files become parts: which rows make which output file.

Parts are planned from Parquet footers alone. A part takes consecutive rows; it may join row groups
and files, and a row group may be split among parts.
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyroaring import BitMap, BitMap64

from transforms.errors import BadInput, Damaged
from transforms.sealing import seal, unseal
from transforms.storage import FileInfo

#: Rows of a part at least and at most, where a part's size is chosen.
FEWEST_ROWS, MOST_ROWS = 512, 65_536
#: Uncompressed text bytes of a part at most.
MOST_TEXT_BYTES = 256 << 20
_SECONDS_PER_PART = 30
_BYTES_PER_TOKEN = 4


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
    """Rows ``start`` to ``stop`` of a row group; ``row`` is the first one's number in its file.

    Where not all of them are meant, ``mask`` names those that are, counted from ``start``: a
    roaring bitmap in base64.
    """

    file: int
    row_group: int
    start: int
    stop: int
    row: int
    mask: str = ""

    @property
    def rows(self) -> int:
        """How many rows are meant."""
        return len(self._bitmap()) if self.mask else self.stop - self.start

    def chosen(self, first: int, stop: int) -> npt.NDArray[np.int64]:
        """Which rows of the group, between ``first`` and ``stop``, are meant."""
        first, stop = max(first, self.start), min(stop, self.stop)
        if not self.mask:
            return np.arange(first, max(stop, first))
        rows = np.array(self._bitmap().to_array(), np.int64) + self.start
        return rows[(rows >= first) & (rows < stop)]

    def _bitmap(self) -> BitMap:
        return BitMap.deserialize(base64.b64decode(self.mask))


@dataclass(frozen=True)
class Part:
    """The rows of one vectors file.

    Attributes:
        number: its place in the segment.
        slices: the input rows.
        carry: where their vectors are taken from older segments, the file in the segment's
            ``changes/`` that says from which rows; "" where they are embedded.
    """

    number: int
    slices: tuple[Slice, ...]
    carry: str = ""

    @property
    def rows(self) -> int:
        """How many input rows the part has."""
        return sum(piece.rows for piece in self.slices)


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
            "parts": [[_slice_value(s) for s in part.slices] for part in self.parts],
            "carry": {str(part.number): part.carry for part in self.parts if part.carry},
        }
        return seal(value)

    @classmethod
    def from_json(cls, content: bytes, where: str) -> "Plan":
        """The plan that `to_json` wrote; ``where`` names the file in errors.

        Raises:
            Damaged: it is not such a plan.
        """
        try:
            value = unseal(content, where)
            columns = value["columns"]
            metadata = tuple((new, old) for new, old in columns.pop("metadata"))
            carry = value.get("carry", {})
            return cls(
                files=tuple(FileInfo(**file) for file in value["files"]),
                columns=ColumnOptions(metadata=metadata, **columns),
                schema=pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(value["schema"]))),
                parts=tuple(
                    Part(
                        number, tuple(Slice(*piece) for piece in pieces), carry.get(str(number), "")
                    )
                    for number, pieces in enumerate(value["parts"])
                ),
            )
        except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
            raise Damaged(
                f"{where} can't be read as a plan: {type(error).__name__}: {error}; "
                "run again with --no-resume"
            ) from error


@dataclass(frozen=True)
class Survey:
    """What the footers of an input tell.

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
        """How many rows the input has."""
        return sum(group.rows for file in self.groups for group in file)


def plan_parts(
    survey: Survey,
    rows_per_part: int | None,
    rate: float,
    chosen: Sequence[BitMap64] | None = None,
) -> Plan:
    """Plan the parts of an input.

    Args:
        survey: of its footers.
        rows_per_part: rows of a part, or None to choose.
        rate: tokens a second that a worker is expected to embed; used to choose.
        chosen: which rows of each file are to be embedded; all without.
    """
    text_bytes = sum(group.text_bytes for file in survey.groups for group in file)
    limit = rows_per_part or choose_rows_per_part(survey.rows, text_bytes, rate)
    parts = tuple(cut_parts(survey.groups, limit, MOST_TEXT_BYTES, chosen))
    return Plan(survey.files, survey.columns, survey.schema, parts)


def choose_rows_per_part(rows: int, text_bytes: int, rate: float) -> int:
    """Rows that take about half a minute at ``rate`` tokens a second, within the bounds."""
    tokens_per_row = max(text_bytes / rows / _BYTES_PER_TOKEN, 1.0)
    return int(min(max(_SECONDS_PER_PART * rate / tokens_per_row, FEWEST_ROWS), MOST_ROWS))


def cut_parts(
    groups: Sequence[Sequence[RowGroup]],
    rows: int,
    text_bytes: int,
    chosen: Sequence[BitMap64] | None = None,
) -> Iterator[Part]:
    """Cut the row groups of files into parts of at most ``rows`` rows and ``text_bytes`` bytes.

    A row is never cut, so one row may exceed the bytes. Of each file the ``chosen`` rows count
    alone, by their numbers in it; all without.
    """
    number = 0
    pieces: list[Slice] = []
    free_rows, free_bytes = rows, float(text_bytes)
    for file, file_groups in enumerate(groups):
        first_row = 0
        for index, group in enumerate(file_groups):
            wanted = _chosen_of(group, first_row, chosen[file] if chosen is not None else None)
            per_row = group.text_bytes / group.rows if group.rows else 0.0
            start = 0
            while start < len(wanted):
                rest = len(wanted) if free_bytes > 0 else 0
                fitting = int(free_bytes / per_row) if per_row else rest
                count = min(len(wanted) - start, free_rows, max(fitting, 0 if pieces else 1))
                if count:
                    pieces.append(_slice(file, index, wanted[start : start + count], first_row))
                    start += count
                    free_rows -= count
                    free_bytes -= count * per_row
                if start < len(wanted) or not free_rows:
                    yield Part(number, tuple(pieces))
                    number, pieces = number + 1, []
                    free_rows, free_bytes = rows, float(text_bytes)
            first_row += group.rows
    if pieces:
        yield Part(number, tuple(pieces))


def _chosen_of(group: RowGroup, first: int, chosen: BitMap64 | None) -> npt.NDArray[np.int64]:
    if chosen is None:
        return np.arange(group.rows)
    inside = chosen & BitMap64(range(first, first + group.rows))
    return np.fromiter(inside, np.int64, len(inside)) - first


def _slice(file: int, group: int, rows: npt.NDArray[np.int64], first_row: int) -> Slice:
    start, stop = int(rows[0]), int(rows[-1]) + 1
    mask = ""
    if stop - start > len(rows):
        bitmap = BitMap((rows - start).tolist())
        bitmap.run_optimize()
        mask = base64.b64encode(bitmap.serialize()).decode()
    return Slice(file, group, start, stop, first_row + start, mask)


def _slice_value(piece: Slice) -> list[Any]:
    value = [piece.file, piece.row_group, piece.start, piece.stop, piece.row]
    return [*value, piece.mask] if piece.mask else value


def check_metadata(schema: pa.Schema, others: Iterable[tuple[str, pa.Schema]]) -> None:
    """Raise BadInput where metadata columns differ in type from those that the store has.

    Args:
        schema: of the input's.
        others: names and metadata schemas of live segments.
    """
    for name, theirs in others:
        try:
            pa.unify_schemas([theirs, schema])
        except pa.ArrowException as error:
            raise BadInput(
                f"the metadata columns differ from those of segment {name!r}: {error}; "
                "cast or rename them, or give --mode replace to start the store anew"
            ) from error
