"""The metadata column of a run that a head fills in: its type, and its place in hashes."""

from collections.abc import Iterable, Sequence

import pyarrow as pa

from transforms.catalog.options import ColumnOptions, LabelColumn
from transforms.errors import BadInput
from transforms.ingest.columns import InputFile, stored_types
from transforms.storage.column_types import type_in_store


def label_type(integers: bool, several: bool) -> pa.DataType:
    """Return the type of a column of labels: text, whole numbers, or lists of them."""
    one = pa.int64() if integers else pa.string()
    return pa.list_(one) if several else one


def label_field(
    label: LabelColumn, stored: Iterable[pa.Schema], inputs: Sequence[InputFile] = ()
) -> pa.Field:
    """Return the column of the labels as it is written.

    Args:
        label: the column.
        stored: the metadata schemas of the store's segments, whose types stay where they can.
        inputs: the input files.

    Raises:
        BadInput: an input has the column, or the store has it with a type that can't hold labels.
    """
    for each in inputs:
        if each.columns.times(label.name) or label.name in each.folders:
            problem = f"is a column of {each.url}"
            raise BadInput("as", label.name, problem, "Give the name of a new column")
    ours = label_type(label.integers, label.several)
    theirs = stored_types(stored).get(label.name, ours)
    kind = type_in_store(theirs, ours)
    if kind is None:
        problem = f"has type {theirs} in the store, but the labels of the head have {ours}"
        remedy = "Give another name, or --mode replace to start from an empty store"
        raise BadInput("as", label.name, problem, remedy)
    return pa.field(label.name, kind)


def label_marks(columns: ColumnOptions, rows: int) -> dict[str, pa.Array]:
    """Return the hash in place of the labels: that of the head which gives them.

    So documents that have labels of another head, or none, differ from those of a run.
    """
    label = columns.label
    return {} if label is None else {label.name: pa.array([label.head] * rows, pa.string())}
