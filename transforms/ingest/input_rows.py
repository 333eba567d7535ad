"""Rows of an input file, with columns of the types under which they are stored."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.errors import BadInput, first_line
from transforms.ingest.folder_columns import folder_columns, folder_values
from transforms.storage.arrow_values import without_views
from transforms.storage.column_types import cast_column
from transforms.storage.file_columns import FileColumns

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class InputRows:
    """Rows of an input file.

    Attributes:
        url: the file.
        columns: the columns of the file.
        values: the columns that were read, by their names in ``columns``.
        places: the numbers of the rows in the file.
    """

    url: str
    columns: FileColumns
    values: dict[str, pa.Array]
    places: Ints

    @property
    def count(self) -> int:
        """The number of rows."""
        return len(self.places)

    def take(self, chosen: Ints, places: Ints) -> "InputRows":
        """Return some of the rows in ascending order; ``places`` are their numbers in the file."""
        first, last = int(chosen[0]), int(chosen[-1])
        if last - first + 1 == len(chosen):
            taken = {name: each.slice(first, len(chosen)) for name, each in self.values.items()}
        else:
            rows = pa.array(chosen)
            # Arrow can't take from views.
            taken = {
                name: cast_column(each, without_views(each.type)).take(rows)
                for name, each in self.values.items()
            }
        return replace(self, values=taken, places=places)

    def required(self, name: str) -> pa.Array:
        """Return a column that the file has."""
        place = self.columns.place(name)
        assert place is not None
        return self.values[self.columns.names[place]]

    def column(self, name: str, kind: pa.DataType) -> pa.Array:
        """Return a metadata column as a type: of the file, else of its folders, else null.

        Raises:
            BadInput: a value does not fit the type, or is not UTF-8.
        """
        if self.columns.place(name) is None:
            folders = folder_columns(self.url)
            return folder_values(folders.get(name), kind, self.count)
        values = self.required(name)
        try:
            return cast_column(values, kind)
        except pa.ArrowException as error:
            raise self._misfit(name, values, kind) or error from error

    def _misfit(self, name: str, values: pa.Array, kind: pa.DataType) -> BadInput | None:
        """Return the error of the first value that does not fit a type."""
        for place in range(self.count):
            try:
                cast_column(values.slice(place, 1), kind)
            except pa.ArrowException as error:
                return self._refused(name, place, f"does not fit {kind}", error)
        return None

    def undecodable(self, names: Iterable[str]) -> BadInput | None:
        """Return the error of the first value of metadata columns that is not UTF-8."""
        for name in names:
            values = self.required(name) if self.columns.kind(name) is not None else pa.nulls(0)
            for place in range(len(values)):
                try:
                    values.slice(place, 1).to_pylist()
                except UnicodeDecodeError as error:
                    return self._refused(name, place, "is not UTF-8", error)
                except (ArithmeticError, ValueError, LookupError):
                    # Python lacks the value, which is no fault of it.
                    continue
        return None

    def _refused(self, name: str, place: int, what: str, error: Exception) -> BadInput:
        reason = first_line(error)
        return BadInput(
            "input file",
            self.url,
            f"has a value in row {int(self.places[place])} of the metadata column {name!r} that "
            f"{what}: {reason}",
            "Correct the value, or leave the column out",
        )
