"""Exclusive creation: of two writers of one name exactly one wins, and knows that it has won.

On a local disk, a temporary file is linked to its name. On S3 and Google Cloud Storage, one
conditional put is made (``If-None-Match: *``, ``ifGenerationMatch=0``).
"""

import contextlib
import errno
import os
import threading
import uuid
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from transforms.errors import BadInput
from transforms.storage.disk_space import naming_full_disk

#: Filesystems whose exclusive create is one conditional request (or a lock in this process).
_CONDITIONAL_PUT = frozenset({"s3", "s3a", "gs", "gcs", "memory"})
#: S3's error codes for a name that is taken.
_TAKEN = frozenset({"PreconditionFailed", "412"})
#: S3's error codes for the slower of two simultaneous conditional puts: it must be repeated.
_UNDECIDED = frozenset({"ConditionalRequestConflict", "409"})
#: The error numbers of a link on a filesystem without hard links.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
#: fsspec's memory filesystem checks and then writes; this lock makes it one step.
_LOCKS = {"memory": threading.Lock()}
# In a forked process no thread would release it.
os.register_at_fork(after_in_child=lambda: _LOCKS.update(memory=threading.Lock()))


def is_local_fs(fs: Any) -> bool:
    """Return whether a filesystem is this machine's disk."""
    return isinstance(fs, LocalFileSystem)


def check_kind(fs: Any, url: str) -> None:
    """Raise BadInput, which names ``url``, if the kind of filesystem has no exclusive create."""
    if not is_local_fs(fs) and not _protocols(fs) & _CONDITIONAL_PUT:
        kind = "/".join(sorted(_protocols(fs)))
        raise BadInput(
            "store",
            url,
            f"is on a filesystem ({kind}) without exclusive creation, so two writers could "
            "destroy each other's work",
            "Use a local folder, s3:// or gs://",
        )


def put_conditionally(fs: Any, path: str, content: bytes) -> bool:
    """Make one conditional put; return False if the name is taken.

    Raises:
        ConnectionError: another put of the name is in progress; try again.
    """
    lock = _LOCKS["memory"] if "memory" in _protocols(fs) else contextlib.nullcontext()
    try:
        with lock:
            fs.pipe_file(path, content, mode="create")
    except FileExistsError:
        return False
    except OSError as error:
        # s3fs detects a lost race by a field that only some servers set.
        code = _code(error)
        if code in _TAKEN:
            return False
        if code in _UNDECIDED:
            raise ConnectionError(f"{path}: another put is in progress") from error
        raise
    return True


def link_exclusively(path: str, content: bytes) -> bool:
    """Create a local file atomically; return False if the name is taken."""
    folder = os.path.dirname(path)
    temporary = temporary_name(folder)
    try:
        with naming_full_disk(folder):
            os.makedirs(folder, exist_ok=True)
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            raise BadInput(
                "folder",
                folder,
                f"is on a filesystem without hard links ({error.strerror}), so two writers could "
                "destroy each other's work",
                "Use another disk, s3:// or gs://",
            ) from error
        sync_folder(folder)
        return True
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def sync_folder(path: str) -> None:
    """Flush the names in a local folder to disk, so that they survive a crash."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_name(folder: str) -> str:
    """Return a new unique path in a local folder."""
    return os.path.join(folder, f".tmp-{uuid.uuid4().hex}")


def _protocols(fs: Any) -> set[str]:
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)


def _code(error: BaseException) -> str:
    """Return the error code of an S3 response, or ""."""
    response = getattr(error.__cause__, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
