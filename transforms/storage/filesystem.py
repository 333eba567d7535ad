"""Files through fsspec: list, read, put atomically, create exclusively.

A path is any fsspec URL; a plain path is a local one. Nothing here knows what the files hold.
"""

import contextlib
import datetime
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import fsspec
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from transforms.errors import BadInput
from transforms.storage import exclusive_create
from transforms.storage.exclusive_create import is_local_fs

A = TypeVar("A")
T = TypeVar("T")

#: Requests that are under way at once.
_THREADS = 32
_TRANSIENT = (TimeoutError, ConnectionError)
#: botocore's and gcsfs': bytes came that don't fit the checksum that was sent with them.
_TORN = frozenset({"FlexibleChecksumError", "ChecksumError"})
#: In a store on a server: what was put there to see that a second put of the same name fails.
PROBE = "exclusive.json"


@dataclass(frozen=True)
class FileInfo:
    """One file of an input: its URL, its bytes, and what changes when its content does."""

    url: str
    size: int
    version: str


def retry(call: Callable[[], T]) -> T:
    """``call()``, tried up to seven times with growing pauses while the network fails."""
    attempts = Retrying(
        retry=retry_if_exception(_is_transient),
        stop=stop_after_attempt(7),
        wait=wait_exponential_jitter(initial=0.2, max=10),
        reraise=True,
    )
    return attempts(call)


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, _TRANSIENT) or type(error).__name__ in _TORN


def in_threads(call: Callable[[A], T], items: Iterable[A]) -> list[T]:
    """``call`` of each item, in order; many at once, as a server answers each after a while."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(call, items))


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
    if is_local_fs(fs):
        with contextlib.suppress(OSError):
            os.rmdir(path)


@contextlib.contextmanager
def put_atomically(folder: str, name: Callable[[str], str]) -> Iterator[str]:
    """Write a file under a name that depends on its content, seen by readers only when whole.

    Yields a local path to write to. When the block ends, the file moves into ``folder`` under
    ``name(sha256)``; when it raises, nothing is left.
    """
    fs, path = open_filesystem(folder)
    local = is_local_fs(fs)
    if local:
        os.makedirs(path, exist_ok=True)
    temporary = exclusive_create.temporary_name(path if local else tempfile.gettempdir())
    try:
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
    """A file that is being written to ``path``; the rest is there when it is whole."""

    path: str
    name: str = ""
    sha256: str = ""
    bytes: int = 0


@contextlib.contextmanager
def put_by_content(folder: str, stem: str, suffix: str) -> Iterator[Written]:
    """As `put_atomically`, named ``stem``, the first 16 digits of its digest, ``suffix``."""
    written = Written("")

    def name(digest: str) -> str:
        written.name, written.sha256 = f"{stem}-{digest[:16]}{suffix}", digest
        return written.name

    with put_atomically(folder, name) as path:
        written.path = path
        yield written
        written.bytes = os.stat(path).st_size


def create_exclusively(url: str, content: bytes) -> bool:
    """Create a file with ``content``, whole or not at all; False where the name is taken.

    Raises:
        BadInput: the filesystem has no exclusive create.
    """
    fs, path = open_filesystem(url)
    if is_local_fs(fs):
        return exclusive_create.link_exclusively(path, content)
    exclusive_create.check_kind(fs, url)
    return retry(lambda: exclusive_create.put_conditionally(fs, path, content))


def check_exclusive(url: str) -> None:
    """Raise BadInput where filesystems like that of ``url`` have no exclusive create."""
    exclusive_create.check_kind(open_filesystem(url)[0], url)


def probe_exclusive(store: str) -> None:
    """Raise BadInput where a store's server can't be written to, or lets two writers win.

    Kinds of filesystems promise more than some servers of that kind keep: a second put of a name
    must fail. The first leaves `PROBE` in the store, so that later commands need one request.
    """
    check_exclusive(store)
    if is_local(store):
        return
    url = join(store, PROBE)
    try:
        ignored = create_exclusively(url, b"{}") and create_exclusively(url, b"{}")
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(
            f"store {store!r} can't be written to: {type(error).__name__}: {error}; "
            "see that the bucket is there and that fsspec finds credentials for it"
        ) from error
    if ignored:
        raise BadInput(
            f"the server of {store!r} ignores the condition of a put, so two writers could destroy "
            "each other's work; use one with conditional writes, or a local folder"
        )


def local_path(url: str) -> str:
    """The path on this machine's disk of a local URL."""
    return str(open_filesystem(url)[1])


def version_of(info: dict[str, Any]) -> str:
    """Return what changes when a file's content does, from its listing; empty where unknown."""
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
