"""A condition can't take much memory or time, whatever it says."""

import pyarrow as pa
import pytest

from transforms.errors import BadInput
from transforms.search import predicate
from transforms.search.predicate import Evaluation, matching

TABLE = pa.table({"lang": ["en", "de"], "year": [2020, 2021], "tags": [["a"], ["b"]]})


@pytest.mark.parametrize(
    "where",
    [
        "repeat(lang, 1000000000) = 'x'",
        "lpad(lang, 2000000000, 'x') = 'x'",
        "lang.rpad(2000000000, 'x') = 'x'",
        "(select string_agg(lang, 'x') from (values (1))) = 'x'",
        "replace(replace(lang, 'e', 'eeeeeeee'), 'e', 'eeeeeeee') = 'x'",
        "len(range(1000000000)) = 1",
        "list_transform(tags, lambda x: x || x) = []",
        "list_resize(tags, 1000000000) = []",
        "format('{:>2000000000}', lang) = 'x'",
        "current_setting('memory_limit') = '2GB'",
        "getenv('HOME') = 'x'",
        "exists (select * from duckdb_settings())",
        "exists (show tables)",
        "exists (summarize select 1)",
        'exists (select * from "albeam rows")',
        "exists (with recursive t(x) as (select 'a' union all select x from t) select * from t)",
        "year < (select len(x || x) from (select lang || lang as x))",
        '"albeam row" = 1',
        "\"Albeam Rows\".lang = 'en'",
        "rowid = 1",
        "+".join(["len(repeat('x', 2000000000))"] * 500) + " = 1",
        " || ".join(["lang"] * 1_000) + " = 'x'",
        "lang" + ".a" * 60 + " = 'x'",
        "not " * 300 + "true",
        "list_filter(tags, lambda e: " * 20 + "true" + ")" * 20 + " is null",
        "(" * 300 + "year = 1" + ")" * 300,
        " or ".join(["year = 1"] * 10_000),
        "lang = '" + "x" * 1_000_001 + "'",
        "regexp_matches(lang || '" + "x" * 100_000 + "', '(x{1,30}){1,30}y')",
    ],
)
def test_what_takes_memory_or_is_internal_is_refused(where: str) -> None:
    with pytest.raises(BadInput) as caught:
        matching(TABLE, where)
    assert caught.value.option == "where"
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("lower(lang) || 'x' = 'enx'", [True, False]),
        ("year in (select x from (values (2021)) as t(x))", [False, True]),
        ("lang = any(['de', 'fr'])", [False, True]),
        ("regexp_matches(lang, '^e') and 'repeat(' <> lang", [True, False]),
        ("coalesce(lang, '') like 'd%'", [False, True]),
        ("case when year > 2020 then true else false end", [False, True]),
        ("cast(year as varchar) similar to '20.*0'", [True, False]),
        ("year % 2 = 0 and -year < 0 and year between 1 and 2020", [True, False]),
        ("try_cast(lang as integer) is null and lang not in ('de')", [True, False]),
        ("{'a': lang}.a = 'en' and tags[1] = 'a'", [True, False]),
    ],
)
def test_usual_conditions_are_allowed(where: str, rows: list[bool]) -> None:
    assert matching(TABLE, where).tolist() == rows


def test_all_parts_share_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predicate, "_SECONDS", 0.5)
    slow = "(select sum(hash(x) % 7) from unnest(range_) as t(x)) > 0"
    table = pa.table({"range_": [list(range(3_000_000))]})
    with Evaluation(slow, table.schema) as evaluation, pytest.raises(BadInput) as caught:
        _repeat(evaluation, table)
    assert "0 seconds" in caught.value.problem or "1 seconds" in caught.value.problem


def _repeat(evaluation: Evaluation, table: pa.Table) -> None:
    for _ in range(200):
        evaluation.matching(table, 1)


BIG = pa.table({"big": ["x'" * 50_000] * 20})


@pytest.mark.parametrize(
    "where",
    [
        " || ".join(["big"] * 80) + " = 'x'",
        "[" * 12 + "big" + "]::varchar" * 12 + " = 'x'",
        "regexp_matches(big, big)",
        "regexp_matches(big, '" + "(x?)" * 5_000 + "y')",
        "len(list_filter([1, 2], lambda i: " + "upper(" * 9 + "big" + ")" * 9 + " = 'x')) = 2",
    ],
)
def test_what_copies_or_searches_large_values_too_often_is_refused(where: str) -> None:
    with pytest.raises(BadInput) as caught:
        matching(BIG, where)
    assert "too much" in caught.value.problem
    assert caught.value.remedy


def test_rows_are_cut_where_all_of_them_take_too_much_memory() -> None:
    where = (
        " || ".join(["big"] * 20) + " like 'x%' and " + "lower(" * 50 + "big" + ")" * 50 + " <> ''"
    )
    assert matching(BIG, where).tolist() == [True] * 20


def test_values_nested_deeply_are_refused() -> None:
    value: list[object] = []
    for _ in range(5_000):
        value = [value]
    with pytest.raises(BadInput):
        matching(TABLE, ("lang = ?", [value]))
