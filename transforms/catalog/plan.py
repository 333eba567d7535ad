"""The plan of a segment: which input rows go into which part."""

import base64
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyroaring import BitMap

from transforms.catalog.options import ColumnOptions
from transforms.errors import Damaged
from transforms.storage.checksummed_json import seal, unseal
from transforms.storage.filesystem import FileInfo


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


def _slice_value(piece: Slice) -> list[Any]:
    value = [piece.file, piece.row_group, piece.start, piece.stop, piece.row]
    return [*value, piece.mask] if piece.mask else value
