"""Files through fsspec: list, read, put atomically, create exclusively.

A path is any fsspec URL; a plain path is a local one. Nothing here knows what the files hold.
"""

import contextlib
import datetime
import errno
import hashlib
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from transforms.errors import BadInput

T = TypeVar("T")

#: Filesystems whose exclusive create is one conditional request (or a lock in this process).
_CONDITIONAL_PUT = frozenset({"s3", "s3a", "gs", "gcs", "memory"})
_TRANSIENT = (TimeoutError, ConnectionError)
#: What the link of a filesystem without hard links fails with.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
#: fsspec's memory filesystem looks first and writes then; under this it is one step.
_MEMORY_LOCK = threading.Lock()


@dataclass(frozen=True)
class FileInfo:
    """One file of an input: its URL, its bytes, and what changes when its content does."""

    url: str
    size: int
    version: str


def retry(call: Callable[[], T]) -> T:
    """``call()``, tried up to seven times with growing pauses while the network fails."""
    attempts = Retrying(
        retry=retry_if_exception_type(_TRANSIENT),
        stop=stop_after_attempt(7),
        wait=wait_exponential_jitter(initial=0.2, max=10),
        reraise=True,
    )
    return attempts(call)


def open_filesystem(url: str) -> tuple[Any, str]:
    """The filesystem of ``url``, without listing caches, and the path in it.

    Raises:
        BadInput: the protocol is unknown, its package is not installed, or its host is not there.
    """
    options: dict[str, Any] = {} if is_local(url) else {"use_listings_cache": False}
    try:
        fs, path = fsspec.url_to_fs(url, **options)
    except (ValueError, ImportError, OSError) as error:
        raise BadInput(f"can't open {url!r}: {error}") from error
    return fs, path


def is_local(url: str) -> bool:
    """Whether ``url`` is on this machine's disk."""
    return "://" not in url or url.startswith(("file://", "local://"))


def join(url: str, *names: str) -> str:
    """``url`` with path segments appended."""
    return "/".join([url.rstrip("/"), *names])


def absolute(url: str) -> str:
    """A local path made absolute; any other URL as it is."""
    if not is_local(url):
        return url.rstrip("/")
    return str(Path(open_filesystem(url)[1]).resolve())


def list_inputs(patterns: tuple[str, ...], suffix: str = ".parquet") -> list[FileInfo]:
    """The files that paths, folders and globs name, each once, ordered by URL.

    A folder gives every file below it that ends in ``suffix``; names that start with ``_`` or ``.``
    are left out there, as Spark and Hive do.

    Raises:
        BadInput: a pattern matches no file.
    """
    found: dict[str, FileInfo] = {}
    for pattern in patterns:
        fs, path = open_filesystem(pattern)
        matches = retry(lambda fs=fs, path=path: _match(fs, path, suffix))  # type: ignore[misc]
        if not matches:
            raise BadInput(
                f"input {pattern!r} matches no file; "
                f"name a {suffix} file, a folder of them, or a glob in quotes"
            )
        for info in matches:
            name = fs.unstrip_protocol(info["name"]) if not _is_local_fs(fs) else info["name"]
            found[name] = FileInfo(name, int(info["size"] or 0), _version(info))
    return [found[url] for url in sorted(found)]


def check_unchanged(file: FileInfo) -> None:
    """Raise BadInput where an input file is not what it was when it was listed."""
    fs, path = open_filesystem(file.url)
    try:
        info = retry(lambda: fs.info(path))
    except FileNotFoundError as error:
        raise BadInput(
            f"input {file.url!r} was removed while this run worked; restore it and run again"
        ) from error
    if _same(info, file):
        return
    # A listing and a look at one file may say different things of the same version.
    listed = retry(lambda: fs.ls(fs._parent(path), detail=True))
    if not any(each["name"] == info["name"] and _same(each, file) for each in listed):
        raise BadInput(
            f"input {file.url!r} was changed while this run worked; run again, and it is read "
            "and compared anew: write changed data under a new name, or while no run reads it"
        )


def _same(info: dict[str, Any], file: FileInfo) -> bool:
    return (int(info["size"] or 0), _version(info)) == (file.size, file.version)


def list_names(url: str) -> list[str]:
    """The names directly inside a folder, sorted; none where the folder is not there."""
    fs, path = open_filesystem(url)

    def call() -> list[str]:
        try:
            return [str(name) for name in fs.ls(path, detail=False)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    return sorted(name.rstrip("/").rsplit("/", 1)[-1] for name in retry(call))


@dataclass(frozen=True)
class StoredFile:
    """A file of a store: its path below the listed folder, bytes, and seconds since the epoch."""

    path: str
    size: int
    modified: float


def list_files(url: str) -> list[StoredFile]:
    """All files below a folder, sorted by path, hidden ones too; none where it is not there."""
    fs, path = open_filesystem(url)
    root = path.rstrip("/")

    def call() -> list[StoredFile]:
        try:
            found = fs.find(root, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [
            StoredFile(name[len(root) + 1 :], int(info["size"] or 0), _modified(info))
            for name, info in found.items()
        ]

    return sorted(retry(call), key=lambda file: file.path)


def exists(url: str) -> bool:
    """Whether there is a file or folder at ``url``.

    fsspec's own answer is no where the network fails.
    """
    fs, path = open_filesystem(url)
    try:
        retry(lambda: fs.info(path))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def modified(url: str) -> float:
    """Seconds since the epoch when a file was written; raises FileNotFoundError without one."""
    fs, path = open_filesystem(url)
    return _modified(retry(lambda: fs.info(path)))


def size(url: str) -> int:
    """The bytes of the file at ``url``; raises FileNotFoundError where there is none."""
    fs, path = open_filesystem(url)
    return int(retry(lambda: fs.info(path))["size"] or 0)


def read_bytes(url: str) -> bytes:
    """The whole content of a file; raises FileNotFoundError where there is none."""
    fs, path = open_filesystem(url)
    return bytes(retry(lambda: fs.cat_file(path)))


def open_input(url: str) -> Any:
    """The file at ``url``, open for reading at any offset."""
    fs, path = open_filesystem(url)
    return retry(lambda: fs.open(path, "rb"))


def sha256(url: str) -> str:
    """The SHA-256 of a file's content, as hexadecimal digits."""
    with open_input(url) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(content: bytes) -> str:
    """The SHA-256 of bytes, as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def remove(url: str) -> None:
    """Remove a file; nothing happens where there is none."""
    fs, path = open_filesystem(url)
    with contextlib.suppress(FileNotFoundError):
        retry(lambda: fs.rm_file(path))


def remove_folder(url: str) -> None:
    """Remove a local folder if it is empty; object stores have none."""
    fs, path = open_filesystem(url)
    if _is_local_fs(fs):
        with contextlib.suppress(OSError):
            os.rmdir(path)


@contextlib.contextmanager
def put_atomically(folder: str, name: Callable[[str], str]) -> Iterator[str]:
    """Write a file under a name that depends on its content, seen by readers only when whole.

    Yields a local path to write to. When the block ends, the file moves into ``folder`` under
    ``name(sha256)``; when it raises, nothing is left.
    """
    fs, path = open_filesystem(folder)
    local = _is_local_fs(fs)
    if local:
        os.makedirs(path, exist_ok=True)
    temporary = _temporary_name(path if local else tempfile.gettempdir())
    try:
        yield temporary
        with open(temporary, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        target = f"{path.rstrip('/')}/{name(digest)}"
        if local:
            os.replace(temporary, target)
            _sync_folder(path)
        else:
            retry(lambda: fs.put_file(temporary, target))
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def create_exclusively(url: str, content: bytes) -> bool:
    """Create a file with ``content``, whole or not at all; False where the name is taken.

    Locally a temporary file is linked to its name, on object stores one conditional put is made.

    Raises:
        BadInput: the filesystem has no exclusive create.
    """
    fs, path = open_filesystem(url)
    if _is_local_fs(fs):
        return _link_exclusively(path, content)
    check_exclusive(url)
    lock = _MEMORY_LOCK if "memory" in _protocols(fs) else contextlib.nullcontext()
    try:
        with lock:
            retry(lambda: fs.pipe_file(path, content, mode="create"))
    except FileExistsError:
        return False
    return True


def check_exclusive(url: str) -> None:
    """Raise BadInput where the filesystem of ``url`` has no exclusive create."""
    fs, _ = open_filesystem(url)
    if not _is_local_fs(fs) and not _protocols(fs) & _CONDITIONAL_PUT:
        raise BadInput(
            f"{url!r}: the {'/'.join(sorted(_protocols(fs)))} filesystem can't create a file "
            "exclusively, so two writers could destroy each other's work; "
            "use a local folder, s3:// or gs://"
        )


def local_path(url: str) -> str:
    """The path on this machine's disk of a local URL."""
    return str(open_filesystem(url)[1])


def _match(fs: Any, path: str, suffix: str) -> list[dict[str, Any]]:
    if any(letter in path for letter in "*?[") and not fs.exists(path):
        return [i for i in fs.glob(path, detail=True).values() if i["type"] == "file"]
    if not fs.exists(path):
        return []
    if fs.isfile(path):
        return [fs.info(path)]
    root = path.rstrip("/")
    return [
        info
        for name, info in fs.find(path, detail=True).items()
        if name.endswith(suffix) and not _is_hidden(name[len(root) :])
    ]


def _is_hidden(relative: str) -> bool:
    return any(segment.startswith(("_", ".")) for segment in relative.split("/"))


def _version(info: dict[str, Any]) -> str:
    for key in ("ETag", "etag", "generation", "mtime", "LastModified", "updated", "created"):
        if info.get(key) is not None:
            return f"{key}={info[key]}"
    return ""


def _modified(info: dict[str, Any]) -> float:
    """Seconds since the epoch, from whichever field a filesystem has; now where it has none."""
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = info.get(key)
        if isinstance(value, str):
            value = datetime.datetime.fromisoformat(value)
        if isinstance(value, datetime.datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return time.time()


def _protocols(fs: Any) -> set[str]:
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)


def _is_local_fs(fs: Any) -> bool:
    return isinstance(fs, LocalFileSystem)


def _link_exclusively(path: str, content: bytes) -> bool:
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    temporary = _temporary_name(folder)
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
        _sync_folder(folder)
        return True
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary_name(folder: str) -> str:
    return os.path.join(folder, f".tmp-{uuid.uuid4().hex}")
