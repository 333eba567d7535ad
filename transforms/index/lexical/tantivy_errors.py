"""What tantivy raises for files that it can't read."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from transforms.errors import Damaged, first_line
from transforms.storage.disk_space import full_disk, met_full_disk
from transforms.storage.remedies import BUILD_LEXICAL


@contextmanager
def reading(where: str | None) -> Iterator[None]:
    """Turn tantivy's errors about files that it can't read into Damaged.

    Args:
        where: the folder of the files.

    Raises:
        FileNotFoundError: a file is missing.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except (ValueError, OSError, OverflowError) as error:
        if met_full_disk(error):
            # The files are fine: there is no room for the copies that tantivy opens.
            raise full_disk(tempfile.gettempdir()) from error
        raise _damaged(where, error) from error
    except BaseException as error:
        # The class is made by tantivy's binding, and can't be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise _damaged(where, error) from None


def _damaged(where: str | None, error: BaseException) -> Damaged:
    reason = first_line(error)
    return Damaged("lexical index", where, f"can't be read: {reason}", BUILD_LEXICAL)
