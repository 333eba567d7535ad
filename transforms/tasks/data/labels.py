"""The labelled rows of a task, and the classes that their labels name.

A label is text or a whole number; a row of a multi-label task has a list of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from transforms.errors import BadInput
from transforms.training.inputs import read_columns

#: More distinct labels are no classes; the column is probably the wrong one.
MOST_CLASSES = 10_000
#: The most characters of the name of a class.
LONGEST_NAME = 1_000

Codes = npt.NDArray[Any]


@dataclass(frozen=True)
class LabelledRows:
    """Rows with labels, from one or more Parquet files.

    Attributes:
        option: the option that named the files, for messages.
        source: the files, for messages.
        columns: the columns besides the labels by name: text as it is, ids as text.
        labels: the label of each row as text, or its list of labels; without nulls.
        integers: whether the labels are whole numbers.
        several: whether a row has a list of labels.
    """

    option: str
    source: str
    columns: dict[str, pa.ChunkedArray]
    labels: pa.ChunkedArray
    integers: bool
    several: bool

    def __len__(self) -> int:
        return len(self.labels)

    def texts(self, name: str) -> list[str]:
        """Return a column as a list of texts."""
        return [str(each) for each in self.columns[name].to_pylist()]

    def without_blanks(self, name: str) -> LabelledRows:
        """Return the rows whose text in a column is not blank; raises BadInput if all are."""
        kept = pa.array([bool(text.strip()) for text in self.texts(name)], pa.bool_())
        if not pc.any(kept).as_py():
            problem = f"has no {name} that is not blank"
            raise BadInput(self.option, self.source, problem, "Give rows with texts")
        columns = {each: column.filter(kept) for each, column in self.columns.items()}
        return replace(self, columns=columns, labels=self.labels.filter(kept))


@dataclass(frozen=True)
class Classes:
    """The classes of a task, in the order of a head's scores.

    Attributes:
        names: their names; numbers as text.
        integers: whether the labels are whole numbers.
        several: whether a row may have any number of them.
    """

    names: tuple[str, ...]
    integers: bool = False
    several: bool = False

    def codes(self, rows: LabelledRows) -> Codes:
        """Return the numbers of the rows' classes, by their places in ``names``.

        Returns:
            int64 ``[rows]``; with ``several``, bool ``[rows, classes]``.

        Raises:
            BadInput: a row has a class that is not among ``names``, or has a list of labels where
                one is expected, or the other way round.
        """
        if rows.several != self.several:
            problem = "has lists of labels" if rows.several else "has one label a row"
            wanted = "a list of labels" if self.several else "one label"
            remedy = f"Give rows that have {wanted} each, as in training"
            raise BadInput(rows.option, rows.source, problem, remedy)
        flat = pc.list_flatten(rows.labels) if self.several else rows.labels
        found = pc.index_in(flat, value_set=pa.array(self.names, pa.string()))
        if found.null_count:
            name = flat[pc.index(pc.is_null(found), True).as_py()].as_py()
            raise BadInput(
                rows.option,
                rows.source,
                f"has the class {_short(name)!r}, which no training row has",
                "Remove its rows, or train with rows of that class",
            )
        places: Codes = found.to_numpy().astype(np.int64)
        if not self.several:
            return places
        lengths = pc.list_value_length(rows.labels).to_numpy()
        codes = np.zeros((len(rows), len(self.names)), bool)
        codes[np.repeat(np.arange(len(rows)), lengths), places] = True
        return codes


def read_labelled(
    files: Sequence[Path],
    option: str,
    *,
    text: str | None = "text",
    identity: str | None = None,
    label: str = "label",
    several: bool = False,
) -> LabelledRows:
    """Read labelled rows of Parquet files.

    Args:
        files: the files.
        option: the option that names them, for messages.
        text: the column of texts; None for none.
        identity: the column of document ids; None for none.
        label: the column of labels, text or whole numbers.
        several: whether it has lists of labels.

    Raises:
        BadInput: a file can't be read, a column is missing, has another type or has nulls, a label
            is empty, or there are no rows.
    """
    kinds = {name: kind for name, kind in ((text, "text"), (identity, "id")) if name is not None}
    tables = [_read(path, option, kinds, label, several) for path in files]
    source = ", ".join(map(str, files))
    types = {table[label].type for table in tables}
    inner = {each.value_type for each in types} if several else types
    wanted = pa.list_(pa.string()) if several else pa.string()
    labels = [chunk for table in tables for chunk in table[label].cast(wanted).chunks]
    rows = LabelledRows(
        option,
        source,
        {name: _joined([table[name].cast(pa.string()) for table in tables]) for name in kinds},
        pa.chunked_array(labels, wanted),
        integers=all(pt.is_integer(each) for each in inner),
        several=several,
    )
    if not len(rows):
        raise BadInput(option, source, "has no rows", "Give a file with labelled rows")
    return rows


def learn_classes(rows: LabelledRows) -> Classes:
    """Return the classes of training rows, in the order of their names or numbers.

    Raises:
        BadInput: there is one class only, or more than `MOST_CLASSES`.
    """
    flat = pc.list_flatten(rows.labels) if rows.several else rows.labels
    names = [str(name) for name in pc.unique(flat).to_pylist()]
    if not rows.several and len(names) == 1:
        problem = f"has one class only, {_short(names[0])!r}"
        raise BadInput(rows.option, rows.source, problem, "Add rows of another class")
    if not names:
        raise BadInput(rows.option, rows.source, "has no labels", "Fill in the lists of labels")
    if len(names) > MOST_CLASSES:
        problem = f"has {len(names)} different labels, but at most {MOST_CLASSES} are classes"
        raise BadInput(rows.option, rows.source, problem, "Name the column of labels")
    ordered = sorted(names, key=int) if rows.integers else sorted(names)
    return Classes(tuple(ordered), rows.integers, rows.several)


def _read(path: Path, option: str, kinds: dict[str, str], label: str, several: bool) -> pa.Table:
    wanted = {**kinds, label: "ids" if several else "id"}
    try:
        table = read_columns(path, option, wanted)
    except BadInput as error:
        if (
            not several
            and f"column {label!r} has the type" in error.problem
            and "list" in str(error.problem)
        ):
            remedy = f"{error.remedy}, or give --multi-label"
            raise BadInput(option, str(path), error.problem, remedy) from error
        raise
    column = table[label]
    flat = pc.list_flatten(column) if several else column
    if column.null_count or flat.null_count:
        nulls = pc.is_null(column if column.null_count else flat)
        row = pc.index(nulls, True).as_py()
        where = f"row {row} has no" if column.null_count else "a list has an empty"
        raise BadInput(option, str(path), f"{where} {label}", "Fill it in or remove the row")
    if not pt.is_integer(flat.type):
        text = flat.cast(pa.string())
        if pc.any(pc.equal(pc.utf8_trim_whitespace(text), "")).as_py():
            problem = f"has a {label} without characters"
            raise BadInput(option, str(path), problem, "Fill it in or remove the row")
        longest = pc.max(pc.utf8_length(text)).as_py() or 0
        if longest > LONGEST_NAME:
            problem = f"has a {label} of {longest} characters, but at most {LONGEST_NAME} are read"
            raise BadInput(option, str(path), problem, "Name the column of labels")
    return table


def _joined(columns: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for each in columns for chunk in each.chunks], pa.string())


def _short(name: str) -> str:
    return name if len(name) <= 80 else f"{name[:79]}…"
