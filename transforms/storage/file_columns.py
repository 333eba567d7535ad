"""The columns inside a Parquet file, whatever their names are."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.types as pt


@dataclass(frozen=True)
class FileColumns:
    """The columns inside a Parquet file.

    Attributes:
        names: their names, each once. Of several columns with one name, the second is called
            ``name#2``. Bytes that are not UTF-8 are escaped: ``caf\\xe9``.
        plain: their names without numbers.
        kinds: their types.
        leaves: the numbers of the leaves of each, by which Parquet counts.
    """

    names: tuple[str, ...]
    plain: tuple[str, ...]
    kinds: tuple[pa.DataType, ...]
    leaves: tuple[range, ...]

    @classmethod
    def of(cls, schema: pa.Schema) -> "FileColumns":
        """Return the columns of a file's schema."""
        fields = [schema.field(number) for number in range(len(schema))]
        plain = tuple(name_of(field) for field in fields)
        count, seen = Counter(plain), Counter[str]()
        names, leaves = [], []
        first = 0
        for name, field in zip(plain, fields, strict=True):
            seen[name] += 1
            names.append(f"{name}#{seen[name]}" if count[name] > 1 else name)
            leaves.append(range(first, first + _count_leaves(field.type)))
            first = leaves[-1].stop
        return cls(tuple(names), plain, tuple(field.type for field in fields), tuple(leaves))

    def times(self, name: str) -> int:
        """Return how many columns have a name."""
        return 1 if self.place(name) is not None else self.plain.count(name)

    def place(self, name: str) -> int | None:
        """Return the place of the column of a name; None if there is none, or several."""
        place = self._places.get(name)
        # What is doubled in one file may be single in another.
        return self._places.get(name.removesuffix("#1")) if place is None else place

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}

    def leaves_of(self, plain: str) -> list[int]:
        """Return the leaves of all columns of a name without a number."""
        return self._leaves.get(plain, [])

    @cached_property
    def _leaves(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for name, leaves in zip(self.plain, self.leaves, strict=True):
            found.setdefault(name, []).extend(leaves)
        return found

    def kind(self, name: str) -> pa.DataType | None:
        """Return the type of the column of a name; None as `place` does."""
        place = self.place(name)
        return None if place is None else self.kinds[place]


def name_of(field: pa.Field) -> str:
    """Return the name of a field, with bytes that are not UTF-8 escaped."""
    try:
        return str(field.name)
    except UnicodeDecodeError as error:
        return bytes(error.object).decode("utf-8", "backslashreplace")


def fault_of(kind: pa.DataType) -> str:
    """Return why a column of a type can't be a metadata column; empty if it can."""
    if isinstance(kind, pa.BaseExtensionType):
        return fault_of(kind.storage_type)
    fields = [kind.field(number) for number in range(kind.num_fields)]
    if pt.is_struct(kind):
        names = [name_of(field) for field in fields]
        for name, count in Counter(names).items():
            if count > 1:
                return f"has a struct with {count} fields of the name {name!r}"
        for name, field in zip(names, fields, strict=True):
            if not _is_utf8(field):
                return f"has a struct with a field that is not UTF-8: {name!r}"
    if pt.is_timestamp(kind) and not _has_utf8_zone(kind):
        return f"has times of a zone that is not UTF-8: {kind}"
    return next(filter(None, (fault_of(field.type) for field in fields)), "")


def _has_utf8_zone(kind: pa.DataType) -> bool:
    try:
        return kind.tz is None or bool(kind.tz)
    except UnicodeDecodeError:
        return False


def _is_utf8(field: pa.Field) -> bool:
    try:
        return field.name is not None
    except UnicodeDecodeError:
        return False


def _count_leaves(kind: pa.DataType) -> int:
    if isinstance(kind, pa.BaseExtensionType):
        return _count_leaves(kind.storage_type)
    if not pt.is_nested(kind):
        return 1
    return sum(_count_leaves(kind.field(number).type) for number in range(kind.num_fields))
