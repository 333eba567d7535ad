"""Values that Arrow holds and Python can't: as Python values, as text, and back."""

import datetime as dt
import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.storage.arrow_values import plain_column, plain_rows, plain_values
from transforms.storage.hashing import metadata_hashes
from transforms.storage.time_texts import time_number, time_text

WIDE = (-(2**63), 2**63 - 1)
NARROW = (-(2**31), 2**31 - 1)
KINDS = [
    pa.date32(), pa.date64(), pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"),
    *(pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")),
    *(pa.timestamp(unit, "UTC") for unit in ("s", "us", "ns")),
    pa.timestamp("us", "Mars/Base"), pa.timestamp("ns", "Mars/Base"),
    pa.timestamp("us", "Europe/Berlin"), pa.timestamp("ns", "Europe/Berlin"),
    *(pa.duration(unit) for unit in ("s", "ms", "us", "ns")),
]  # fmt: skip


def bounds(kind: pa.DataType) -> tuple[int, int]:
    return NARROW if kind.bit_width == 32 else WIDE


def of_numbers(numbers: list[int | None], kind: pa.DataType) -> pa.Array:
    return pa.array(numbers, pa.int32() if bounds(kind) == NARROW else pa.int64()).view(kind)


@st.composite
def times(draw: st.DrawFn) -> tuple[pa.DataType, list[int | None]]:
    kind = draw(st.sampled_from(KINDS))
    number = st.integers(*bounds(kind)) | st.sampled_from(bounds(kind)) | st.integers(-10, 10**6)
    numbers = draw(st.lists(st.none() | number, min_size=1, max_size=4))
    if kind == pa.date64():
        numbers = [n and n // 86_400_000 * 86_400_000 for n in numbers]
        numbers = [n if n is None or n > WIDE[0] else 0 for n in numbers]
    return kind, numbers


@given(times())
def test_every_number_of_every_kind_of_time_is_a_value_and_comes_back(
    case: tuple[pa.DataType, list[int | None]],
) -> None:
    kind, numbers = case
    column = of_numbers(numbers, kind)
    values = plain_values(column)
    assert [value is None for value in values] == [number is None for number in numbers]
    json.dumps(values, default=str)
    assert plain_column(values, kind).equals(column)
    assert plain_values(pa.chunked_array([column])) == values
    for nested in (
        pa.ListArray.from_arrays(pa.array([0, len(column)], pa.int32()), column),
        pa.StructArray.from_arrays([column], ["a"]),
        pa.MapArray.from_arrays([0, 1], pa.array(["k"]), column.slice(0, 1)),
    ):
        assert plain_column(plain_values(nested), nested.type).equals(nested)
    assert len(metadata_hashes({"a": column}, len(column))) == len(column)


@given(st.integers(*NARROW))
def test_days_are_written_and_read_as_the_calendar_has_them(days: int) -> None:
    text = time_text(days, pa.date32())
    assert time_number(text, pa.date32()) == days
    try:
        day = dt.date(1970, 1, 1) + dt.timedelta(days)
    except OverflowError:
        cycle = days - 146_097 * 400
        assert time_text(cycle, pa.date32())[-6:] == text[-6:]
    else:
        assert text == day.isoformat()


@given(st.integers(*WIDE))
def test_moments_are_written_as_python_has_them(moment: int) -> None:
    text = time_text(moment, pa.timestamp("us", "UTC"))
    assert time_number(text, pa.timestamp("us", "UTC")) == moment
    try:
        known = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=moment)
    except OverflowError:
        return
    assert text == known.isoformat(" ", "microseconds") + "Z"


@pytest.mark.parametrize(
    ("number", "kind", "value"),
    [
        (2**31 - 1, pa.date32(), "5881580-07-11"),
        (-(2**31), pa.date32(), "-5877641-06-23"),
        (-719_163, pa.date32(), "0000-12-31"),
        (-719_162, pa.date32(), dt.date(1, 1, 1)),
        (253_402_300_800, pa.timestamp("s"), "10000-01-01 00:00:00"),
        (253_402_300_799, pa.timestamp("s"), dt.datetime(9999, 12, 31, 23, 59, 59)),
        (0, pa.timestamp("us", "Mars/Base"), "1970-01-01 00:00:00.000000Z"),
        (1, pa.timestamp("ns", "Mars/Base"), "1970-01-01 00:00:00.000000001Z"),
        (1, pa.timestamp("ns"), "1970-01-01 00:00:00.000000001"),
        (86_400, pa.time32("s"), "24:00:00"),
        (-1, pa.time32("ms"), "-00:00:00.001"),
        (86_399, pa.time32("s"), dt.time(23, 59, 59)),
        (2**63 - 1, pa.duration("s"), "9223372036854775807 s"),
        (1, pa.duration("s"), dt.timedelta(seconds=1)),
        (1, pa.duration("ns"), 1),
    ],
    ids=str,
)
def test_what_python_lacks_is_text(number: int, kind: pa.DataType, value: Any) -> None:
    assert plain_values(of_numbers([number], kind)) == [value]
    assert plain_rows(pa.table({"a": of_numbers([number], kind)})) == [{"a": value}]


def test_one_far_value_changes_no_other() -> None:
    near = pa.array([1, 2], pa.date32())
    both = pa.concat_arrays([near, of_numbers([2**31 - 1], pa.date32())])
    assert plain_values(both)[:2] == near.to_pylist()
    hashes = metadata_hashes({"a": both}, 3).to_pylist()
    assert hashes[:2] == metadata_hashes({"a": near}, 2).to_pylist()
    assert len(set(hashes)) == 3


@pytest.mark.parametrize(
    "column",
    [
        pa.array([0.5, None], pa.float16()),
        pa.array([[("a", math.nan)], None], pa.map_(pa.string(), pa.float64())),
        pa.array([b"x" * 16, None], pa.uuid()),
        pa.array([1, None]).cast(pa.decimal256(60, 3)),
        pa.array([10**75, None], pa.decimal256(76, 0)),
        pa.array([b"\xff", None], pa.binary()),
        pa.array([[1, None], None], pa.list_(pa.duration("ns"), 2)),
        pa.array(["a", None]).dictionary_encode(),
        pa.nulls(2),
        pa.array([[], None], pa.list_(pa.null())),
    ],
    ids=lambda column: str(column.type),
)
def test_other_values_come_back(column: pa.Array) -> None:
    values = plain_values(column)
    again = plain_column(values, column.type)
    assert again.type == column.type
    assert str(again.to_pylist()) == str(column.to_pylist())
    assert not isinstance(values[0], np.generic)
    assert len(metadata_hashes({"a": column}, 2)) == 2


def test_rows_without_columns_are_rows() -> None:
    table = pa.table({"a": [1, 2]}).select([])
    assert plain_rows(table) == [{}] * table.num_rows


def test_text_that_is_not_utf8_stays_an_error() -> None:
    buffers = [None, pa.py_buffer(np.array([0, 1], np.int32)), pa.py_buffer(b"\xff")]
    column = pa.Array.from_buffers(pa.string(), 1, buffers)
    with pytest.raises(UnicodeDecodeError):
        plain_values(column)
