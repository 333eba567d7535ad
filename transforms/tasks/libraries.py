"""The libraries of the extra ``albeam[tasks]``, which tasks import on use."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needing_tasks() -> Iterator[None]:
    """Say what to install if an import in the block fails."""
    try:
        yield
    except ImportError as error:
        message = f"{error.name} is missing: pip install 'albeam[tasks]'"
        raise ImportError(message, name=error.name) from error
