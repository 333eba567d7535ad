"""A condition on metadata columns: its SQL text, and the values of its parameters."""

import datetime
import itertools
import json
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

from transforms.errors import BadInput

#: The values of a condition's parameters: of ``?`` in order, or of ``$name`` by name.
Parameters = Sequence[Any] | Mapping[str, Any]

_EXAMPLE = 'Give where=("lang = ?", ["en"])'
_PLAIN = (bool, int, float, str, bytes, Decimal, uuid.UUID)
_TIMES = (datetime.date, datetime.time, datetime.timedelta)
#: The most levels of a value.
_MOST_LEVELS = 50
_MOMENTS = itertools.count(1)


class Condition:
    """A condition. Two are equal if their texts and values are, and the types of their values.

    Attributes:
        text: the SQL expression.
        values: the values of its parameters, a list or a dict.
        within: a condition that a row must meet as well, or None. This one is evaluated on the rows
            that meet it, so that no result, error or duration depends on other rows.
    """

    # No dataclass: `dataclasses.asdict` of the options that hold a condition leaves it whole.
    def __init__(
        self,
        text: str,
        values: Parameters = (),
        moment: int = 0,
        within: "Condition | None" = None,
    ) -> None:
        """Hold a condition; `as_condition` makes one of what a user gives.

        Args:
            text: the SQL expression.
            values: the values of its parameters.
            moment: makes conditions differ that are evaluated at different times.
            within: a condition that a row must meet as well.
        """
        self.text, self.within = text, within
        named = isinstance(values, Mapping)
        self.values: list[Any] | dict[str, Any] = (
            {str(name): _plain(text, value) for name, value in dict(values).items()}
            if named
            else [_plain(text, value) for value in values]
        )
        # 1, 1.0 and True are equal, and differ in a condition.
        self._key = text, named, repr(self.values), moment, within

    def at_this_moment(self) -> "Condition":
        """Return a condition that equals no other, although its text and values do."""
        return Condition(self.text, self.values, next(_MOMENTS), self.within)

    def inside(self, within: "Condition | None") -> "Condition":
        """Return this condition for the rows that meet another one; see ``within``."""
        return Condition(self.text, self.values, self._key[3], within)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Condition) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __str__(self) -> str:
        return f"{self.text} with {self.values}" if self.values else self.text

    def __repr__(self) -> str:
        return f"Condition({self.text!r}, {self.values!r})"


#: SQL, or SQL with the values of its parameters.
Where: TypeAlias = str | tuple[str, Parameters] | Condition


def as_condition(where: Where) -> Condition:
    """Return a condition that a user gave.

    Raises:
        BadInput: it is neither SQL nor SQL with values, it is blank, or a value is of a type that
            SQL can't compare.
    """
    if isinstance(where, Condition):
        return where
    pair: Any = where
    text, values = pair if _is_pair(where) else (where, ())
    if not isinstance(text, str):
        raise BadInput("where", where, "is no text", f"Give where=\"lang = 'en'\". {_EXAMPLE}")
    if not text.strip():
        raise BadInput("where", text, "is blank", "Give a condition such as lang = 'en', or none")
    _check_unicode(text, text)
    if isinstance(values, str | bytes) or not isinstance(values, Sequence | Mapping):
        raise BadInput("where", text, f"has the values {values!r}, no list", _EXAMPLE)
    return Condition(text, values)


def letters(values: Any) -> int:
    """Return about how many bytes the values of parameters have."""
    if isinstance(values, Mapping):
        return sum(map(letters, (*values, *values.values())))
    if isinstance(values, list | tuple):
        return sum(map(letters, values))
    return len(values) * 4 if isinstance(values, str | bytes) else 16


def where_of_text(text: str) -> Where:
    """Return the condition of a command line: SQL, or a JSON array of SQL and its values."""
    if text.lstrip().startswith("["):
        try:
            value = json.loads(text)
        except ValueError:
            return text
        if _is_pair(value) and isinstance(value[0], str) and isinstance(value[1], list | dict):
            return value[0], value[1]
    return text


def _is_pair(where: object) -> bool:
    return isinstance(where, tuple | list) and len(where) == 2


def _check_unicode(text: str, value: str) -> None:
    """Raise BadInput if the condition ``text`` has a value that UTF-8 can't express."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        problem = f"has half of a surrogate pair at character {error.start} of {value!r}"
        raise BadInput("where", text, problem, "Leave it out") from error


def _plain(text: str, value: Any, level: int = 0) -> Any:
    """Return a value that DuckDB takes; numpy's numbers and arrays become Python's."""
    if level > _MOST_LEVELS:
        problem = f"has a value of more than {_MOST_LEVELS} lists in each other"
        raise BadInput("where", text, problem, "Give a simpler value")
    if hasattr(value, "tolist") and not isinstance(value, str | bytes):
        value = value.tolist()
    if isinstance(value, str):
        _check_unicode(text, value)
    if value is None or isinstance(value, _TIMES) or type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(text, each, level + 1) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(text, each, level + 1) for each in value]
    plain: tuple[Any, ...] = _PLAIN
    for kind in plain:
        if isinstance(value, kind):
            return kind(value)
    problem = f"has a value of type {type(value).__name__}: {value!r}"
    raise BadInput("where", text, problem, "Give texts, numbers, times, or lists of them")
