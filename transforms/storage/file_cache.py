"""Files whose content is known by its digest: checked once, and copied once where they are remote.

A folder on this machine remembers which version of a local file had which digest, and keeps copies
of remote files under their digests, the least used of which go when they grow too many. A copy is
checked as a local file is, and fetched again where it has other bytes than its name says. Several
processes may use one folder: files come by renaming and go by unlinking, which does no harm to a
process that has one open or mapped.
"""

import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from transforms.errors import AlbeamError, Damaged
from transforms.storage import filesystem

_CHUNK = 1 << 20
_MOST_MARKS = 10_000
#: A copy that nobody has written to for so long was given up.
_ABANDONED_SECONDS = 86_400.0
_REMEDY = "restore it, or embed again into a new store"
#: Of what a cache is asked for: index files.
INDEX_REMEDY = "restore it, or build the index anew: albeam index STORE"
#: Of lexical index files.
LEXICAL_REMEDY = f"{INDEX_REMEDY} --lexical auto"


def default_folder() -> Path:
    """Where files are kept unless another place is given."""
    try:
        home = Path.home()
    except RuntimeError:
        home = Path(tempfile.gettempdir())
    return home / ".cache" / "albeam"


@dataclass(frozen=True)
class FileCache:
    """A folder of copies and of marks; it is made when first needed.

    Attributes:
        folder: where.
        most_bytes: of the copies; at least the one that was fetched last stays.
    """

    folder: Path
    most_bytes: int = 50_000_000_000

    def fetch(self, url: str, size: int, sha256: str, remedy: str = INDEX_REMEDY) -> Path:
        """A local path with the content of an index file, whose digest is right.

        Raises:
            Damaged: it is missing, or has other bytes than was said.
            AlbeamError: it is remote, and there can't be a copy of it.
        """
        if filesystem.is_local(url):
            path = Path(filesystem.local_path(url))
            mark = self._mark(path)
            if not mark or not _says(mark, sha256):
                check_file(url, size, sha256, remedy)
                if mark:
                    self._remember(mark, sha256)
            return path
        copy = self.folder / "files" / sha256
        if not self._has(copy, size, sha256):
            self._copy(url, size, sha256, copy, remedy)
        return copy

    def _has(self, copy: Path, size: int, sha256: str) -> bool:
        """Whether a copy is there; one that has other bytes than it should is removed."""
        mark = self._mark(copy)
        if not mark:
            return False
        if not _says(mark, sha256):
            try:
                check_file(str(copy), size, sha256)
            except (Damaged, OSError):
                with suppress(OSError):
                    copy.unlink()
                return False
            self._remember(mark, sha256)
        with suppress(OSError):
            # It was used now; the time by which its version is known stays.
            os.utime(copy, ns=(time.time_ns(), copy.stat().st_mtime_ns))
        return True

    def _copy(self, url: str, size: int, sha256: str, copy: Path, remedy: str) -> None:
        found, count = hashlib.sha256(), 0
        with ExitStack() as stack:
            try:
                sink = stack.enter_context(_replacing(copy))
            except OSError as error:
                raise AlbeamError(
                    f"a copy of {url} can't be kept in {self.folder}: {error}; make that a folder "
                    "that can be written to"
                ) from error
            try:
                source = stack.enter_context(filesystem.open_input(url))
                while chunk := source.read(_CHUNK):
                    found.update(chunk)
                    count += len(chunk)
                    sink.write(chunk)
            except FileNotFoundError as error:
                raise Damaged(f"{url} is missing; {remedy}") from error
            _compare(url, count, size, found.hexdigest(), sha256, remedy)
            sink.flush()
            os.fsync(sink.fileno())
        mark = self._mark(copy)
        if mark:
            self._remember(mark, sha256)
        self._evict(copy)

    def _evict(self, newest: Path) -> None:
        """Remove the least used copies until the rest fit."""
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
        """Where it is noted which digest this version of a file has; None where it is not there."""
        try:
            stat = path.stat()
        except OSError:
            return None
        # That a copy was used is written down, which changes its last time.
        changed = 0 if path.parent == self.folder / "files" else stat.st_ctime_ns
        version = (str(path), stat.st_size, stat.st_mtime_ns, changed, stat.st_ino)
        return self.folder / "checked" / filesystem.digest(repr(version).encode())

    def _remember(self, mark: Path, sha256: str) -> None:
        # A cache that can't be written to costs time, and nothing else.
        with suppress(OSError):
            with _replacing(mark) as sink:
                sink.write(sha256.encode())
            marks = list(mark.parent.iterdir())
            if len(marks) > _MOST_MARKS:
                for old in sorted(marks, key=_age)[: _MOST_MARKS // 2]:
                    old.unlink(missing_ok=True)


def check_file(url: str, size: int, sha256: str, remedy: str = _REMEDY) -> None:
    """Raise Damaged where a file is missing, or has other bytes than its manifest says."""
    try:
        found = filesystem.size(url)
        # A file of another size need not be read.
        digest = filesystem.sha256(url) if found == size else ""
    except FileNotFoundError as error:
        raise Damaged(f"{url} is missing; {remedy}") from error
    _compare(url, found, size, digest, sha256, remedy)


def _compare(url: str, found: int, size: int, digest: str, sha256: str, remedy: str) -> None:
    if found != size:
        raise Damaged(f"{url} has {found} bytes, and the manifest says {size}; {remedy}")
    if digest != sha256:
        raise Damaged(f"{url} has SHA-256 {digest}, and the manifest says {sha256}; {remedy}")


def _says(mark: Path, sha256: str) -> bool:
    try:
        return mark.read_text() == sha256
    except OSError:
        return False


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    """Write a file that takes its place when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}-{os.getpid()}-{threading.get_ident()}")
    try:
        with open(partial, "wb") as file:
            yield file
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
