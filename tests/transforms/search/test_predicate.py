"""Conditions on metadata: what they leave, and what they can't reach."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from transforms.errors import BadInput
from transforms.search import predicate
from transforms.search.predicate import check_condition, matching, named_columns, unified

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


def test_the_columns_that_a_condition_may_name() -> None:
    schema = pa.schema([(name, pa.int8()) for name in ("id", "Year", 'a"b', "straße", "lang")])
    for where, names in (
        ("YEAR > 3", ["Year"]),
        ('"a""b" = 1 or year = 2', ["Year", 'a"b']),
        ("STRASSE = 1", ["straße"]),
        ("language = 'de'", ["lang"]),
        ("true", ["id"]),
        ("COLUMNS('l.*') = 1", schema.names),
    ):
        assert named_columns(where, schema).names == names
    twice = pa.schema([("year", pa.int8()), ("lang", pa.string()), ("Year", pa.int8())])
    assert named_columns("lang = 'en'", twice).names == ["lang"]
    with pytest.raises(BadInput) as caught:
        check_condition("YEAR = 3", twice)
    assert "'year' and 'Year'" in caught.value.problem


def test_a_condition_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predicate, "_SECONDS", 0.3)
    endless = "n < (select count(*) from range(1000000000000) a where a.range % 7 = 3)"
    with pytest.raises(BadInput) as caught:
        matching(pa.table({"n": [1, 2, 3]}), endless)
    assert caught.value.problem == "takes more than 0 seconds for 3 rows"


def test_a_column_of_any_name_does_no_harm() -> None:
    for name in ("_row", "albeam row", "Albeam Row", "albeam row_"):
        table = pa.table({name: [7, 8, 9]})
        assert matching(table, f'"{name}" >= 8').tolist() == [False, True, True]


def test_columns_of_all_segments_are_put_together() -> None:
    one, two = pa.schema([("year", pa.int16())]), pa.schema([("lang", pa.string())])
    assert unified([one, two]).names == ["year", "lang"]
    assert unified([one, pa.schema([("year", pa.int64())])]).field("year").type == pa.int64()
