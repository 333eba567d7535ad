"""Errors that a user can act on; each one names the thing, the value and the remedy."""


class AlbeamError(Exception):
    """The base of every error that albeam raises on purpose."""


class BadInput(AlbeamError, ValueError):
    """Input, options or a model that can't be used as given."""


class Damaged(AlbeamError):
    """A store whose files are missing or differ from what its manifest says."""


class Conflict(AlbeamError):
    """Another writer committed something that this command can't be joined with."""


class Stale(Conflict):
    """What a command compared its input with is gone: it has to compare again."""


class RecallMissed(AlbeamError):
    """An index whose measured recall is below what was asked for; it was not published."""
