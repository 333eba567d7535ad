"""Full disks are named, whatever the library says that met one."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from transforms.errors import AlbeamError

_OPTION = "disk of"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
#: A write that failed where fewer bytes are free has failed for that.
_LITTLE = 64 << 10


@contextmanager
def naming_full_disk(folder: str) -> Iterator[None]:
    """Turn an error of a block that writes to a local folder into one that names the full disk.

    Raises:
        AlbeamError: the disk of the folder is full. FAISS, for one, only tells that it can't read
            what it wrote.
    """
    try:
        yield
    except InterruptedError:
        # The writer was told to give up; see `PartWriter.abort`.
        raise
    except Exception as error:
        if isinstance(error, AlbeamError) and error.option == _OPTION:
            raise
        if met_full_disk(error) or _has_little_space(folder):
            raise full_disk(folder) from error
        raise


def met_full_disk(error: BaseException | None) -> bool:
    """Return whether an error, or one that it came from, says that a disk is full."""
    while error is not None:
        # Libraries in other languages raise errors of their own, with the text of the system.
        full = isinstance(error, OSError) and error.errno in _FULL
        if full or os.strerror(errno.ENOSPC) in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def full_disk(folder: str) -> AlbeamError:
    """Return the error of a full disk."""
    return AlbeamError(
        _OPTION,
        folder,
        f"is full: {os.strerror(errno.ENOSPC)}",
        "Free some space and run the same command again; what is finished stays",
    )


def _has_little_space(folder: str) -> bool:
    try:
        found = os.statvfs(folder)
    except (OSError, AttributeError):
        return False
    # Some filesystems have no bounds to tell.
    bounded = found.f_blocks > 0
    return bounded and found.f_bavail * found.f_frsize < _LITTLE
