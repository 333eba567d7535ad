"""Conditions made at random, from a grammar and from attacks, over a table of every type.

Run as ``python -m tests.faults.fuzz_conditions [--seed N] [--count N] [--only N]``. A condition is
one that a user of a search service may send. It must choose the same rows each time or end in a
clear error; it must not end the process, take its memory or its time, read or write a file, or
tell anything but the rows of the table.
"""

import datetime
import json
import random
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.faults.fuzz_harness import CHANGED, SAME, Fuzzer, Wrong, command
from transforms.search.predicate import matching, may_change

#: The most bytes that a condition may take; `docs/security.md` names it.
MOST_MEMORY = 2 << 30
#: DuckDB's allocator reserves addresses that it does not use.
_ADDRESSES = 6 << 30
#: The 30 seconds of a condition, twice, and what is done besides.
_SECONDS = 100
_DAY = datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.UTC)
_COLUMNS = ("n", "text", "big", "dec", "raw", "none", "odd#name", "Größe", "text2")
_TEXTS = ("text", "big", "nested.name", "tags[1]", "'x'", "'it''s'", "''", "'ß'", "$$a$$", "?")
_NUMBERS = ("n", "real", "dec", "nested.size", "1", "-7", "0.5", "1e308", "9223372036854775807")
_LISTS = ("tags", "pairs", "fixed", "[1, 2]", "['a', text]", "[]", "map(['a'], [text])")
_TIMES = ("day", "at", "now()", "date '2024-01-01'", "current_date", "interval 3 months")
_TYPES = (
    *("varchar", "int", "hugeint", "double", "decimal(38, 9)", "date", "timestamptz", "interval"),
    *("blob", "bit", "uuid", "json", "varchar[]", "int[3]", "struct(a int, b varchar)", "variant"),
    *("enum('a', 'b')", "map(varchar, int)", "union(a int, b varchar)", "int[100000]", "oid"),
)
_ONE_TEXT = (
    *("upper", "lower", "reverse", "trim", "md5", "sha256", "strip_accents", "nfc_normalize"),
    *("length", "ascii", "unicode", "hash", "typeof", "alias", "length_grapheme"),
)
_TWO_TEXTS = ("contains", "starts_with", "instr", "split_part", "translate", "left", "trim", "^@")
_OPERATORS = ("=", "<>", "<", ">=", "||", "+", "-", "*", "/", "%", "**", "is distinct from", "&")
_FIELDS, _JOINS = ("year", "epoch", "x"), ("and", "or")
_LIKE = ("like", "ilike", "not like", "similar to", "glob", "~", "!~", "~~~", "^@")
_PATTERNS = ("'%x%'", "'(a+)+$'", "'.*.*.*y'", "'(x{1,30}){1,30}'", "'['", "'\\'", "text", "'🎈*'")
_ONE_LIST = ("len", "list_distinct", "list_unique", "list_max", "list_sum", "array_length")

#: What no condition may use; none of them may choose rows.
ATTACKS = (
    *("repeat({text}, 1000000000) = 'x'", "lpad({text}, 2000000000, 'x') = 'x'"),
    *("format('{{:>2000000000}}', {text}) = 'x'", "printf('%2000000000d', n) = 'x'"),
    *("list_resize(tags, 1000000000) = []", "len(range(1000000000)) = 1"),
    *("len(generate_series(1, 1000000000)) = 1", "len(list_transform(tags, lambda x: x)) = 1"),
    *("regexp_replace({text}, '', {text}, 'g') = 'x'", "replace({text}, 'x', {text}) = 'x'"),
    *("concat({text}, {text}) <> 'x'", "to_json(nested) is not null", "bar(1, 0, 1, 1e9) = 'x'"),
    *("current_setting('memory_limit') = '2GB'", "getenv('HOME') <> ''", "version() <> ''"),
    *("getvariable('a') is null", "current_user = 'duckdb' and user() <> ''", "pg_sleep(99) = 1"),
    *(
        "exists (from duckdb_settings())",
        "exists (from duckdb_tables())",
        "exists (show tables)",
        "exists (summarize select 1)",
    ),
    *("exists (from information_schema.tables)", "exists (select * from sqlite_master)"),
    *("exists (from '{outside}/precious')", "exists (from read_text('{outside}/precious'))"),
    *("exists (from read_csv('{outside}/*'))", "exists (from glob('{outside}/*'))"),
    *("exists (from read_parquet('/dev/zero'))", "exists (from parquet_metadata('/etc/passwd'))"),
    *("exists (select * from sniff_csv('{outside}/precious'))", "exists (from query('select 1'))"),
    *("exists (from 'albeam rows')", 'exists (from "albeam rows")', '"albeam row" = 1'),
    *("rowid = 1", "row_number() over () = 1", "json_serialize_sql('select 1') <> ''"),
    *("json_execute_serialized_sql('{{}}') = 1", "exists (from pragma_version())"),
    *("exists (with recursive t(x) as (select 1 union all select x from t) from t)",),
    *("1 = 1; copy (select 1) to '{outside}/made'", "1 = 1) ; install httpfs; select (1"),
    *("1 = 1) from read_text('{outside}/precious'); select (1", "true) union all select (true"),
    *("exists (from query_table('x'))", "write_log('x') is null", "nextval('s') = 1"),
    *("exists (from arrow_scan(1, 2, 3))", "exists (from python_map_function(1))"),
    *("exists (from test_all_types())", "enum_range(null::enum('a')) is not null"),
)


@cache
def table() -> pa.Table:
    """Return the table: columns of every type, texts of 100,000 letters, and 60 rows."""
    count = 60
    words = ["x", "it's", None, "naïve \U0001f388", "x" * 40, "\x00\\"]
    big = ["x'" * 50_000, "aa\\" * 30_000, "é" * 50_000]
    columns: dict[str, Any] = {
        "text": pa.array([words[n % 6] for n in range(count)]),
        "big": pa.array([big[n % 3] for n in range(count)]),
        "n": pa.array([None if n == 5 else n - 10 for n in range(count)], pa.int64()),
        "real": pa.array([float("nan") if n == 3 else n / 7 for n in range(count)]),
        "yes": pa.array([[True, False, None][n % 3] for n in range(count)]),
        "day": pa.array([_DAY.date() + datetime.timedelta(n) for n in range(count)]),
        "at": pa.array([_DAY] * count, pa.timestamp("ns", "Asia/Tokyo")),
        "dec": pa.array([Decimal(n) / 4 for n in range(count)], pa.decimal128(20, 2)),
        "raw": pa.array([bytes(range(n)) for n in range(count)]),
        "tags": pa.array([["a", None, "b'"][: n % 4] for n in range(count)]),
        "pairs": pa.array([[("k", n)] for n in range(count)], pa.map_(pa.string(), pa.int32())),
        "nested": pa.array([{"name": f"n{n}", "size": n, "of": [{"x": n}]} for n in range(count)]),
        "fixed": pa.array([[0.5, 1.5, 2.5]] * count, pa.list_(pa.float32(), 3)),
        "none": pa.nulls(count),
        "odd#name": pa.array(range(count), pa.uint8()),
        "Größe": pa.array(["ß"] * count, pa.large_string()),
    }
    return pa.table(columns)


def _text(chosen: random.Random, level: int) -> str:
    if level <= 0 or chosen.random() < 0.3:
        return chosen.choice(_TEXTS)
    inner = level - 1
    return chosen.choice(
        (
            lambda: f"{chosen.choice(_ONE_TEXT)}({_text(chosen, inner)})",
            lambda: f"{_text(chosen, inner)} || {_any(chosen, inner)}",
            lambda: f"split_part({_text(chosen, inner)}, 'x', {_number(chosen, inner)})",
            lambda: f"substr({_text(chosen, inner)}, {_number(chosen, inner)}, 7)",
            lambda: f"strftime({chosen.choice(_TIMES)}, '{chosen.choice(('%Y', '%c%c', '%Q'))}')",
            lambda: f"regexp_extract({_text(chosen, inner)}, {chosen.choice(_PATTERNS)}, 1)",
            lambda: f"{_any(chosen, inner)}::varchar",
            lambda: f"coalesce({_text(chosen, inner)}, {_text(chosen, inner)})",
            lambda: f"case when {_truth(chosen, inner)} then {_text(chosen, inner)} else 'e' end",
            lambda: f"{_text(chosen, inner)} collate {chosen.choice(('nocase', 'de', 'nfc'))}",
            lambda: f"chr({_number(chosen, inner)})",
        )
    )()


def _number(chosen: random.Random, level: int) -> str:
    if level <= 0 or chosen.random() < 0.4:
        return chosen.choice(_NUMBERS)
    inner = level - 1
    return chosen.choice(
        (
            lambda: (
                f"({_number(chosen, inner)} {chosen.choice('+-*/%&|')} {_number(chosen, inner)})"
            ),
            lambda: f"length({_text(chosen, inner)})",
            lambda: f"{_any(chosen, inner)}::{chosen.choice(('int', 'hugeint', 'double'))}",
            lambda: f"try_cast({_text(chosen, inner)} as {chosen.choice(_TYPES)})",
            lambda: f"{chosen.choice(_ONE_LIST)}({_list(chosen, inner)})",
            lambda: f"(select {chosen.choice(('max', 'count', 'median'))}(x) from {_rows(chosen)})",
            lambda: f"power({_number(chosen, inner)}, 1000)",
            lambda: f"date_part('{chosen.choice(_FIELDS)}', {chosen.choice(_TIMES)})",
        )
    )()


def _list(chosen: random.Random, level: int) -> str:
    if level <= 0 or chosen.random() < 0.4:
        return chosen.choice(_LISTS)
    inner = level - 1
    return chosen.choice(
        (
            lambda: f"[{_any(chosen, inner)}, {_any(chosen, inner)}]",
            lambda: f"list_filter({_list(chosen, inner)}, lambda e: {_truth(chosen, inner)})",
            lambda: f"list_filter({_list(chosen, inner)}, lambda e: e = {_any(chosen, inner)})",
            lambda: f"list_slice({_list(chosen, inner)}, {_number(chosen, 0)}, 9)",
            lambda: f"list_distinct({_list(chosen, inner)})",
            lambda: f"[e for e in {_list(chosen, inner)} if e is not null]",
            lambda: f"{_text(chosen, inner)}::varchar[]",
        )
    )()


def _any(chosen: random.Random, level: int) -> str:
    return chosen.choice((_text, _number, _list, _struct, _truth))(chosen, level)


def _struct(chosen: random.Random, level: int) -> str:
    if level <= 0:
        return chosen.choice(("nested", "row(n, text)", "none", "raw", *_TIMES))
    return f"{{'a': {_any(chosen, level - 1)}, 'b c': {_any(chosen, level - 1)}}}"


def _rows(chosen: random.Random) -> str:
    values = ", ".join(f"({n})" for n in range(chosen.choice((1, 3, 300))))
    return chosen.choice(
        (
            f"(values {values}) t(x)",
            f"(values {values}) t(x), (values {values}) u(y), (values {values}) v(z)",
            "unnest(tags) t(x)",
            "(select unnest([n, 2, 3]) as x)",
            f"(select x, sum(x) over (order by x) from (values {values}) t(x))",
            "information_schema.tables t(x)",
        )
    )


def _truth(chosen: random.Random, level: int) -> str:
    if level <= 0:
        return chosen.choice(("yes", "n = 1", "true", "text is null", "none", "Größe = 'ß'"))
    inner = level - 1
    return chosen.choice(
        (
            lambda: f"{_any(chosen, inner)} {chosen.choice(_OPERATORS)} {_any(chosen, inner)}",
            lambda: f"({_truth(chosen, inner)} {chosen.choice(_JOINS)} {_truth(chosen, inner)})",
            lambda: f"not {_truth(chosen, inner)}",
            lambda: f"{_text(chosen, inner)} {chosen.choice(_LIKE)} {chosen.choice(_PATTERNS)}",
            lambda: f"{_number(chosen, inner)} between {_number(chosen, inner)} and n",
            lambda: f"{_any(chosen, inner)} in ({_any(chosen, inner)}, {_any(chosen, inner)})",
            lambda: f"{_any(chosen, inner)} = any({_list(chosen, inner)})",
            lambda: f"exists (select 1 from {_rows(chosen)} where x is not null)",
            lambda: f"regexp_matches({_text(chosen, inner)}, {chosen.choice(_PATTERNS)})",
            lambda: f"{chosen.choice(_TWO_TEXTS)}({_text(chosen, inner)}, {_text(chosen, inner)})",
            lambda: f"columns({chosen.choice(('*', _PATTERNS[0], 'lambda c: c > 1'))}) is not null",
            lambda: f"{_struct(chosen, inner)} is null /* {_text(chosen, inner)} */",
            lambda: f"{_list(chosen, inner)} is not null -- a comment",
            lambda: f"{_any(chosen, inner)}::{chosen.choice(_TYPES)} is null",
            lambda: f"({_any(chosen, inner)}) is null",
            lambda: (
                f'"{chosen.choice(_COLUMNS)}" {chosen.choice(_OPERATORS)} {_any(chosen, inner)}'
            ),
        )
    )()


#: What is repeated before, what is in the middle, and what is repeated after it.
_DEEP = (
    ("(", "yes", ")"),
    ("not ", "yes", ""),
    ("- ", "n", " < 0"),
    ("[", "n", "]"),
    ("", "n", "::int"),
    ("", "text", ".a"),
    ("", "tags", "[1]"),
    ("", "n", " + n"),
    ("", "yes", " or yes"),
    ("", "big", " || big"),
    ("case when yes then 1 else ", "2", " end"),
    ("{'a': ", "n", "}"),
    ("(select ", "yes", ")"),
    ("upper(", "big", ")"),
    ("/*", "", "*/"),
    ("'", "", ""),
    ('"', "", ""),
    ("$$", "", ""),
    ("[", "big", "]::varchar"),
    ("n in (1", "", ", 1)"),
    ("", "'", "x"),
    ("", "'", "\\"),
    ("", "text like '", "%x_"),
    ("", "regexp_matches(big, '", "(x?)"),
    ("", "columns(*)", " = columns(*)"),
    ("@", "n", "!"),
    ("list_filter(tags, lambda e: ", "yes", ")"),
    ("", "n", " union select 1"),
    ("?", "", ""),
)


def _deep(chosen: random.Random) -> str:
    """Return a condition that repeats itself, up to a length at which it must be refused."""
    count = chosen.choice((20, 120, 190, 1_000, 20_000, 200_000))
    before, middle, after = chosen.choice(_DEEP)
    end = "')" * ("regexp" in middle) or "'" * middle.endswith("'")
    return f"{before * count}{middle}{after * count}{end} is not null"


#: What is put into a condition.
_SIGNS = "'\"()[]{};,.$?:#*\\\x00\n é\u202e\ufeff\ud800🎈0eE-/%_@"


def _mutated(chosen: random.Random, text: str) -> str:
    found = list(text[:2_000])
    for _ in range(chosen.choice((1, 1, 2, 5))):
        place, other = chosen.randrange(len(found) + 1), chosen.randrange(len(found) + 1)
        kind = chosen.random()
        if kind < 0.3:
            del found[place : place + chosen.choice((1, 1, 5))]
        elif kind < 0.6:
            found[place:place] = chosen.choice(
                "'\"()[]{};,.$?:#*\\\x00\n é\u202e\ufeff\ud800🎈0eE-/%_@"
            )
        elif kind < 0.8:
            found[place:place] = found[other : other + 20]
        else:
            word = chosen.choice(("null", "select", "from", "over ()", "$1", "?", "#1", "**", ":a"))
            found[place:place] = f" {word} "
    return "".join(found)


#: Values of parameters.
_VALUES: tuple[Any, ...] = (
    *("x", 1, None, 0.5, True, "x" * 500_000, ["x", None], {"a": [1]}, [[]] * 3, 10**30),
)


def change(chosen: random.Random, work: Path, outside: Path) -> str:
    """Write a condition, its values, and whether it must be refused."""
    kind, values = chosen.random(), []
    attack = False
    if kind < 0.15:
        text = _deep(chosen)
    elif kind < 0.4:
        text, attack = chosen.choice(ATTACKS).format(text=_text(chosen, 1), outside=outside), True
        if chosen.random() < 0.3:
            text = chosen.choice(("yes or {}", "not ({})", "n < 5 and {}", "({}) is null")).format(
                text
            )
    else:
        text = _truth(chosen, chosen.choice((1, 2, 3, 4)))
    if kind > 0.75:
        text = _mutated(chosen, text)
    options: tuple[Any, ...] = (
        "x",
        1,
        None,
        0.5,
        True,
        "x" * 500_000,
        ["x", None],
        {"a": [1]},
        [[]] * 3,
        10**30,
    )
    values = [chosen.choice(options) for _ in range(text.count("?"))][:50]
    given = {"text": text, "values": values, "attack": attack}
    (work / "condition.json").write_text(json.dumps(given))
    return f"{text[:150]!r} with {str(values)[:40]}"


def use(work: Path, _: str) -> str:
    """Evaluate a condition twice."""
    given = json.loads((work / "condition.json").read_bytes())
    where = given["text"], given["values"]
    rows = table()
    began = _memory(reset=True)
    files = sorted(Path.cwd().iterdir())
    try:
        first = matching(rows, where)
        lasting = not may_change(where, rows.schema)
        if lasting and matching(rows, where).tolist() != first.tolist():
            raise Wrong("other rows the second time")
    finally:
        if (taken := _memory() - began) > MOST_MEMORY:
            raise MemoryError(f"it took {taken >> 20} MB")
    if sorted(Path.cwd().iterdir()) != files:
        raise Wrong("it made a file")
    if given["attack"]:
        raise Wrong("it was evaluated")
    return SAME if lasting else CHANGED


def _memory(reset: bool = False) -> int:
    """Return the most bytes that this process had since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def fuzzer() -> Fuzzer:
    """Return the fuzzer of conditions."""
    table()
    return Fuzzer("conditions", change, use, seconds=_SECONDS, memory=_ADDRESSES)


if __name__ == "__main__":
    command([fuzzer], __doc__)
