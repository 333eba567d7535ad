"""Errors that a user can act on: each names a thing, its value, the problem and the remedy."""

from typing import Any, Self

_MOST_CHARACTERS = 200
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


def _shown(value: Any) -> str:
    """Return a value as text: quoted where it is empty or has blanks, and of bounded length."""
    text = str(value)
    if isinstance(value, str) and (not text or text.split() != [text]):
        text = repr(value)
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "…"


class BadInput(AlbeamError, ValueError):
    """Input, options or a model that can't be used as given."""


class Damaged(AlbeamError):
    """A store with files that are missing or differ from its manifests."""


class Conflict(AlbeamError):
    """A commit of another writer that can't be combined with the result of this command."""


class Stale(Conflict):
    """The base of a comparison no longer exists: the command must compare again."""


class RecallMissed(AlbeamError):
    """An index with a measured recall below its target; the index was not published."""
