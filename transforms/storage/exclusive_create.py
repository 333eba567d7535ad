"""Exclusive creation: of two writers of one name exactly one wins, and knows it.

On a local disk a temporary file is linked to its name; on S3 and Google Cloud Storage one
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

#: Filesystems whose exclusive create is one conditional request (or a lock in this process).
_CONDITIONAL_PUT = frozenset({"s3", "s3a", "gs", "gcs", "memory"})
#: What S3 answers where the name is taken, by its error code.
_TAKEN = frozenset({"PreconditionFailed", "412"})
#: What S3 answers to the slower of two conditional puts that are under way: ask again.
_UNDECIDED = frozenset({"ConditionalRequestConflict", "409"})
#: What the link of a filesystem without hard links fails with.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
#: fsspec's memory filesystem looks first and writes then; under this it is one step.
_MEMORY_LOCK = threading.Lock()


def is_local_fs(fs: Any) -> bool:
    """Whether a filesystem is this machine's disk."""
    return isinstance(fs, LocalFileSystem)


def check_kind(fs: Any, url: str) -> None:
    """Raise BadInput where a filesystem of this kind has no exclusive create; ``url`` is named."""
    if not is_local_fs(fs) and not _protocols(fs) & _CONDITIONAL_PUT:
        raise BadInput(
            f"{url!r}: the {'/'.join(sorted(_protocols(fs)))} filesystem can't create a file "
            "exclusively, so two writers could destroy each other's work; "
            "use a local folder, s3:// or gs://"
        )


def put_conditionally(fs: Any, path: str, content: bytes) -> bool:
    """One conditional put; False where the name is taken.

    Raises:
        ConnectionError: the server could not decide between two puts; try again.
    """
    lock = _MEMORY_LOCK if "memory" in _protocols(fs) else contextlib.nullcontext()
    try:
        with lock:
            fs.pipe_file(path, content, mode="create")
    except FileExistsError:
        return False
    except OSError as error:
        # s3fs knows a lost race by a field that only some servers fill in.
        code = _code(error)
        if code in _TAKEN:
            return False
        if code in _UNDECIDED:
            raise ConnectionError(f"{path}: another put is under way") from error
        raise
    return True


def link_exclusively(path: str, content: bytes) -> bool:
    """Create a local file, whole or not at all; False where the name is taken."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    temporary = temporary_name(folder)
    try:
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
                f"the filesystem of {folder!r} has no hard links ({error.strerror}), without which "
                "two writers could destroy each other's work; use another disk, s3:// or gs://"
            ) from error
        sync_folder(folder)
        return True
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def sync_folder(path: str) -> None:
    """Make the names in a local folder survive a crash."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_name(folder: str) -> str:
    """A path in a local folder that nobody else uses."""
    return os.path.join(folder, f".tmp-{uuid.uuid4().hex}")


def _protocols(fs: Any) -> set[str]:
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)


def _code(error: BaseException) -> str:
    """The error code of an S3 answer, or nothing."""
    response = getattr(error.__cause__, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
