"""The filters of a page: columns of few values, and the passages that have each value."""

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from transforms.bundles.arrays import ArrayFiles

#: The most columns that a page offers, the most values of one, and the longest value.
_MOST_COLUMNS, _MOST_VALUES, _LONGEST = 8, 50, 60


class Filters:
    """Collects the values of columns; those with too many values, or long ones, fall out."""

    def __init__(self, columns: pa.Schema) -> None:
        """Take the columns of a store."""
        names = [each.name for each in columns if _is_category(each.type)]
        names = [name for name in names if name != "document_id"]
        self._rows: dict[str, dict[str, array[int]]] = {name: {} for name in names}
        self._documents: list[int] = []

    def add(self, table: pa.Table, documents: Sequence[int]) -> None:
        """Append rows, and the numbers of their documents."""
        first = len(self._documents)
        self._documents += documents
        for name in list(self._rows):
            found = self._rows[name]
            for row, value in enumerate(table.column(name).to_pylist(), first):
                for text in _texts(value):
                    found.setdefault(text, array("I")).append(row)
                if len(found) > _MOST_VALUES or any(not 0 < len(t) <= _LONGEST for t in found):
                    del self._rows[name]
                    break

    def write(self, files: ArrayFiles) -> list[dict[str, Any]]:
        """Write the rows of all values, and return the columns with their values, in that order."""
        kept = {name: found for name, found in self._rows.items() if len(found) > 1}
        about, lists, documents = list[dict[str, Any]](), list[Any](), np.array(self._documents)
        for name in list(kept)[:_MOST_COLUMNS]:
            values = []
            for text, rows in sorted(kept[name].items()):
                lists.append(np.asarray(rows, np.uint32))
                values.append({"text": text, "documents": len(np.unique(documents[lists[-1]]))})
            about.append({"column": name, "values": values})
        if about:
            files.write("filter_starts", np.cumsum([0, *map(len, lists)]), "u4")
            files.write("filter_rows", np.concatenate(lists), "u4")
        return about


def _is_category(kind: pa.DataType) -> bool:
    if pt.is_list(kind) or pt.is_large_list(kind):
        return bool(pt.is_string(kind.value_type) or pt.is_large_string(kind.value_type))
    tests = pt.is_string, pt.is_large_string, pt.is_boolean, pt.is_integer, pt.is_date
    return any(test(kind) for test in tests)


def _texts(value: Any) -> set[str]:
    """Return the texts that a page shows of a value."""
    if isinstance(value, bool):
        return {str(value).lower()}
    every = value if isinstance(value, list) else [value]
    return {str(each) for each in every if each is not None}
