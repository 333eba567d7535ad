"""Conditions: the values of their parameters, what they name, and hints about wrong ones."""

import pickle
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from transforms.errors import BadInput
from transforms.search.condition import as_condition, where_of_text
from transforms.search.predicate import check_condition, matching, may_change, named_columns

TABLE = pa.table(
    {
        "lang": ["en", "de", "en", None],
        "year": pa.array([2019, 2020, 2021, 2022], pa.int16()),
        "tags": [["a"], ["a", "b"], [], None],
    }
)


def refused(where: object, table: pa.Table = TABLE) -> BadInput:
    with pytest.raises(BadInput) as caught:
        matching(table, where)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        (("lang = ?", ["en"]), [0, 2]),
        (("lang = $lang and year > $year", {"lang": "en", "year": 2019}), [2]),
        (("lang in ?", [["en", "fr"]]), [0, 2]),
        (("lang = any(?)", [("de",)]), [1]),
        (("list_contains(tags, ?)", ["b"]), [1]),
        (("tags = ?", [["a"]]), [0]),
        (("year = ?", [np.int64(2020)]), [1]),
        (("year in ?", [np.array([2019, 2022])]), [0, 3]),
        (("year >= ?", ["2021"]), [2, 3]),
        (("year > ?", [Decimal("2020.6")]), [2, 3]),
        (("lang = ? -- ?", ["x' or true --"]), []),
        (("lang is not distinct from ?", [None]), [3]),
        (["lang = ?", ["de"]], [1]),
        (("true", ()), [0, 1, 2, 3]),
    ],
)
def test_values_are_given_apart_from_the_condition(where: object, rows: list[int]) -> None:
    assert np.flatnonzero(matching(TABLE, where)).tolist() == rows  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        (("lang = ?", []), "has the parameters 1, and values for none"),
        (("lang = ?", ["a", "b"]), "has the parameters 1, and values for 1, 2"),
        (("lang = $a", {"b": 1}), "has the parameters a, and values for b"),
        (("lang = $a", ["x"]), "has the parameters a, and values for 1"),
        (("lang = ?", "en"), "has the values 'en', no list"),
        (("lang = ?", 3), "has the values 3, no list"),
        (("lang = ?", [object]), "has a value of type type"),
        (("lang = ?", ["\ud800"]), "has half of a surrogate pair"),
        ("lang = '\ud800'", "has half of a surrogate pair"),
        ((3, ["en"]), "is no text"),
        (7, "is no text"),
        (("  ", ["en"]), "is blank"),
    ],
)
def test_values_that_do_not_fit_the_condition_are_refused(where: object, problem: str) -> None:
    error = refused(where)
    assert error.option == "where"
    assert error.problem.startswith(problem)


def test_conditions_are_equal_if_their_values_and_the_types_of_these_are() -> None:
    assert as_condition(("x = ?", [1])) == as_condition(("x = ?", (1,)))
    assert len({as_condition(("x = ?", [value])) for value in (1, 1.0, True, "1", Decimal(1))}) == 5
    assert as_condition(("x = $a", {"a": 1})) != as_condition(("x = $b", {"b": 1}))
    one = as_condition("true")
    assert len({one, one.at_this_moment(), one.at_this_moment()}) == 3
    assert pickle.loads(pickle.dumps(as_condition(("x = ?", [1])))) == as_condition(("x = ?", [1]))


def test_a_command_line_gives_sql_or_json_with_values() -> None:
    for text, expected in (
        ("lang = 'en'", "lang = 'en'"),
        ('["lang = ?", ["en"]]', ("lang = ?", ["en"])),
        (' ["lang = $a", {"a": "en"}]', ("lang = $a", {"a": "en"})),
        ("['a'] = tags", "['a'] = tags"),
        ('["a", "b"] = tags', '["a", "b"] = tags'),
        ("[1, [2]]", "[1, [2]]"),
    ):
        assert where_of_text(text) == expected


def test_the_columns_that_a_condition_names() -> None:
    names = ("id", "Year", 'a"b', "straße", "lang", "order", "my col", "s")
    schema = pa.schema([(name, pa.int8()) for name in names])
    for where, expected in (
        ("YEAR > 3", ["Year"]),
        ('"a""b" = 1 or year = 2', ["Year", 'a"b']),
        ('Straße = 1 and "my col" = 2', ["straße", "my col"]),
        ("straße = 'lang' -- or year = 3", ["straße"]),
        ("lang = 1 /* year */", ["lang"]),
        ("s.lang.year = 'de'", ["s"]),
        ("year(id) = 2020", ["id"]),
        ("true", []),
        ("'lang' = 'year'", []),
        ("COLUMNS('l.*') = 1", schema.names),
    ):
        assert named_columns(where, schema).names == expected, where


def test_of_columns_that_differ_by_case_the_one_of_that_case_is_meant() -> None:
    table = pa.table({"year": [1, 2], "lang": ["a", "b"], "Year": [2, 1]})
    assert matching(table, "year = 1").tolist() == [True, False]
    assert matching(table, '"Year" = 1').tolist() == [False, True]
    assert named_columns("lang = 'en' or lang = 'year'", table.schema).names == ["lang"]
    for where in ("YEAR = 3", "year = Year", "COLUMNS(*) is null"):
        with pytest.raises(BadInput) as caught:
            check_condition(where, table.schema)
        assert "'year' and 'Year'" in caught.value.problem


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("lang = 'en' and year between 1 and 2", False),
        ("lang like 'now%' or lang = 'random()'", False),
        ("list_filter(tags, lambda x: x = 'a') = []", False),
        ("extract(year from day) = 2020 and day::date > '2020-01-01'", False),
        ("lang = any(['en']) and today = 3", False),
        ("now() > day", True),
        ("day < CURRENT_TIMESTAMP", True),
        ("day < Current_Date - 7", True),
        ("day < localtimestamp", True),
        ("day < today()", True),
        ("current_localtimestamp() > day", True),
        ("age(day) > interval 7 days", True),
        ("day < ago(interval 7 days)", True),
        ("random() < 0.5", True),
        ("uuid()::varchar < lang", True),
        ("gen_random_uuid() is null", True),
        ("nextval('numbers') = 1", True),
        ("year > (select 2000 + random() * 20)", True),
        ("exists (from range(9) tablesample 50%)", True),
    ],
)
def test_what_changes_with_time_or_chance_is_known(where: str, expected: bool) -> None:
    schema = pa.schema([*TABLE.schema, ("day", pa.timestamp("us")), ("today", pa.int8())])
    assert may_change(where, schema) is expected


def test_a_column_may_have_the_name_of_a_time() -> None:
    table = pa.table({"current_date": [3, 4], "user": ["a", "b"]})
    assert not may_change("current_date > 3 and user = 'b'", table.schema)
    assert matching(table, "current_date > 3 and user = 'b'").tolist() == [False, True]


@pytest.mark.parametrize(
    ("where", "hint"),
    [
        ("order = 1", 'Write the column order in double quotes: "order"'),
        ("GROUP > 1 and lang = 'x'", 'Write the column group in double quotes: "group"'),
        ("end = 1", 'Write the column end in double quotes: "end"'),
        ("my-col = 1", 'Write the column my-col in double quotes: "my-col"'),
        ("two  words = 1", 'Write the column two words in double quotes: "two words"'),
        ('lang = "en"', "Write texts in single quotes: 'en'. The columns are lang"),
        ("lang = 'order' and", "Give a condition over the columns: lang"),
        ('"order" = 1 and', "Give a condition over the columns: lang"),
        ("lang = 'it's'", "Give a condition over the columns: lang"),
    ],
)
def test_a_name_that_must_be_quoted_is_said(where: str, hint: str) -> None:
    names = ["lang", "order", "group", "end", "my-col", "two words", 'a"b']
    assert refused(where, pa.table({name: [1] for name in names})).remedy.startswith(hint)


def test_a_quoted_name_of_any_kind_is_a_column() -> None:
    names = ("order", "my-col", "two words", 'a"b', "été", "日本", "user", "select", "a.b", "😀")
    for name in names:
        quoted = '"' + name.replace('"', '""') + '"'
        assert matching(pa.table({name: [1, 2]}), f"{quoted} = 2").tolist() == [False, True]
