"""The door to a store's files: regular files inside the store, of a bounded size.

A store may come from someone else. A link, a pipe or a device in it could give a reader content
from outside, block it, or fill its memory, and could lead a writer out of the store. The store's
folder itself may be a link, or lie behind one.

A file is known as a store's by the end of its path, which `transforms.catalog.layout` makes.
"""

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from typing import BinaryIO

from transforms.errors import Damaged
from transforms.storage import remedies

_MB = 1 << 20
_NAME = r"[^/]+"
_SEGMENT = rf"segments/{_NAME}"
_FOLDERS = "(?:vectors|rejects|index|lexical|changes|tombstones)"
_JOURNAL = r"watch/[0-9a-f]{16}"
#: The most bytes of the files that are read at once, by the ends of their paths; the first fits.
#: The sizes of parts and of index files are in manifests, and are compared with them.
_MOST_BYTES = {
    r"snapshots/newest": 1_024,
    r"snapshots/\d{8,}\.json": 64 * _MB,
    rf"{_SEGMENT}/(?:heartbeat|vacuumed|abandoned)\.json": _MB,
    rf"{_SEGMENT}/segment\.json": 256 * _MB,
    rf"{_SEGMENT}/(?:plan|changes)\.json": 512 * _MB,
    rf"{_SEGMENT}/vectors/part-\d+\.json": _MB,
    rf"{_SEGMENT}/(?:index|lexical|changes)/{_NAME}\.json": 256 * _MB,
    rf"{_SEGMENT}/{_FOLDERS}/{_NAME}\.roaring": 1_024 * _MB,
    rf"{_SEGMENT}/changes/bucket-{_NAME}\.parquet": 2_048 * _MB,
    rf"{_SEGMENT}/{_FOLDERS}/{_NAME}": 0,
    rf"{_JOURNAL}/{_NAME}\.json": 64 * _MB,
    rf"{_JOURNAL}/{_NAME}": 0,
    rf"messages/{_NAME}/(?:_rejects/)?[0-9a-f]{{32}}\.parquet": 0,
}
_FILE = re.compile("(?:^|.*/)(?:" + "|".join(f"({end})" for end in _MOST_BYTES) + ")", re.DOTALL)
_LIMITS = tuple(_MOST_BYTES.values())
#: The ends of folders into which only stores are written.
_FOLDER = re.compile(rf"(?:^|.*/)({_SEGMENT}/{_FOLDERS}|{_SEGMENT}|{_JOURNAL})", re.DOTALL)
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
}


def most_bytes(path: str) -> int | None:
    """Return how large a store's file may be, 0 if its manifest says so; None for other files."""
    found = _FILE.fullmatch(path)
    return None if found is None else _LIMITS[(found.lastindex or 1) - 1]


def open_local(path: str) -> BinaryIO | None:
    """Open a local file of a store for reading; return None if ``path`` is no store's file.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such file.
        Damaged: it is not a regular file, is behind a link, is too large, or can't be read.
    """
    found = _FILE.fullmatch(path)
    if found is None:
        return None
    place = found.lastindex or 1
    root, names = path[: found.start(place)] or ".", found[place].split("/")
    try:
        descriptor = _open_below(root, names)
    except (FileNotFoundError, Damaged):
        raise
    except OSError as error:
        if isinstance(error, NotADirectoryError) and not os.path.isdir(root):
            raise
        problem = f"can't be read: {error.strerror}"
        raise Damaged("file", path, problem, remedies.EMBED_AGAIN) from error
    file = os.fdopen(descriptor, "rb")
    limit = _LIMITS[place - 1]
    if limit and os.fstat(descriptor).st_size > limit:
        file.close()
        raise too_large(path, limit)
    return file


def too_large(url: str, limit: int) -> Damaged:
    """Return the error about a file that is larger than its kind may be."""
    problem = f"has more than {limit} bytes, the most of a file of its kind"
    return Damaged("file", url, problem, remedies.EMBED_AGAIN)


def check_way(path: str) -> None:
    """Check that writing or removing a local file of a store does not lead out of the store.

    Args:
        path: a file or a folder. If it is no store's, nothing is checked.

    Raises:
        Damaged: a folder between the store and the file is a link, or is no folder.
    """
    file = _FILE.fullmatch(path)
    found = file or _FOLDER.fullmatch(path.rstrip("/"))
    if found is None:
        return
    inside = path[: found.start(found.lastindex or 1)] or "."
    names = found[found.lastindex or 1].split("/")
    names = names[:-1] if file else names
    for name in names:
        inside = os.path.join(inside, name)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            mode = os.lstat(inside).st_mode
            if not stat.S_ISDIR(mode):
                raise _not_a(inside, "folder", mode)


def walk(root: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the paths of all entries below a local folder that are no folders, and their states."""
    for folder, folders, names in os.walk(root):
        for name in names + [name for name in folders if os.path.islink(f"{folder}/{name}")]:
            path = f"{folder.rstrip('/')}/{name}"
            with contextlib.suppress(FileNotFoundError):
                yield path, os.lstat(path)


def _open_below(root: str, names: list[str]) -> int:
    """Open a file by the names that lead to it from a folder, without following links."""
    folder = os.open(root, _ENTER)
    try:
        inside = root
        for name in names[:-1]:
            inside = os.path.join(inside, name)
            try:
                entered = os.open(name, _ENTER | os.O_NOFOLLOW, dir_fd=folder)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENOTDIR):
                    mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
                    raise _not_a(inside, "folder", mode) from error
                raise
            os.close(folder)
            folder = entered
        path = os.path.join(inside, names[-1])
        # To open a device may be to use it.
        mode = os.stat(names[-1], dir_fd=folder, follow_symlinks=False).st_mode
        if not stat.S_ISREG(mode):
            raise _not_a(path, "file", mode)
        descriptor = os.open(names[-1], _READ, dir_fd=folder)
    finally:
        os.close(folder)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise _not_a(path, "file", mode)
    return descriptor


def _not_a(path: str, wanted: str, mode: int) -> Damaged:
    kind = _KINDS.get(stat.S_IFMT(mode), "a device")
    remedy = f"Put the {wanted} itself in its place; the folder of a store may be a link, but no"
    problem = f"is {kind}, and must be a {wanted} inside the store"
    return Damaged("file", path, problem, f"{remedy} file or folder in it")
