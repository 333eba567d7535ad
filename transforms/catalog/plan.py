"""The plan of a segment: which input rows go into which part."""

import base64
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyroaring import BitMap

from transforms.catalog.manifest_json import Count, check_name, convert, encode_schema
from transforms.catalog.options import ColumnOptions
from transforms.errors import Damaged
from transforms.storage import remedies
from transforms.storage.checksummed_json import seal, unseal
from transforms.storage.filesystem import FileInfo


@dataclass(frozen=True)
class Slice:
    """Rows ``start`` to ``stop`` of a row group; ``row`` is the number of the first in its file.

    If only some of them belong to the slice, ``mask`` holds their places, counted from ``start``,
    as a roaring bitmap in base64.
    """

    file: int
    row_group: int
    start: int
    stop: int
    row: int
    mask: str = ""

    @property
    def rows(self) -> int:
        """Return the number of rows that belong to the slice."""
        return len(self._bitmap()) if self.mask else self.stop - self.start

    def chosen(self, first: int, stop: int) -> npt.NDArray[np.int64]:
        """Return which rows of the group, from ``first`` to ``stop``, belong to the slice."""
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
        number: the part's place in the segment.
        slices: the input rows.
        carry: the file in the segment's ``changes/`` that says from which older rows the vectors
            are copied; "" if the rows are embedded.
    """

    number: int
    slices: tuple[Slice, ...]
    carry: str = ""

    @property
    def rows(self) -> int:
        """Return the number of input rows of the part."""
        return sum(piece.rows for piece in self.slices)


@dataclass(frozen=True)
class Plan:
    """The assignment of input rows to parts; written into the segment before the work starts.

    Attributes:
        files: the input files.
        columns: the columns to read, with ``all_columns`` resolved into ``metadata``.
        schema: the schema of the metadata columns as they are written.
        parts: the parts in order.
    """

    files: tuple[FileInfo, ...]
    columns: ColumnOptions
    schema: pa.Schema
    parts: tuple[Part, ...]

    @property
    def rows(self) -> int:
        """Return the number of input rows of all parts."""
        return sum(part.rows for part in self.parts)

    def check_files(self, files: Iterable[FileInfo], where: str) -> None:
        """Raise Damaged if a stored plan reads other files than those that a run was given."""
        given = set(files)
        if others := [file.url for file in self.files if file not in given]:
            problem = f"reads {others[0]}, which is no input of the run"
            raise Damaged("file", where, problem, remedies.NO_RESUME)

    def check_inputs(self, files: Iterable[FileInfo], columns: ColumnOptions, where: str) -> None:
        """Raise Damaged if a stored plan reads other files or columns than a run was given.

        It lies in a folder that is named after the inputs and options of the run, so an honest plan
        has them. With ``all_columns``, the plan has further columns by name.
        """
        self.check_files(files, where)
        ours, given = self.columns, len(columns.metadata)
        label = () if ours.label is None else (ours.label.name,)
        if (
            replace(ours, metadata=())
            != replace(columns, metadata=(), all_columns=False, excluded=())
            or ours.metadata[:given] != columns.metadata
            or (len(ours.metadata) > given and not columns.all_columns)
            or self.schema.names != [*(name for name, _ in ours.metadata), *label]
        ):
            raise Damaged("file", where, "reads other columns than the run", remedies.NO_RESUME)

    def ends_group(self, piece: Slice) -> bool:
        """Return whether no other slice of the plan has later rows of the same row group."""
        return self._stops.get((piece.file, piece.row_group), 0) <= piece.stop

    @cached_property
    def _stops(self) -> dict[tuple[int, int], int]:
        found: dict[tuple[int, int], int] = {}
        for part in self.parts:
            for piece in part.slices:
                place = piece.file, piece.row_group
                found[place] = max(piece.stop, found.get(place, 0))
        return found

    def to_json(self) -> bytes:
        """Return the plan as JSON."""
        value = {
            "files": [asdict(file) for file in self.files],
            "columns": self.columns.to_dict(),
            "schema": encode_schema(self.schema),
            "parts": [[_slice_value(s) for s in part.slices] for part in self.parts],
            "carry": {str(part.number): part.carry for part in self.parts if part.carry},
        }
        return seal(value)

    @classmethod
    def from_json(cls, content: bytes, where: str) -> "Plan":
        """Return the plan that `to_json` wrote.

        Raises:
            Damaged: the content is not such a plan; ``where`` names the file.
        """
        stored = convert(unseal(content, where), _StoredPlan, where, remedies.NO_RESUME)
        parts = tuple(
            Part(
                number,
                tuple(Slice(*piece) for piece in pieces),
                stored.carry.get(str(number), ""),
            )
            for number, pieces in enumerate(stored.parts)
        )
        if others := stored.carry.keys() - {str(part.number) for part in parts}:
            problem = f"names rows for parts that it lacks: {sorted(others)[:3]}"
            raise Damaged("file", where, problem, remedies.NO_RESUME)
        for part in parts:
            for piece in part.slices:
                _check_slice(piece, len(stored.files), where)
        return cls(stored.files, stored.columns, stored.schema, parts)


def _check_slice(piece: Slice, files: int, where: str) -> None:
    """Raise Damaged if a slice is of no file, or its rows are not between its ends."""
    problem = ""
    if piece.file >= files or piece.start > piece.stop:
        problem = f"has a slice of file {piece.file} from row {piece.start} to {piece.stop}"
    elif piece.mask:
        try:
            inside = piece.chosen(piece.start, piece.stop)
            if len(inside) != piece.rows:
                problem = "has a mask with rows outside its slice"
        except (ValueError, IndexError) as error:
            problem = f"has a mask that can't be read: {error}"
    if problem:
        raise Damaged("file", where, problem, remedies.NO_RESUME)


class _StoredSlice(NamedTuple):
    """A slice in ``plan.json``: an array, which is shorter than an object."""

    file: Count
    row_group: Count
    start: Count
    stop: Count
    row: Count
    mask: str = ""


@dataclass(frozen=True)
class _StoredPlan:
    """The content of ``plan.json``."""

    files: tuple[FileInfo, ...]
    columns: ColumnOptions
    schema: pa.Schema
    parts: tuple[tuple[_StoredSlice, ...], ...]
    carry: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise Damaged if the name of a file leads out of its folder."""
        for name in self.carry.values():
            check_name(name)


def _slice_value(piece: Slice) -> list[Any]:
    value = [piece.file, piece.row_group, piece.start, piece.stop, piece.row]
    return [*value, piece.mask] if piece.mask else value
