"""Conditions on metadata: what they leave, and what they can't reach."""

import time
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from transforms.errors import BadInput
from transforms.search import predicate
from transforms.search.predicate import Evaluation, check_condition, matching
from transforms.storage.column_types import common_schema

TABLE = pa.table(
    {
        "lang": ["en", "de", "en", None],
        "year": pa.array([2019, 2020, 2021, 2022], pa.int16()),
        "tags": [["a"], ["a", "b"], [], None],
    }
)


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("lang = 'en'", [0, 2]),
        ("lang = 'en' and year >= 2020", [2]),
        ("lang <> 'en'", [1]),
        ("lang is null or year < 2020", [0, 3]),
        ("list_contains(tags, 'b')", [1]),
        ("year between 2020 and 2021", [1, 2]),
        ("true", [0, 1, 2, 3]),
        ("false", []),
        ("COLUMNS('ar$') = 2020", [1]),
        ("COLUMNS('^(lang|year)$')::varchar <> ''", [0, 1, 2]),
        ("COLUMNS(*) is null", []),
        ("year > (select avg(column0) from (values (2020), (2021)) as t(column0))", [2, 3]),
    ],
)
def test_a_condition_leaves_the_rows_for_which_it_holds(where: str, rows: list[int]) -> None:
    assert np.flatnonzero(matching(TABLE, where)).tolist() == rows


@pytest.mark.parametrize(
    "where",
    [
        "language = 'en'", "lang =", "lang = 'en'; drop table x", "", "  ",
        "1=1) union select 0 --", "exists (select * from read_text('/etc/passwd'))",
        "exists (select * from secret)", "year = getenv('HOME')", "lang = 7 +",
        "exists (select * from read_csv('https://example.org/x.csv'))",
        "exists (select * from '/etc/passwd')", "exists (from glob('/*'))", "#1 = 'en'",
        "lang = 'en' limit 1", "lang = 'en', year = 3", "lang = 'en' as x", "lang from rows",
        "lang = 'en' union select true", "attach 'x.db'", "copy (select 1) to 'x.csv'",
        "set enable_external_access = true", "true) or (select true", "true); select (1",
        "distinct lang = 'en'", "sum(year) over () > 1", "count(*) > 1", "install httpfs",
        "count(COLUMNS(*)) > 1",
        "lang = ?", "lang = $name", "true qualify true", "select true",
        "exists (select * from read_parquet('s3://bucket/x.parquet'))",
        "exists (from sniff_csv('/etc/passwd'))",
        "exists (from query('copy (select 1) to ''x'' '))",
    ],
)  # fmt: skip
def test_what_is_no_condition_over_the_columns_is_refused(where: str) -> None:
    secret = pa.table({"x": [1]})
    assert secret.num_rows
    with pytest.raises(BadInput) as caught:
        matching(TABLE, where)
    assert (caught.value.option, caught.value.value) == ("where", where)


def test_an_unknown_column_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        check_condition("language = 'en'", TABLE.schema)
    assert "language" in caught.value.problem
    assert "lang (string), year (int16)" in caught.value.remedy
    check_condition("year > 3", TABLE.schema)
    target = tmp_path / "out.csv"
    with pytest.raises(BadInput) as caught:
        matching(TABLE, f"(copy (select 1) to '{target}')")
    assert caught.value.option == "where"
    assert not target.exists()


def test_a_condition_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predicate, "_SECONDS", 0.3)
    ten = ", ".join(
        f"(values {', '.join(f'({n})' for n in range(10))}) as t{i}(x{i})" for i in range(13)
    )
    endless = f"n < (select count(*) from {ten} where (x0 + x1 + x2 + x3 + x12) % 7 = 3)"
    with pytest.raises(BadInput) as caught:
        matching(pa.table({"n": [1, 2, 3]}), endless)
    assert caught.value.problem == "takes more than 0 seconds"


def test_a_column_of_any_name_does_no_harm() -> None:
    for name in ("_row", "albeam row", "Albeam Row", "albeam row_"):
        table = pa.table({name: [7, 8, 9]})
        assert matching(table, f'"{name}" >= 8').tolist() == [False, True, True]


def test_columns_of_all_segments_are_put_together() -> None:
    one, two = pa.schema([("year", pa.int16())]), pa.schema([("lang", pa.string())])
    assert common_schema([one, two]).names == ["year", "lang"]
    assert common_schema([one, pa.schema([("year", pa.int64())])]).field("year").type == pa.int64()


SEEN = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(48)]


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Asia/Tokyo"])
def test_a_time_means_the_same_in_every_time_zone(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    kinds = (pa.timestamp("us", "UTC"), pa.timestamp("ns", zone), pa.timestamp("s", "+05:30"))
    try:
        for kind in kinds:
            table = pa.table({"seen": pa.array(SEEN, kind)})
            for where in (
                "seen >= '2024-01-02'",
                "seen >= timestamp '2024-01-02'",
                "seen::date = date '2024-01-02'",
                "extract(day from seen) = 2",
                ("seen >= ?", ["2024-01-02"]),
                ("seen >= ?", [datetime(2024, 1, 2)]),
                ("seen >= ?", [date(2024, 1, 2)]),
                ("seen >= ?", [datetime(2024, 1, 2, 9, tzinfo=timezone(timedelta(hours=9)))]),
            ):
                assert np.flatnonzero(matching(table, where)).tolist() == list(range(24, 48))
    finally:
        monkeypatch.undo()
        time.tzset()


def test_all_rows_are_compared_at_one_time() -> None:
    table = pa.table({"id": [1]})
    with Evaluation("epoch_us(now()) + id > 0", table.schema) as evaluation:
        [first] = evaluation._connection.execute("select now()::varchar").fetchall()
        assert evaluation.matching(table, 1).all()
        time.sleep(0.01)
        [second] = evaluation._connection.execute("select now()::varchar").fetchall()
    assert first == second


def test_a_column_that_duckdb_lacks_spoils_no_other_condition() -> None:
    union = pa.UnionArray.from_dense(
        pa.array([0, 0], pa.int8()), pa.array([0, 1], pa.int32()), [pa.array([1, 2])]
    )
    table = pa.table({"lang": ["en", "union"], "union": union})
    for where in ("lang = 'en'", "lang <> 'union' -- union", "COLUMNS('^l') = 'en'"):
        assert matching(table, where).tolist() == [True, False]
    with pytest.raises(BadInput) as caught:
        matching(table, '"union" is not null')
    assert "names the column union, and DuckDB has no type dense_union" in caught.value.problem


FAR = 2**62


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo", "Mars/Crater"])
def test_times_beyond_all_ranges_are_compared(unit: str, zone: str | None) -> None:
    numbers = pa.array([-(2**63), -FAR, 0, None, FAR, 2**63 - 1], pa.int64())
    table = pa.table({"t": numbers.cast(pa.timestamp(unit, zone))})
    # In nanoseconds, all of these are between the years 1677 and 2262.
    narrow = unit == "ns"
    for where, rows in (
        ("t > '2020-01-01'", [4, 5]),
        ("t < '2020-01-01'", [0, 1, 2]),
        ("t > timestamp '1500-01-01'", [0, 1, 2, 4, 5] if narrow else [2, 4, 5]),
        ("t < timestamp '1500-01-01'", [] if narrow else [0, 1]),
        ("t is null", [3]),
        ("t = timestamp '1970-01-01'", [2]),
    ):
        assert np.flatnonzero(matching(table, where)).tolist() == rows, where


def test_nanoseconds_are_compared_to_the_last() -> None:
    table = pa.table({"t": pa.array([1, 2, 3], pa.timestamp("ns"))})
    where = "t > '1970-01-01 00:00:00.000000001'::timestamp_ns"
    assert matching(table, where).tolist() == [False, True, True]


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()])
def test_dates_beyond_all_ranges_are_compared(kind: pa.DataType) -> None:
    most = 2**31 - 1
    days = pa.array([-most, -(10**6), 0, None, 10**6, most], pa.int32()).cast(pa.date32())
    table = pa.table({"day": days.cast(kind)})
    for where, rows in (
        ("day > '2020-01-01'", [4, 5]),
        ("day < '2020-01-01'", [0, 1, 2]),
        ("day < timestamp '2020-01-01 12:00'", [0, 1, 2]),
        ("day = 'infinity'", [5]),
        ("day::varchar = '1970-01-01'", [2]),
        ("year(day) = 1970", [2]),
    ):
        assert np.flatnonzero(matching(table, where)).tolist() == rows, where


LONG = pa.list_(pa.struct([("x", pa.decimal256(50, 0))]))
TYPES = pa.table(
    {
        "half": pa.array(np.array([1, 2], np.float16)),
        "long": pa.array([Decimal("1.5"), Decimal(2)], pa.decimal256(60, 2)),
        "huge": pa.array([Decimal(1), Decimal(10**60)], pa.decimal256(76, 0)),
        "deep": pa.array([[{"x": Decimal(1)}], [{"x": Decimal(2)}]], LONG),
        "pairs": pa.array([[("k", 1)], [("k", 2)]], pa.map_(pa.string(), pa.int8())),
        "text": pa.array(["a", "b"]).dictionary_encode(),
        "view": pa.array(["a", "b"], pa.string_view()),
        "blob": pa.array([b"\x00", b"\xff"]),
        "real": pa.array([0.0, float("nan")]),
        "span": pa.array([1, 2**62], pa.int64()).cast(pa.duration("s")),
        "none": pa.nulls(2),
    }
)


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("half > 1", [1]),
        ("long > 1.5", [1]),
        ("huge > 1", [1]),
        ("deep[1].x = 2", [1]),
        ("pairs['k'] = 2", [1]),
        ("text = 'b' and view = 'b'", [1]),
        ("blob = '\\xff'::blob", [1]),
        (("blob = ?", [b"\xff"]), [1]),
        ("real > 5", [1]),
        ("real = 'nan'", [1]),
        ("span < interval 1 hour", [0]),
        ("none is null and not (none = 1)", []),
        ("none is null", [0, 1]),
    ],
)
def test_values_of_every_type_are_compared(where: object, rows: list[int]) -> None:
    assert np.flatnonzero(matching(TYPES, where)).tolist() == rows  # type: ignore[arg-type]


def test_a_condition_of_any_length_is_evaluated() -> None:
    table = pa.table({"n": [1, 2, 3]})
    deep = "+".join(["1"] * 180)
    assert matching(table, f"n + {deep} = 182").tolist() == [False, True, False]
    many = ", ".join(map(str, range(2, 2_000)))
    assert matching(table, f"n in ({many})").tolist() == [False, True, True]
    assert matching(table, ("n in ?", [list(range(2, 20_000))])).tolist() == [False, True, True]
    assert matching(table, "n = 2;").tolist() == [False, True, False]


def test_times_of_day_in_nanoseconds_compare_with_times() -> None:
    noon = 12 * 3_600 * 10**9
    table = pa.table({"t": pa.array([0, noon, None, noon + 10**12], pa.time64("ns"))})
    assert matching(table, "t > TIME '12:00'").tolist() == [False, False, False, True]
    assert matching(table, "hour(t) = 12 and t < '12:10:00'").tolist() == [
        False,
        True,
        False,
        False,
    ]
