"""Filters of a page: columns of few values, the rows of each value, and its documents."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.bundles.arrays import ArrayFiles
from transforms.bundles.filters import Filters

TABLE = pa.table(
    {
        "document_id": ["one", "one", "two", "three"],
        "kind": ["a", "a", "b", None],
        "tags": [["x", "y", "x"], ["x", "y"], [], ["y"]],
        "flag": [True, True, False, True],
        "year": [2020, 2020, 2021, 2021],
        "same": ["s", "s", "s", "s"],
        "long": ["l" * 61, "l" * 61, "m", "m"],
        "blank": ["", "", "m", "m"],
        "share": [0.5, 0.5, 1.0, 1.0],
    }
)


def written(folder: Path, *tables: tuple[pa.Table, list[int]]) -> tuple[list[Any], list[list[int]]]:
    """Return what `Filters` writes: the columns, and the rows of each value."""
    filters, files = Filters(tables[0][0].schema), ArrayFiles(folder)
    for table, documents in tables:
        filters.add(table, documents)
    about = filters.write(files)
    if not about:
        return about, []
    starts, rows = (
        np.fromfile(folder / f"filter_{name}.bin", "<u4") for name in ("starts", "rows")
    )
    lists = [rows[first:last].tolist() for first, last in itertools.pairwise(starts)]
    return about, lists


def test_columns_of_few_values_are_filters(tmp_path: Path) -> None:
    about, rows = written(tmp_path, (TABLE.slice(0, 3), [0, 0, 1]), (TABLE.slice(3), [2]))
    values = {each["column"]: [value["text"] for value in each["values"]] for each in about}
    assert values == {
        **{"kind": ["a", "b"], "tags": ["x", "y"]},
        **{"flag": ["false", "true"], "year": ["2020", "2021"]},
    }
    assert rows[:4] == [[0, 1], [2], [0, 1], [0, 1, 3]]
    assert [value["documents"] for value in about[1]["values"]] == [1, 2]


def test_columns_of_many_values_are_none(tmp_path: Path) -> None:
    table = pa.table({"title": [f"title {n}" for n in range(51)]})
    assert written(tmp_path, (table, list(range(51)))) == ([], [])
    about, rows = written(tmp_path, (table.slice(0, 50), list(range(50))))
    assert len(about[0]["values"]) == len(rows) == 50
