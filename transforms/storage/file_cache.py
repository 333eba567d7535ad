"""A local cache of files that are identified by their digests.

A folder on this machine records which version of a local file had which digest, and holds copies
of remote files under their digests. The least recently used copies are removed when the folder
grows too large. A copy is checked as a local file is, and fetched again if it is corrupt. Several
processes may share one folder: files appear by renaming and disappear by unlinking, which does not
affect a process that has one open or mapped.
"""

import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from transforms.errors import AlbeamError, Damaged
from transforms.storage import filesystem, remedies
from transforms.storage.disk_space import naming_full_disk

_CHUNK = 1 << 20
_MOST_MARKS = 10_000
#: An unfinished copy that nobody has written to for so long is abandoned.
_ABANDONED_SECONDS = 86_400.0


def default_folder() -> Path:
    """Return the folder that is used if the user gives none."""
    try:
        home = Path.home()
    except RuntimeError:
        home = Path(tempfile.gettempdir())
    return home / ".cache" / "albeam"


@dataclass(frozen=True)
class FileCache:
    """A folder of copies and of records of checked files, created when first needed.

    Attributes:
        folder: the folder.
        most_bytes: the limit for all copies; the copy that was fetched last always stays.
    """

    folder: Path
    most_bytes: int = 50_000_000_000

    def fetch(self, url: str, size: int, sha256: str, remedy: str = remedies.BUILD_INDEX) -> Path:
        """Return a local path with the content of an index file, after a check of its digest.

        Raises:
            Damaged: the file is missing, or its size or digest is wrong.
            AlbeamError: the file is remote, and its copy can't be written.
        """
        if filesystem.is_local(url):
            path = Path(filesystem.local_path(url))
            _check_kind(url, remedy)
            mark = self._mark(path)
            if not mark or not _records(mark, sha256):
                check_file(url, size, sha256, remedy)
                if mark:
                    self._remember(mark, sha256)
            return path
        copy = self.folder / "files" / sha256
        if not self._has(copy, size, sha256):
            with naming_full_disk(str(self.folder)):
                self._copy(url, size, sha256, copy, remedy)
        return copy

    def check_once(self, key: str, check: Callable[[], None]) -> None:
        """Run a check of a file's content, unless a record says that this content passed it.

        Args:
            key: names the check and the content, by its digest.
            check: raises an error if the content is wrong.
        """
        mark = self.folder / "checked" / filesystem.digest(key.encode())
        if not _records(mark, key):
            check()
            self._remember(mark, key)

    def _has(self, copy: Path, size: int, sha256: str) -> bool:
        """Return whether there is an intact copy; a corrupt one is removed."""
        mark = self._mark(copy)
        if not mark:
            return False
        if not _records(mark, sha256):
            try:
                check_file(str(copy), size, sha256)
            except (Damaged, OSError):
                with suppress(OSError):
                    copy.unlink()
                return False
            self._remember(mark, sha256)
        with suppress(OSError):
            # Only the access time changes: the modification time identifies the version.
            os.utime(copy, ns=(time.time_ns(), copy.stat().st_mtime_ns))
        return True

    def _copy(self, url: str, size: int, sha256: str, copy: Path, remedy: str) -> None:
        found, count = hashlib.sha256(), 0
        with ExitStack() as stack:
            try:
                sink = stack.enter_context(_replacing(copy))
            except OSError as error:
                problem = f"can't hold a copy of {url}: {error}"
                remedy = "Choose a folder that can be written to"
                raise AlbeamError("cache folder", str(self.folder), problem, remedy) from error
            try:
                source = stack.enter_context(filesystem.open_input(url))
                # A file that is too large is wrong whatever follows.
                while count <= size and (chunk := source.read(_CHUNK)):
                    found.update(chunk)
                    count += len(chunk)
                    sink.write(chunk)
            except FileNotFoundError as error:
                raise Damaged("file", url, "is missing", remedy) from error
            _compare(url, count, size, found.hexdigest(), sha256, remedy)
            sink.flush()
            os.fsync(sink.fileno())
        mark = self._mark(copy)
        if mark:
            self._remember(mark, sha256)
        self._evict(copy)

    def _evict(self, newest: Path) -> None:
        """Remove the least recently used copies until the others fit."""
        kept = []
        for path in newest.parent.iterdir():
            with suppress(FileNotFoundError):
                stat = path.stat()
                if not path.name.startswith("."):
                    kept.append((stat.st_atime, stat.st_size, path))
                elif time.time() - stat.st_mtime > _ABANDONED_SECONDS:
                    path.unlink()
        total = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if total <= self.most_bytes:
                break
            if path != newest:
                path.unlink(missing_ok=True)
                total -= size

    def _mark(self, path: Path) -> Path | None:
        """Return the path of the record of a file's version; None if the file does not exist."""
        try:
            stat = path.stat()
        except OSError:
            return None
        # `_has` sets a copy's access time, which changes its ctime.
        changed = 0 if path.parent == self.folder / "files" else stat.st_ctime_ns
        version = (str(path), stat.st_size, stat.st_mtime_ns, changed, stat.st_ino)
        return self.folder / "checked" / filesystem.digest(repr(version).encode())

    def _remember(self, mark: Path, found: str) -> None:
        # Without a record the file is only checked again.
        with suppress(OSError):
            with _replacing(mark) as sink:
                sink.write(found.encode())
            marks = list(mark.parent.iterdir())
            if len(marks) > _MOST_MARKS:
                for old in sorted(marks, key=_age)[: _MOST_MARKS // 2]:
                    old.unlink(missing_ok=True)


def check_file(url: str, size: int, sha256: str, remedy: str = remedies.EMBED_AGAIN) -> None:
    """Raise Damaged if a file is missing, or its size or digest differs from the manifest."""
    try:
        found = filesystem.size(url)
        # A file of another size does not have to be read.
        digest = filesystem.sha256(url) if found == size else ""
    except FileNotFoundError as error:
        raise Damaged("file", url, "is missing", remedy) from error
    _compare(url, found, size, digest, sha256, remedy)


def _check_kind(url: str, remedy: str) -> None:
    """Raise Damaged if a local file is missing, or is no regular file inside its store."""
    try:
        filesystem.open_input(url).close()
    except FileNotFoundError as error:
        raise Damaged("file", url, "is missing", remedy) from error


def _compare(url: str, found: int, size: int, digest: str, sha256: str, remedy: str) -> None:
    if found != size:
        problem = f"has {found} bytes, but the manifest records {size}"
        raise Damaged("file", url, problem, remedy)
    if digest != sha256:
        problem = f"has SHA-256 {digest}, but the manifest records {sha256}"
        raise Damaged("file", url, problem, remedy)


def _records(mark: Path, found: str) -> bool:
    try:
        return mark.read_text() == found
    except OSError:
        return False


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    """Write a file that replaces ``target`` when it is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}-{os.getpid()}-{threading.get_ident()}")
    try:
        with open(partial, "wb") as file:
            yield file
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
