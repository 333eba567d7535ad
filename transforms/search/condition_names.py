"""What a condition names: columns, parameters and functions, from DuckDB's own parse of it."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypedDict

from transforms.errors import BadInput
from transforms.search.condition_costs import Cost, cost_of
from transforms.search.condition_size import MOST_FIELDS, MOST_LEVELS, check_size

#: Functions of the time of day that DuckDB lists as if their results never changed.
_CLOCKS = frozenset({"age", "current_localtime", "current_localtimestamp"})
#: What a subquery may read: values, other subqueries, and functions.
_SOURCES = frozenset({"EMPTY", "EXPRESSION_LIST", "SUBQUERY", "JOIN", "TABLE_FUNCTION"})
#: Parts of a statement that a condition can't have, and their names in an error.
_CLAUSES = {
    "where_clause": "a WHERE clause",
    "group_expressions": "a GROUP BY clause",
    "having": "a HAVING clause",
    "qualify": "a QUALIFY clause",
    "sample": "a SAMPLE clause",
    "modifiers": "DISTINCT, ORDER BY or LIMIT",
}


@dataclass(frozen=True)
class Names:
    """The names in a condition. Texts and comments have none.

    Attributes:
        columns: the names that may be columns, as they are written; None if any column may be used.
        parameters: the names of its parameters; "1", "2" and so on for ``?``.
        functions: its functions, in lower case.
        local: names that it declares itself, as a lambda does.
        reads: whether it reads a table or a table function.
        tables: whether it reads a table.
        every: the names of columns, tables and fields, as they are written.
        counts: how often it uses each function.
        casts: how many casts it has.
        subqueries: how many subqueries it has.
        lambdas: how many lambdas it has.
        recursive: whether one of them repeats itself.
        cost: what it costs.
    """

    columns: frozenset[str] | None
    parameters: frozenset[str]
    functions: frozenset[str]
    local: frozenset[str]
    reads: bool
    tables: bool = False
    every: frozenset[str] = frozenset()
    counts: dict[str, int] = field(default_factory=dict)
    casts: int = 0
    subqueries: int = 0
    lambdas: int = 0
    recursive: bool = False
    cost: Cost = field(default_factory=Cost)

    def may_change(self, columns: frozenset[str]) -> bool:
        """Return whether the same rows may meet the condition at one time and not at another.

        Args:
            columns: all columns of the store, in lower case. Another name may be that of a value
                such as ``current_date``.
        """
        if self.columns is None or self.reads or not self.functions <= _lasting_functions():
            return True
        return not {lower(name) for name in self.columns - self.local} <= columns


def lower(name: str) -> str:
    """Return a name in the case in which DuckDB compares names, which changes ASCII letters."""
    return re.sub("[A-Z]+", lambda found: found[0].lower(), name)


@lru_cache(256)
def names_of(text: str) -> Names:
    """Return the names in a condition.

    Raises:
        BadInput: the text is not one SQL expression, or is too long; a ``remedy`` may be empty.
    """
    check_size(text)
    written = _written(text)
    # In a text the quotes would be escaped.
    counts = Counter(name.lower() for name in _strings(written, "function_name"))
    used = _Used(
        every=frozenset(_column_names(written)),
        counts=dict(counts),
        casts=written.count('"class":"CAST"'),
        subqueries=written.count('"class":"SUBQUERY"'),
        lambdas=written.count('"class":"LAMBDA"'),
        recursive='"type":"RECURSIVE_CTE_NODE"' in written,
    )
    try:
        tree = _expression(text, written)
    except RecursionError as error:
        raise BadInput("where", text, "is nested too deeply", "Give a simpler condition") from error
    nodes = list(_nodes(tree))
    columns, parameters, functions, local = set(), set(), set(), set()
    every = reads = tables = False
    for node in nodes:
        kind = node.get("class")
        if kind == "COLUMN_REF":
            if len(node["column_names"]) > MOST_FIELDS:
                problem = f"names a field of {len(node['column_names'])} names"
                raise BadInput("where", text, f"{problem}, and {MOST_FIELDS} are possible")
            columns.add(node["column_names"][0])
        elif kind == "STAR":
            every = True
        elif kind == "PARAMETER":
            parameters.add(node["identifier"])
        elif kind == "LAMBDA":
            local |= {each["column_names"][0] for each in _nodes(node["lhs"]) if _is_name(each)}
        elif kind == "POSITIONAL_REFERENCE":
            problem = f"names a column by its place, #{node.get('index')}"
            raise BadInput("where", text, problem, "Give the column's name")
        if "function_name" in node:
            functions.add(node["function_name"].lower())
        if "sample" in node and "alias" in node:
            tables |= node.get("type") not in _SOURCES
        reads |= node.get("type") in ("BASE_TABLE", "TABLE_FUNCTION") or bool(node.get("sample"))
    return Names(
        None if every else frozenset(columns),
        frozenset(parameters),
        frozenset(functions),
        frozenset(local),
        reads,
        tables,
        cost=cost_of(tree),
        **used,
    )


class _Used(TypedDict):
    every: frozenset[str]
    counts: dict[str, int]
    casts: int
    subqueries: int
    lambdas: int
    recursive: bool


def _strings(written: str, key: str) -> list[str]:
    return [json.loads(found) for found in re.findall(rf'"{key}":("(?:[^"\\]|\\.)*")', written)]


def _column_names(written: str) -> Iterator[str]:
    for found in re.findall(r'"column_names":(\[(?:"(?:[^"\\]|\\.)*",?)*\])', written):
        yield from json.loads(found)


def _is_name(node: dict[str, Any]) -> bool:
    return node.get("class") == "COLUMN_REF"


def _written(text: str) -> str:
    """Return DuckDB's tree of a statement with an expression, as JSON."""
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": "false",
        "max_expression_depth": str(MOST_LEVELS),
    }
    with duckdb.connect(config=settings) as connection:
        try:
            found = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT\n{text}\n"])
            [(written,)] = found.fetchall()
        except duckdb.Error as error:
            raise BadInput("where", text, f"can't be read: {error}") from error
    return str(written)


def _expression(text: str, written: str) -> Any:
    """Return the tree of an expression."""
    tree = json.loads(written)
    if tree["error"]:
        if tree["error_type"] == "not implemented":
            raise BadInput("where", text, "is a statement, or several, and no condition")
        raise BadInput("where", text, f"can't be evaluated: {tree['error_message']}")
    if len(tree["statements"]) != 1:
        raise BadInput("where", text, "is several statements, and no condition")
    node = tree["statements"][0]["node"]
    if node["type"] != "SELECT_NODE" or len(node["select_list"]) != 1:
        raise BadInput("where", text, "is not one condition")
    [expression] = node["select_list"]
    if node["from_table"]["type"] != "EMPTY":
        raise BadInput("where", text, "has a FROM clause outside a subquery")
    for key, name in _CLAUSES.items():
        if node.get(key):
            raise BadInput("where", text, f"has {name} outside a subquery")
    if expression["alias"]:
        problem = f"gives itself the name {expression['alias']!r}"
        raise BadInput("where", text, problem)
    return expression


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield all objects of a JSON value."""
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


@lru_cache(1)
def _lasting_functions() -> frozenset[str]:
    """Return the functions whose results depend on their arguments alone, in lower case."""
    import duckdb

    kinds = "('scalar', 'aggregate', 'macro')"
    query = (
        "SELECT lower(function_name), stability, lower(macro_definition) FROM duckdb_functions() "
        f"WHERE function_type IN {kinds}"
    )
    with duckdb.connect(config={"enable_external_access": "false"}) as connection:
        rows = connection.execute(query).fetchall()
    names = {name for name, _, _ in rows}
    changing = {name for name, stability, _ in rows if stability not in (None, "CONSISTENT")}
    changing |= _CLOCKS
    macros = [(name, set(re.findall(r"\w+", text or ""))) for name, kind, text in rows if not kind]
    more = {name for name, words in macros if words & (changing | {"current_timestamp"})}
    while more - changing:
        changing |= more
        more = {name for name, words in macros if words & changing}
    return frozenset(names - changing) | {"unnest"}
