"""Files through fsspec: list, read, put atomically, create exclusively.

A path is any fsspec URL; see `transforms.storage.urls`. This module does not know file formats.
"""

import contextlib
import functools
import hashlib
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from transforms.storage import exclusive_create, store_files, urls
from transforms.storage.disk_space import naming_full_disk
from transforms.storage.exclusive_create import is_local_fs
from transforms.storage.listed_fields import modified_time
from transforms.storage.retries import retry

#: The filesystems of open files in archives: an archive is closed when its filesystem is dropped.
_OPENED_IN: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
#: fsspec takes longer to find its instance than the system to open a file.
_local = functools.cache(LocalFileSystem)


@dataclass(frozen=True)
class FileInfo:
    """An input file: its URL, its size in bytes, and a version that changes with its content."""

    url: str
    size: int
    version: str


def open_filesystem(url: str) -> tuple[Any, str]:
    """Return the filesystem of ``url``, without listing caches, and the path in it.

    Raises:
        BadInput: the protocol is unknown, its package is missing, or its host can't be reached; a
            local name is not UTF-8.
    """
    # A local name is never parsed as a URL: it may hold "::" or begin with "data:".
    return (_local(), local_path(url)) if is_local(url) else urls.open_remote(url)


def is_local(url: str) -> bool:
    """Return whether ``url`` is on this machine's disk."""
    return urls.is_local(url)


def join(url: str, *names: str) -> str:
    """Return ``url`` with path segments appended."""
    return "/".join([url.rstrip("/"), *names])


def absolute(url: str, follow: bool = True) -> str:
    """Return a local path as an absolute path, and any other URL as it is.

    With ``follow``, the links in a local path are resolved.
    """
    if is_local(url):
        path = local_path(url)
        return os.path.realpath(path) if follow else path
    return (urls.anchored(url) if urls.is_chain(url) else url).rstrip("/")


def list_names(url: str) -> list[str]:
    """Return the names directly inside a folder, sorted; none if the folder does not exist."""
    fs, path = open_filesystem(url)

    def call() -> list[str]:
        try:
            return [str(name) for name in fs.ls(path, detail=False)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    return sorted(name.rstrip("/").rsplit("/", 1)[-1] for name in retry(call))


@dataclass(frozen=True)
class StoredFile:
    """A listed file: path below the folder, size in bytes, seconds since the epoch when written."""

    path: str
    size: int
    modified: float


def list_files(url: str) -> list[StoredFile]:
    """Return all files below a folder, also hidden ones, sorted; none if it does not exist.

    Links below a local folder are listed as what they are, and not followed.
    """
    fs, path = open_filesystem(url)
    root = path.rstrip("/")

    def call() -> list[StoredFile]:
        if is_local_fs(fs):
            return [
                StoredFile(name[len(root) + 1 :], state.st_size, state.st_mtime)
                for name, state in store_files.walk(root)
            ]
        try:
            found = fs.find(root, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [
            StoredFile(name[len(root) + 1 :], int(info["size"] or 0), modified_time(info))
            for name, info in found.items()
        ]

    return sorted(retry(call), key=lambda file: file.path)


def exists(url: str) -> bool:
    """Return whether there is a file or folder at ``url``.

    fsspec's own ``exists`` returns False if the network fails.
    """
    fs, path = open_filesystem(url)
    if is_local_fs(fs) and store_files.most_bytes(path) is not None:
        return os.path.lexists(path)
    try:
        retry(lambda: fs.info(path))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def modified(url: str) -> float:
    """Return when a file was written, in seconds since the epoch.

    Raises:
        FileNotFoundError: there is no such file.
    """
    fs, path = open_filesystem(url)
    if is_local_fs(fs) and store_files.most_bytes(path) is not None:
        return os.lstat(path).st_mtime
    return modified_time(retry(lambda: fs.info(path)))


def size(url: str) -> int:
    """Return the size of a file in bytes; raises FileNotFoundError if it does not exist."""
    fs, path = open_filesystem(url)
    if is_local_fs(fs) and (file := store_files.open_local(path)) is not None:
        with file:
            return os.fstat(file.fileno()).st_size
    return int(retry(lambda: fs.info(path))["size"] or 0)


def read_bytes(url: str) -> bytes:
    """Return the content of a file; raises FileNotFoundError if it does not exist."""
    fs, path = open_filesystem(url)
    if is_local_fs(fs) and (file := store_files.open_local(path)) is not None:
        with file:
            return file.read()
    limit = store_files.most_bytes(path)
    if not limit or is_local_fs(fs):
        return bytes(retry(lambda: fs.cat_file(path)))
    content = bytes(retry(lambda: _first_bytes(fs, path, limit + 1)))
    if len(content) > limit:
        raise store_files.too_large(url, limit)
    return content


def open_input(url: str) -> Any:
    """Open a file for reading at any offset."""
    fs, path = open_filesystem(url)
    if is_local_fs(fs) and (file := store_files.open_local(path)) is not None:
        return file
    file = retry(lambda: fs.open(path, "rb"))
    if urls.is_chain(url):
        _OPENED_IN[file] = fs
    return file


def sha256(url: str) -> str:
    """Return the SHA-256 of a file's content, as hexadecimal digits."""
    with open_input(url) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(content: bytes) -> str:
    """Return the SHA-256 of bytes, as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def remove(url: str) -> None:
    """Remove a file; do nothing if it does not exist."""
    fs, path = open_filesystem(url)
    if is_local_fs(fs):
        store_files.check_way(path)
    with contextlib.suppress(FileNotFoundError):
        retry(lambda: fs.rm_file(path))


def remove_folder(url: str) -> None:
    """Remove a local folder if it is empty; object stores have no folders."""
    fs, path = open_filesystem(url)
    if is_local_fs(fs):
        store_files.check_way(path)
        with contextlib.suppress(OSError):
            os.rmdir(path)


@contextlib.contextmanager
def put_atomically(folder: str, name: Callable[[str], str]) -> Iterator[str]:
    """Write a file under a name that depends on its content; readers only see it complete.

    Yields a local path to write to. When the block ends, the file moves into ``folder`` under
    ``name(sha256)``. If the block raises, nothing is left.
    """
    fs, path = open_filesystem(folder)
    local = is_local_fs(fs)
    if local:
        store_files.check_way(path)
        os.makedirs(path, exist_ok=True)
    place = path if local else tempfile.gettempdir()
    temporary = exclusive_create.temporary_name(place)
    try:
        with naming_full_disk(place):
            yield temporary
            with open(temporary, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
            target = f"{path.rstrip('/')}/{name(digest)}"
            if local:
                os.replace(temporary, target)
                exclusive_create.sync_folder(path)
            else:
                retry(lambda: fs.put_file(temporary, target))
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


@dataclass
class Written:
    """A file that is being written to ``path``; the other fields are set when it is complete."""

    path: str
    name: str = ""
    sha256: str = ""
    bytes: int = 0


@contextlib.contextmanager
def put_by_content(folder: str, stem: str, suffix: str) -> Iterator[Written]:
    """Write a file as `put_atomically` does, named ``stem-<16 digits of its digest>suffix``."""
    written = Written("")

    def name(digest: str) -> str:
        written.name, written.sha256 = f"{stem}-{digest[:16]}{suffix}", digest
        return written.name

    with put_atomically(folder, name) as path:
        written.path = path
        yield written
        written.bytes = os.stat(path).st_size


def create_exclusively(url: str, content: bytes) -> bool:
    """Create a file with ``content``, atomically; return False if the name is taken.

    Raises:
        BadInput: the filesystem has no exclusive create.
    """
    fs, path = open_filesystem(url)
    if is_local_fs(fs):
        store_files.check_way(path)
        return exclusive_create.link_exclusively(path, content)
    exclusive_create.check_kind(fs, url)
    return retry(lambda: exclusive_create.put_conditionally(fs, path, content))


def check_exclusive(url: str) -> None:
    """Raise BadInput if the kind of filesystem of ``url`` has no exclusive create."""
    exclusive_create.check_kind(open_filesystem(url)[0], url)


def local_path(url: str) -> str:
    """Return the path on this machine's disk of a local URL."""
    return urls.local_name(url)


def _first_bytes(fs: Any, path: str, count: int) -> bytes:
    """Return the beginning of a remote file, with one request."""
    try:
        return bytes(fs.cat_file(path, start=0, end=count))
    except FileNotFoundError:
        raise
    except (OSError, ValueError):
        # Servers refuse a range of an empty file.
        if fs.info(path)["size"]:
            raise
        return b""
