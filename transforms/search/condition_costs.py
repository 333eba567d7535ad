"""What a condition costs: how often it copies the values of a row, and how it searches them.

DuckDB computes a function for up to 2,048 rows at once, and keeps the results of all functions of a
condition meanwhile. Neither its limit of memory nor an interrupt holds inside of that. So the most
that a function can return is estimated from what is given to it.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

from transforms.errors import BadInput

#: Rows that DuckDB evaluates at once. A lambda or a subquery can copy one row as often.
_VECTOR = 2_048
#: Bytes of a value besides its content.
_VALUE = 32
#: The most bytes that functions may return at once, and the most steps of regular expressions. A
#: step takes up to 20 nanoseconds.
_MOST_BYTES, _MOST_STEPS = 256 << 20, 1_000_000_000
#: The most times that a pattern repeats one letter.
_MOST_REPEATS = 1_000
#: Results that are numbers, times or truth values, whatever is given.
_SMALL_NAMES = """
    != !~~ !~~* % & && * ** + - / // < << <= <@ = > >= >> @ @> ^ ^@ | ~ ~~ ~~* ~~~ xor between
    not_like_escape like_escape ilike_escape not_ilike_escape abs ascii bit_length ceil ceiling
    char_length character_length contains ends_with even floor hash instr isfinite isinf isnan
    len length length_grapheme octet_length ord position prefix regexp_full_match regexp_matches
    round sign sqrt starts_with strlen strpos suffix trunc unicode age ago century date_add
    date_diff date_part date_sub date_trunc datediff datepart datesub datetrunc day dayofmonth
    dayofweek dayofyear decade epoch epoch_ms epoch_ns epoch_us era hour isodow isoyear julian
    last_day make_date make_time make_timestamp make_timestamptz microsecond millennium millisecond
    minute month nanosecond quarter second strptime time_bucket try_strptime week weekday
    weekofyear year yearweek array_contains array_has array_has_all array_has_any array_indexof
    array_length array_position cardinality list_contains list_count list_has list_has_all
    list_has_any list_indexof list_position list_unique map_contains count count_star bool_and
    bool_or avg sum median
"""
_SMALL = frozenset(_SMALL_NAMES.split())
_SMALL_CLASSES = frozenset({"COMPARISON", "CONJUNCTION", "BETWEEN"})
_SMALL_OPERATORS = re.compile(r"COMPARE_.*|OPERATOR_(NOT|IS_NULL|IS_NOT_NULL)")
_SMALL_TYPE_NAMES = """
    bool boolean tinyint smallint int integer bigint hugeint utinyint usmallint uinteger ubigint
    uhugeint float real double decimal numeric date time timestamp timestamptz interval uuid
"""
_SMALL_TYPES = frozenset(_SMALL_TYPE_NAMES.split())
_CHANGING = frozenset({"random", "uuid", "gen_random_uuid"})
_REGULAR = frozenset({"regexp_extract", "regexp_full_match", "regexp_matches"})
#: Nodes that hold what others compute.
_NOT_COMPUTED = frozenset(
    {"COLUMN_REF", "STAR", "CONSTANT", "PARAMETER", "LAMBDA", "SUBQUERY", "TYPE"}
)
#: How many times as long as its arguments a result can be: a cast escapes quotes.
_FACTORS = {"CAST": 2.0, "strftime": 10.0}


@dataclass(frozen=True)
class Rows:
    """A number of rows, the bytes of their values, and those of the largest row, or more."""

    number: int
    content: int
    largest: int


#: A row without columns.
_ONE = Rows(1, 0, 0)


@dataclass(frozen=True)
class Size:
    """Bytes as a sum: so many times the row, so many bytes, and so many times the parameters."""

    rows: float = 0.0
    letters: float = 0.0
    values: float = 0.0

    def __add__(self, other: "Size") -> "Size":
        return Size(
            self.rows + other.rows, self.letters + other.letters, self.values + other.values
        )

    def most(self, other: "Size") -> "Size":
        """Return a size that is at least as large as both."""
        return Size(
            max(self.rows, other.rows),
            max(self.letters, other.letters),
            max(self.values, other.values),
        )

    def times(self, factor: float) -> "Size":
        """Return this size so many times."""
        return Size(self.rows * factor, self.letters * factor, self.values * factor)

    def of(self, rows: Rows, values: int) -> float:
        """Return the bytes for all of some rows, given the bytes of the parameters."""
        content = rows.content + rows.number * _VALUE
        return self.rows * content + rows.number * (self.letters + self.values * values)


@dataclass(frozen=True)
class Cost:
    """What a condition costs.

    Attributes:
        copies: what functions return for each row.
        spread: what functions in lambdas and subqueries return for each of their rows.
        constants: what functions of constants return.
        steps: steps of regular expressions for each byte that they search.
        spread_steps: the same in lambdas and subqueries.
        searched: the most that a regular expression searches.
    """

    copies: Size = Size()
    spread: Size = Size()
    constants: Size = Size()
    steps: Size = Size()
    spread_steps: Size = Size()
    searched: Size = Size()

    def fits(self, text: str, rows: Rows, letters: int, times: int = 1) -> bool:
        """Return whether rows can be evaluated at once; if not, cut them.

        Args:
            text: the condition.
            rows: the rows.
            letters: the bytes of the values of parameters.
            times: how often the condition is evaluated for each row.

        Raises:
            BadInput: it is one row, and may take too much memory or time.
        """
        # An interrupt is seen between two vectors, and memory is given back.
        number = min(rows.number, _VECTOR)
        rows = Rows(number, min(rows.content, number * rows.largest), rows.largest)
        one = Rows(1, rows.largest, rows.largest)
        taken = self.constants.of(_ONE, letters)
        taken += times * (self.copies.of(rows, letters) + _VECTOR * self.spread.of(one, letters))
        steps, inner = self.steps.of(one, letters), self.spread_steps.of(one, letters)
        work = steps * self.searched.of(rows, letters)
        work = times * (work + inner * _VECTOR * self.searched.of(one, letters))
        if taken <= _MOST_BYTES and work <= _MOST_STEPS:
            return True
        if rows.number > 1:
            return False
        what = "memory" if taken > _MOST_BYTES else "time"
        problem = f"may take too much {what} on a row of {rows.content} bytes"
        raise BadInput("where", text, problem, "Use fewer functions, or simpler ones")


def cost_of(expression: Any) -> Cost:
    """Return what a condition costs, from DuckDB's tree of it."""
    order: list[tuple[Any, int, bool]] = []
    waiting: list[tuple[Any, int, bool]] = [(expression, -1, False)]
    while waiting:
        value, parent, inner = waiting.pop()
        if isinstance(value, dict):
            inner = inner or value.get("class") in ("LAMBDA", "SUBQUERY")
            children = list(value.values())
        else:
            children = value
        place = len(order)
        order.append((value, parent, inner))
        waiting += [(each, place, inner) for each in children if isinstance(each, dict | list)]
    found, changing = [Size()] * len(order), [False] * len(order)
    sums = dict.fromkeys(("copies", "spread", "constants", "steps", "spread_steps"), Size())
    searched = Size()
    for place in reversed(range(len(order))):
        value, parent, inner = order[place]
        size, changes = found[place], changing[place]
        if isinstance(value, dict) and "class" in value:
            kind, name = value["class"], str(value.get("function_name", "")).lower()
            if name in _REGULAR:
                sums["spread_steps" if inner else "steps"] += _steps(value, size)
                searched = searched.most(size)
            size, changes = _result(value, kind, name, size, changes)
            if kind not in _NOT_COMPUTED and name != "unnest":
                sums[("spread" if inner else "copies") if changes else "constants"] += size
        if parent >= 0:
            found[parent] += size
            changing[parent] |= changes
    return Cost(**sums, searched=searched)


def _result(
    node: dict[str, Any], kind: str, name: str, given: Size, changes: bool
) -> tuple[Size, bool]:
    """Return how large the result of a node can be, and whether it is another for each row."""
    if kind in ("COLUMN_REF", "STAR"):
        return Size(rows=1), True
    if kind == "CONSTANT":
        return Size(letters=_VALUE + len(_literal(node))), False
    if kind == "PARAMETER":
        return Size(letters=_VALUE, values=1), False
    changes |= name in _CHANGING
    if kind in _SMALL_CLASSES or name in _SMALL or _is_small(node, kind):
        return Size(letters=_VALUE), changes
    size = given.times(_FACTORS.get(name, _FACTORS.get(kind, 1.0)))
    return size + Size(letters=_VALUE), changes


def _is_small(node: dict[str, Any], kind: str) -> bool:
    if kind == "CAST":
        named = node.get("type_expr", {}).get("type_name") or node.get("cast_type", {}).get("id")
        return str(named).lower() in _SMALL_TYPES
    return kind == "OPERATOR" and _SMALL_OPERATORS.fullmatch(str(node.get("type"))) is not None


def _literal(node: dict[str, Any]) -> str:
    """Return the text of a constant."""
    value = node.get("literal", node.get("value"))
    return str(value.get("text", value) if isinstance(value, dict) else value)


def _steps(node: dict[str, Any], given: Size) -> Size:
    """Return the steps of a regular expression for each letter that it searches."""
    arguments = node.get("arguments", node.get("children", []))
    pattern = arguments[1] if len(arguments) > 1 else {}
    pattern = pattern.get("expression", pattern)
    if pattern.get("class") != "CONSTANT":
        return given.times(_MOST_REPEATS)
    text = _literal(pattern)
    repeats = [int(found[-9:]) for found in re.findall(r"(\d+)\}", text)]
    return Size(letters=len(text) * max(1, min(math.prod(repeats), _MOST_REPEATS)))
