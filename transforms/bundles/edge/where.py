"""Conditions on metadata, in a small part of the SQL that ``albeam search --where`` takes.

A condition is evaluated while it is read. As in SQL, what is compared with nothing is neither true
nor false, and a row is kept if the whole is true.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt

GRAMMAR = """\
conditions:
  COLUMN = VALUE, and !=, <>, <, <=, >, >=
  COLUMN IN (VALUE, ...), COLUMN NOT IN (VALUE, ...)
  COLUMN IS NULL, COLUMN IS NOT NULL
  joined by AND, OR, NOT and parentheses
  COLUMN is document_id or a name of metadata, in "quotes" if it is no single word; a VALUE is a
  'text' ('' is a quote in it), a number, TRUE, FALSE, or a date or time such as '2026-01-31'.
  Example: --where "kind = 'class' AND year >= 2020"
  These mean what they mean for albeam search. Refused are the rest of SQL, such as LIKE, BETWEEN,
  functions and arithmetic, and columns of lists, structs, bytes, durations and times of day."""
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^']|'')*')
    |(?P<number>[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)(?![\w.])
    |(?P<name>"(?:[^"]|"")+")
    |(?P<word>[^\W\d]\w*)
    |(?P<sign><>|!=|<=|>=|[=<>(),]))""",
    re.VERBOSE,
)
_COMPARE = {
    **{"=": "equal", "!=": "not_equal", "<>": "not_equal"},
    **{"<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal"},
}
_RESERVED = ("AND", "OR", "NOT", "IN", "IS", "NULL", "TRUE", "FALSE")
#: What may follow a column.
_FOLLOW = [[("sign", each)] for each in ("IS", "NOT", "IN", *_COMPARE)]
_LONGEST, _DEEPEST = 10_000, 50

#: A kind of token and its text.
Token = tuple[str, str]
#: Returns a column by its name; raises ValueError if there is none.
Column = Callable[[str], pa.ChunkedArray]


def column_named(name: str, names: list[str]) -> str | None:
    """Return which of some columns a name means: that of the same case, else the first other."""
    if name in names:
        return name
    return next((each for each in names if each.lower() == name.lower()), None)


def meeting(text: str, column: Column) -> npt.NDArray[np.bool_]:
    """Return which rows meet a condition.

    Args:
        text: the condition.
        column: returns the columns that it names.

    Raises:
        ValueError: it is not of this grammar, or compares what can't be compared.
    """
    found = _Reader(_tokens(text), column).condition()
    return np.asarray(found.fill_null(False).combine_chunks().to_numpy(zero_copy_only=False))


def _tokens(text: str) -> list[Token]:
    """Return the tokens of a condition: reserved words are signs, in capitals."""
    if len(text) > _LONGEST:
        raise ValueError(f"--where has {len(text):,} characters, and at most {_LONGEST:,} are read")
    tokens, place = list[Token](), 0
    while text[place:].strip():
        found = _TOKEN.match(text, place)
        if found is None:
            raise ValueError(f"--where can't be read from {text[place:].strip()[:40]!r} on")
        kind, content, place = found.lastgroup or "", found[0].strip(), found.end()
        if kind in ("text", "name"):
            content = content[1:-1].replace(2 * content[0], content[0])
        if kind == "word" and content.upper() in _RESERVED:
            kind, content = "sign", content.upper()
        tokens.append((kind, content))
    if not tokens:
        raise ValueError("--where is blank")
    return tokens


class _Reader:
    """Reads the tokens of a condition from the left to the right."""

    def __init__(self, tokens: list[Token], column: Column) -> None:
        import pyarrow.compute

        self._compute: Any = pyarrow.compute
        self._tokens, self._column, self._place, self._depth = tokens, column, 0, 0

    def condition(self) -> Any:
        """Return what all tokens together mean, for each row."""
        found = self._joined("OR", lambda: self._joined("AND", self._one))
        if self._place < len(self._tokens):
            raise self._unexpected("AND, OR or the end")
        return found

    def _joined(self, word: str, part: Callable[[], Any]) -> Any:
        found = part()
        join = self._compute.and_kleene if word == "AND" else self._compute.or_kleene
        while self._taken(word):
            found = join(found, part())
        return found

    def _one(self) -> Any:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError(f"--where has more than {_DEEPEST} conditions in each other")
        if self._taken("NOT"):
            found = self._compute.invert(self._one())
        elif self._taken("("):
            found = self._joined("OR", lambda: self._joined("AND", self._one))
            self._expect(")")
        else:
            found = self._comparison()
        self._depth -= 1
        return found

    def _comparison(self) -> Any:
        kind, name = self._next("a column")
        if kind not in ("name", "word"):
            raise self._unexpected("a column", 1)
        if self._tokens[self._place :][:1] not in _FOLLOW:
            raise self._unexpected("=, IN, IS or another comparison")
        column = self._column(name)
        if self._taken("IS"):
            other = self._taken("NOT")
            self._expect("NULL")
            return self._compute.is_valid(column) if other else self._compute.is_null(column)
        other = self._taken("NOT")
        if self._taken("IN"):
            self._expect("(")
            found = self._compared(name, column, "=")
            while self._taken(","):
                found = self._compute.or_kleene(found, self._compared(name, column, "="))
            self._expect(")")
            return self._compute.invert(found) if other else found
        kind, sign = self._next("a comparison")
        if other or kind != "sign" or sign not in _COMPARE:
            raise self._unexpected("IN", 1)
        return self._compared(name, column, sign)

    def _compared(self, name: str, column: Any, sign: str) -> Any:
        """Return the comparison of a column with the value that follows."""
        token = self._next("a value")
        if token[0] not in ("text", "number") and token[1] not in ("TRUE", "FALSE"):
            raise self._unexpected("a value", 1)
        try:
            column, value = _alike(column, token)
            found = getattr(self._compute, _COMPARE[sign])(column, value)
        except (pa.ArrowException, ValueError, ArithmeticError) as error:
            problem = f"--where compares {name}, which holds {column.type}, with {token[1]!r}"
            raise ValueError(problem) from error
        if pt.is_floating(column.type) and sign in (">", ">="):
            # What is no number is above all numbers.
            found = self._compute.or_kleene(found, self._compute.is_nan(column))
        return found

    def _taken(self, sign: str) -> bool:
        """Return whether a sign is next, and go past it."""
        here = self._tokens[self._place : self._place + 1] == [("sign", sign)]
        self._place += here
        return here

    def _expect(self, sign: str) -> None:
        if not self._taken(sign):
            raise self._unexpected(sign)

    def _next(self, wanted: str) -> Token:
        if self._place >= len(self._tokens):
            raise self._unexpected(wanted)
        self._place += 1
        return self._tokens[self._place - 1]

    def _unexpected(self, wanted: str, back: int = 0) -> ValueError:
        token = [each for _, each in self._tokens][self._place - back :][:1]
        found = repr(token[0]) if token else "the end"
        return ValueError(f"--where has {found} instead of {wanted}; --help shows what it can be")


def _alike(column: Any, token: Token) -> tuple[Any, Any]:
    """Return a column and a value in types that are compared; raises ValueError if none are."""
    kind, (said, text) = column.type, token
    if said == "sign" and pt.is_boolean(kind):
        return column, pa.scalar(text == "TRUE")
    if said == "text" and pt.is_string(kind):
        return column, pa.scalar(text)
    if said == "text" and (pt.is_date(kind) or pt.is_timestamp(kind)):
        # Times without a zone are those of UTC.
        plain = pa.date32() if pt.is_date(kind) else pa.timestamp(kind.unit)
        return column, pa.scalar(text).cast(plain).cast(kind)
    if said == "number" and pt.is_decimal(kind):
        return column, pa.scalar(Decimal(text))
    if said == "number" and pt.is_floating(kind):
        # As in DuckDB, a number with an exponent is one of eight bytes.
        wide = pa.float64() if "e" in text.lower() else kind
        return column.cast(wide), pa.scalar(float(text), wide)
    if said == "number" and pt.is_integer(kind):
        try:
            return column, pa.scalar(int(text), kind)
        except (ValueError, pa.ArrowInvalid, OverflowError):
            return column.cast(pa.float64(), safe=False), pa.scalar(float(text))
    raise ValueError(text)
