"""The folders and files below an input, on a local disk or on another filesystem."""

import errno
import os
import stat
from dataclasses import dataclass
from typing import Any

from transforms.storage import filesystem, urls
from transforms.storage.filesystem import FileInfo
from transforms.storage.listed_fields import version_of
from transforms.storage.retries import retry

#: The kinds of entries. A broken link leads nowhere; a special file is a pipe, a socket, a device.
FOLDER, FILE, BROKEN, SPECIAL = "folder", "file", "broken link", "special file"
#: Object stores list all objects below a prefix at once, and have no folders to be denied.
_FLAT = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "az", "adl", "oss", "memory"})


@dataclass(frozen=True)
class Entry:
    """A folder or a file.

    Attributes:
        path: its path in the filesystem.
        real: the path with all links resolved.
        kind: one of `FOLDER`, `FILE`, `BROKEN`, `SPECIAL`.
        file: what an input file is known by; None for anything else.
    """

    path: str
    real: str
    kind: str
    file: FileInfo | None = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def linked(self) -> bool:
        """Whether the path leads through a link."""
        return self.path != self.real


class LocalTree:
    """The folders and files of this machine's disk; links are followed."""

    def path_of(self, url: str) -> str | None:
        """Return the path of a local URL without links; None for any other URL."""
        return filesystem.absolute(url) if filesystem.is_local(url) else None

    def look(self, path: str) -> Entry | None:
        """Return the entry of an absolute path; None if there is nothing."""
        return _local_entry(path, os.path.realpath(path))

    def children(self, folder: Entry) -> list[Entry]:
        """Return the entries of a folder, ordered by name; raises OSError if it can't be read."""
        found = []
        with os.scandir(folder.path) as entries:
            for each in entries:
                path = f"{folder.path.rstrip('/')}/{each.name}"
                plain = f"{folder.real.rstrip('/')}/{each.name}"
                entry = _local_entry(path, os.path.realpath(path) if each.is_symlink() else plain)
                if entry is not None:
                    found.append(entry)
        return sorted(found, key=lambda entry: entry.path)

    def load(self, folder: Entry) -> None:
        """Do nothing: a local folder is read when it is asked for."""


class RemoteTree:
    """The folders and files of a filesystem of fsspec."""

    def __init__(self, url: str) -> None:
        """Open the filesystem of an input, whose ``path`` in it may be a glob."""
        self._url = url
        self._fs, self.path = filesystem.open_filesystem(url)
        self._known: dict[str, list[Entry]] = {}

    def path_of(self, url: str) -> str | None:
        """Return the path of a URL on the same filesystem; None for any other URL."""
        if filesystem.is_local(url):
            return None
        fs, path = filesystem.open_filesystem(url)
        return path if fs == self._fs else None

    def look(self, path: str) -> Entry | None:
        """Return the entry of a path; None if there is nothing."""
        try:
            return self._entry(retry(lambda: self._fs.info(path)), path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def children(self, folder: Entry) -> list[Entry]:
        """Return the entries of a folder, ordered by name."""
        if folder.path not in self._known:
            try:
                infos = retry(lambda: self._fs.ls(folder.path, detail=True))
            except (FileNotFoundError, NotADirectoryError):
                infos = []
            # Some object stores list the folder itself, or an empty object in its place.
            names = {info["name"].rstrip("/"): info for info in infos}
            self._known[folder.path] = [
                self._entry(info, name)
                for name, info in sorted(names.items())
                if name != folder.path
            ]
        return self._known[folder.path]

    def load(self, folder: Entry) -> None:
        """List everything below a folder at once."""
        if folder.path in self._known:
            return
        protocols = self._fs.protocol
        flat = _FLAT & {protocols} if isinstance(protocols, str) else _FLAT & set(protocols)
        # Other filesystems leave out a folder that they can't list, unless they are asked not to.
        strict: dict[str, Any] = {} if flat else {"on_error": "raise"}
        try:
            found = retry(lambda: self._fs.find(folder.path, detail=True, **strict))
        except (FileNotFoundError, NotADirectoryError):
            found = {}
        tree: dict[str, dict[str, Entry]] = {folder.path: {}}
        for name, info in found.items():
            # A name with a slash at its end is an empty object in the place of a folder.
            if name != folder.path and not name.endswith("/"):
                self._add(tree, folder.path, self._entry(info, name))
        for path, entries in tree.items():
            self._known[path] = [entries[name] for name in sorted(entries)]

    def _add(self, tree: dict[str, dict[str, Entry]], top: str, entry: Entry) -> None:
        """Add an entry, and the folders between it and ``top``, to the entries by folder."""
        while True:
            parent = entry.path.rpartition("/")[0]
            parent = parent if len(parent) > len(top) else top
            known = tree.setdefault(parent, {})
            is_new = entry.path not in known
            known.setdefault(entry.path, entry)
            if parent == top or not is_new:
                return
            entry = Entry(parent, parent, FOLDER)

    def _entry(self, info: dict[str, Any], path: str) -> Entry:
        if info["type"] == "directory":
            return Entry(path, path, FOLDER)
        url = urls.url_of(self._url, self._fs, self.path, info["name"])
        return Entry(path, path, FILE, FileInfo(url, int(info["size"] or 0), version_of(info)))


Tree = LocalTree | RemoteTree


def local_file(path: str) -> FileInfo | None:
    """Return what a local file is known by; None if there is no regular file."""
    entry = LocalTree().look(path)
    return entry.file if entry is not None else None


def _local_entry(path: str, real: str) -> Entry | None:
    """Return the entry of a path that was there a moment ago."""
    try:
        found = os.stat(path)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            return Entry(path, real, BROKEN) if os.path.islink(path) else None
        raise
    if stat.S_ISDIR(found.st_mode):
        return Entry(path, real, FOLDER)
    if not stat.S_ISREG(found.st_mode):
        return Entry(path, real, SPECIAL)
    version = version_of({"mtime": found.st_mtime})
    if path != real:
        # The link may come to lead to another file of the same age.
        version += f" of {real}"
    return Entry(path, real, FILE, FileInfo(path, found.st_size, version))
