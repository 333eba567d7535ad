"""Errors that no one foresaw name file and rows."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from transforms.errors import AlbeamError, BadInput
from transforms.ingest.input_rows import InputRows
from transforms.ingest.row_errors import built, naming_rows
from transforms.storage.file_columns import FileColumns
from transforms.storage.schema import FILE, ROW


def rows_of(numbers: list[int]) -> InputRows:
    values = pa.array(numbers)
    columns = FileColumns.of(pa.schema([("n", values.type)]))
    return InputRows("in.parquet", columns, {"n": values}, np.arange(10, 10 + len(numbers)))


def invert(rows: InputRows) -> pa.Table:
    return pa.table({"n": [1 // number for number in rows.required("n").to_pylist()]})


def test_the_first_row_at_fault_is_named() -> None:
    assert built(invert, rows_of([1, 2])).num_rows == 2
    with pytest.raises(BadInput) as caught:
        built(invert, rows_of([1, 2, 0, 0]))
    assert (caught.value.option, caught.value.value) == ("input file", "in.parquet")
    assert "row 12 can't be read: ZeroDivisionError" in caught.value.problem
    assert "again" not in caught.value.remedy


def test_rows_that_fail_only_together_are_all_named() -> None:
    def build(rows: InputRows) -> pa.Table:
        if rows.count > 1:
            raise ValueError("too many")
        return pa.table({})

    with pytest.raises(BadInput) as caught:
        built(build, rows_of([1, 2, 3]))
    assert "rows 10 to 12 can't be read: ValueError: too many" in caught.value.problem


def test_a_step_names_the_rows_of_its_table() -> None:
    table = pa.table({FILE: ["a", "a", "b"], ROW: [3, 7, 0]})
    with pytest.raises(AlbeamError) as caught, naming_rows(table, "embedded"):
        raise KeyError("x")
    assert (caught.value.option, caught.value.value) == ("input file", "a")
    assert caught.value.problem.startswith("rows 3 to 7, and rows of 1 further files, can't be")


@pytest.mark.parametrize("error", [BadInput("a", "b", "c"), MemoryError(), ConnectionError()])
def test_other_errors_pass(error: Exception) -> None:
    table = pa.table({FILE: ["a"], ROW: [3]})
    with pytest.raises(type(error)) as caught, naming_rows(table, "embedded"):
        raise error
    assert caught.value is error


def test_tables_without_places_pass(tmp_path: Path) -> None:
    with pytest.raises(KeyError), naming_rows(pa.table({"a": [1]}), "embedded"):
        raise KeyError(str(tmp_path))
