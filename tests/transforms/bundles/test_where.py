"""Conditions of ``ask.py``: they mean what they mean for DuckDB, and what is refused is told."""

import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from transforms.bundles.edge.where import column_named, meeting
from transforms.search.predicate import matching

_DAYS = [datetime.datetime(2024, 1, day, hour) for day in (1, 2, 3) for hour in (0, 12)]
TABLE = pa.table(
    {
        "kind": ["a", "B", "it's", "ä", "", None],
        "year": pa.array([-3, 0, 2, None, 5, 2], pa.int16()),
        "big": pa.array([2**62, -(2**63), 0, 5, None, 2**63 - 1], pa.int64()),
        "share": [float("nan"), 0.1, -0.0, 1.5, float("inf"), None],
        "small": pa.array([float("nan"), 0.1, 1.5, 2 / 3, None, 0.0], pa.float32()),
        "flag": [True, False, None, True, False, True],
        "day": pa.array([each.date() for each in _DAYS]),
        "seen": pa.array(_DAYS, pa.timestamp("s")),
        "zoned": pa.array(_DAYS, pa.timestamp("ns", "Europe/Berlin")),
        "price": pa.array(
            [Decimal(n) / 100 for n in (0, 250, 314, 33, 100, 1)], pa.decimal128(9, 2)
        ),
    }
)
CONDITIONS = (
    "kind = 'a' OR Kind = 'it''s'",
    "kind > 'B' and not kind = 'ä'",
    "kind <> 'a'",
    "NOT (kind IN ('a', '') OR year < 0)",
    "kind NOT IN ('a', 'B') AND year IS NOT NULL",
    'kind IS NULL OR "year" = 2 AND flag = TRUE',
    "year >= 1.5",
    "year = 40000 OR year > -1e0",
    "big = 9223372036854775807 OR big <= -5",
    "share > 0.1",
    "share >= 1e2",
    "share <= 0 OR share != .1",
    "small = 0.1",
    "small = 1e-1 OR small IN (1.5)",
    "small > 1",
    "flag != false",
    "day > '2024-01-01' AND day <= '2024-01-02'",
    "seen >= '2024-01-02 12:00:00'",
    "zoned < '2024-01-02'",
    "price IN (2.5, 0.33, 1) OR price > 3.135",
)


def met(condition: str) -> list[bool]:
    def column(name: str) -> pa.ChunkedArray:
        return TABLE.column(str(column_named(name, TABLE.column_names)))

    return meeting(condition, column).tolist()


@pytest.mark.parametrize("condition", CONDITIONS)
def test_rows_are_those_that_duckdb_finds(condition: str) -> None:
    expected = matching(TABLE, condition)
    assert met(condition) == expected.tolist()
    assert 0 < np.count_nonzero(expected) < len(TABLE)


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        (" ", "blank"),
        ("kind", "instead of ="),
        ("kind = ", "the end instead of a value"),
        ("kind = other", "'other' instead of a value"),
        ("kind = NULL", "'NULL' instead of a value"),
        ("'a' = kind", "'a' instead of a column"),
        ("kind LIKE 'a%'", "'LIKE' instead of"),
        ("year BETWEEN 1 AND 2", "'BETWEEN' instead of"),
        ("year + 1 = 2", "'+ 1 = 2'"),
        ("lower(kind) = 'a'", "'(' instead of"),
        ("kind = 'a' year = 2", "'year' instead of AND"),
        ("(kind = 'a'", "the end instead of )"),
        ("kind NOT = 'a'", "'=' instead of IN"),
        ("kind = 'a'; DROP TABLE x", "'; DROP TABLE x'"),
        ("kind = 'a' -- note", "'-- note'"),
        ("kind = 'a", '"\'a"'),
        ("kind = 3", "holds string, with '3'"),
        ("year = '3'", "holds int16, with '3'"),
        ("day = 'soon'", "holds date32[day], with 'soon'"),
        ("flag = 1", "holds bool"),
        ("NOT " * 60 + "year = 2", "more than 50"),
        ("year = 2 OR " * 1_000 + "year = 3", "characters"),
    ],
)
def test_what_is_refused_is_told(condition: str, told: str) -> None:
    with pytest.raises(ValueError, match="--where") as caught:
        met(condition)
    assert told in str(caught.value)


def test_a_column_of_the_same_case_is_meant() -> None:
    assert column_named("Kind", ["kind", "Kind"]) == "Kind"
    assert column_named("KIND", ["kind", "Kind"]) == "kind"
    assert column_named("sort", ["kind"]) is None
