"""A finding of ``albeam doctor``: one thing that albeam may need."""

from collections.abc import Callable
from dataclasses import dataclass

from transforms.errors import AlbeamError


@dataclass(frozen=True)
class Finding:
    """One thing that albeam may need.

    Attributes:
        name: what it is.
        found: which version of it is there, "" if it is missing.
        remedy: what to do if it is missing or does not fit.
        needed: whether the chosen runner needs it.
    """

    name: str
    found: str
    remedy: str = ""
    needed: bool = False


def attempt(name: str, check: Callable[[], str], needed: bool) -> Finding:
    """Return what a check found; if it raises, the message is the remedy."""
    try:
        return Finding(name, check(), needed=needed)
    except (AlbeamError, ImportError, OSError) as error:
        return Finding(name, "", str(error), needed)
