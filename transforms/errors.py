"""Errors that a user can act on: each names a thing, its value, the problem and the remedy."""

import math
import re
from collections.abc import Sequence
from typing import Any, Self

#: A longer text is shortened; the name of a file has at most 255 characters.
_MOST_CHARACTERS = 255
#: A path or a URL: without blanks, or with a beginning that tells it from a text.
_ADDRESS = re.compile(r"\S*/\S*|(~|\.{0,2}|[A-Za-z][\w+.-]*(::\w+)*:/)/.*", re.DOTALL)
_PLAIN = (str, int, float, bool, type(None))


class AlbeamError(Exception):
    """The base of every error that albeam raises on purpose.

    Its text reads ``<option or thing> <value>: <problem>. <Remedy>.``

    Attributes:
        option: the option (``recall_target``) or the thing (``input file``) that is wrong.
        value: the offending value; None if ``option`` says enough.
        problem: what is wrong with it, as the rest of a sentence.
        remedy: what to do, as a sentence of its own.
    """

    def __init__(self, option: str, value: Any = None, problem: str = "", remedy: str = "") -> None:
        """Store the fields. Without a problem, ``option`` is the whole text: see `from_message`."""
        self.option, self.problem, self.remedy = option, problem, remedy
        # Any error must survive pickling, so its value is plain.
        self.value = value if isinstance(value, _PLAIN) else repr(value)
        # One argument: Beam appends the name of the step to the first.
        super().__init__(self.describe(option))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.option, self.value, self.problem, self.remedy)

    def describe(self, option: str) -> str:
        """Return the text with another name of the option, such as ``--recall-target``."""
        if not self.problem:
            return self.option
        named = option if self.value is None else f"{option} {_shown(self.value)}"
        text = f"{named}: {self.problem.rstrip('.')}."
        if not self.remedy:
            return text
        return f"{text} {self.remedy[:1].upper()}{self.remedy[1:].rstrip('.')}."

    @classmethod
    def from_message(cls, message: str) -> Self:
        """Return an error with the text that another process sent."""
        return cls(message)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its class if it has no text."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _shown(value: Any) -> str:
    """Return a value as text: quoted if it is empty or has blanks, shortened in the middle.

    A path or a URL is never shortened: its end is the name of the file.
    """
    text = str(value)
    if len(text) > _MOST_CHARACTERS and not _ADDRESS.fullmatch(text):
        half = _MOST_CHARACTERS // 2
        text = f"{text[:half]}…{text[-half:]}"
    return repr(text) if isinstance(value, str) and (not text or text.split() != [text]) else text


class BadInput(AlbeamError, ValueError):
    """Input, options or a model that can't be used as given."""


class Damaged(AlbeamError):
    """A store with files that are missing or differ from its manifests."""


class Conflict(AlbeamError):
    """A commit of another writer that can't be combined with the result of this command."""


class Stale(Conflict):
    """The base of a comparison no longer exists: the command must compare again."""


class Vacuumed(Conflict):
    """A snapshot that a reader had open, and that a vacuum removed: open the store again."""


class RecallMissed(AlbeamError):
    """An index with a measured recall below its target; the index was not published."""


def check_choice(option: str, value: str | None, choices: Sequence[str], remedy: str = "") -> None:
    """Raise BadInput if a value is given and is not one of the choices."""
    if value is not None and value not in choices:
        problem = f"must be one of {', '.join(choices)}"
        raise BadInput(option, value, problem, remedy or f"Give {choices[0]}, for example")


def check_at_least(option: str, value: float | None, least: float, remedy: str = "") -> None:
    """Raise BadInput if a number is given and is below the least one, or infinite."""
    if value is not None and not least <= value < math.inf:
        problem = f"must be at least {least:g}"
        raise BadInput(option, value, problem, remedy or f"Give {least:g} or more")


def check_above_zero(option: str, value: float | None, remedy: str = "") -> None:
    """Raise BadInput if a number is given and is not above 0, or infinite."""
    if value is not None and not 0 < value < math.inf:
        raise BadInput(option, value, "must be above 0", remedy or "Give a larger number")


def check_share(option: str, value: float | None, remedy: str = "") -> None:
    """Raise BadInput if a number is given and is not above 0 and at most 1."""
    if value is not None and not 0 < value <= 1:
        problem = "must be above 0 and at most 1"
        raise BadInput(option, value, problem, remedy or "Give a value such as 0.5")
