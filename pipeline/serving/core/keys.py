"""The keys of clients: a file of their digests, and what each key may see.

A key is 32 random bytes. Nobody can guess one from its digest, so the digest needs no salt and no
slow function, as a password would.
"""

import hashlib
import hmac
import json
import logging
import os
import secrets
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.serving.core.requests import Access
from transforms.catalog.manifest_json import convert, load
from transforms.errors import AlbeamError, BadInput, Damaged
from transforms.search.condition import Condition, as_condition
from transforms.search.condition_names import names_of
from transforms.search.store import Store

_LOGGER = logging.getLogger(__name__)
VERSION = 1
_PREFIX = "albeam_"
#: The longest text that is looked at as a key.
_LONGEST = 200


@dataclass(frozen=True)
class Key:
    """A key.

    Attributes:
        name: its name, in logs and for its owner.
        sha256: the digest of the key.
        created: when it was made.
        store: the only store that it opens; None for all.
        where: a condition that all rows meet that it shows; None for all rows.
    """

    name: str
    sha256: str
    created: str
    store: str | None = None
    where: str | None = None

    @property
    def access(self) -> Access:
        """What the key may see; one that sees everything also sees the metrics."""
        where = None if self.where is None else Condition(self.where)
        return Access(self.name, self.store, where, self.store is None and where is None)


@dataclass(frozen=True)
class _KeyFile:
    version: int
    keys: tuple[Key, ...]


class Keys:
    """The keys of a file, read again when it changes. Threads may share them."""

    def __init__(self, path: Path) -> None:
        """Read the keys; raises BadInput if the file can't be used."""
        self._path, self._lock = path, threading.Lock()
        self._seen = _signature(path)
        self._keys = read_keys(path)

    def access(self, presented: str) -> Access | None:
        """Return what a key may see; None if it is not known.

        All digests are compared, each in constant time.
        """
        digest = _digest(presented[:_LONGEST])
        found = None
        for key in self._current():
            if hmac.compare_digest(key.sha256, digest):
                found = key.access
        return found

    def every(self) -> list[Access]:
        """Return what each key may see."""
        return [key.access for key in self._current()]

    def _current(self) -> tuple[Key, ...]:
        seen = _signature(self._path)
        with self._lock:
            if seen != self._seen:
                self._seen = seen
                try:
                    self._keys = read_keys(self._path)
                except BadInput as error:
                    # Without a file that tells who may ask, nobody may.
                    self._keys = ()
                    _LOGGER.error("no key is accepted: %s", error)
            return self._keys


def check_keys(keys: Keys, stores: Mapping[str, Store]) -> list[str]:
    """Return what is wrong with keys for some stores, a sentence each: such keys show nothing."""
    found = []
    for access in keys.every():
        mine = [name for name in stores if access.store in (None, name)]
        if not mine:
            found.append(f"key {access.name}: no store of the name {access.store} is served")
        for name in mine if access.where is not None else ():
            try:
                stores[name].live.mask(access.where)
            except AlbeamError as error:
                found.append(f"key {access.name}: shows nothing of {name}: {error}")
    return found


def read_keys(path: Path) -> tuple[Key, ...]:
    """Read a file of keys; raises BadInput if it is missing or no such file."""
    remedy = "Make one with albeam serve --keys FILE --add-key NAME"
    try:
        stored = convert(load(path.read_bytes(), str(path)), _KeyFile, str(path))
    except OSError as error:
        problem = f"can't be read: {error.strerror}"
        raise BadInput("keys", str(path), problem, remedy) from error
    except Damaged as error:
        raise BadInput("keys", str(path), error.problem, remedy) from error
    if stored.version != VERSION:
        problem = f"has the version {stored.version}, and {VERSION} is read"
        raise BadInput("keys", str(path), problem, remedy)
    return stored.keys


def add_key(path: Path, name: str, store: str | None = None, where: str | None = None) -> str:
    """Add a key to a file, which is made if there is none, and return the key.

    Raises:
        BadInput: the name is blank or there already, the condition is none, or the file can't be
            read or written.
    """
    if not name.strip():
        raise BadInput("add_key", name, "is blank", "Give a name")
    if where is not None:
        names_of(as_condition(where).text)
    keys = read_keys(path) if path.exists() else ()
    if any(key.name == name for key in keys):
        raise BadInput("add_key", name, f"is in {path} already", "Give another name")
    made = _PREFIX + secrets.token_urlsafe(32)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    _write(path, (*keys, Key(name, _digest(made), created, store, where)))
    return made


def remove_key(path: Path, name: str) -> None:
    """Remove a key from a file; raises BadInput if it is not there."""
    keys = read_keys(path)
    rest = tuple(key for key in keys if key.name != name)
    if len(rest) == len(keys):
        known = ", ".join(key.name for key in keys) or "none"
        raise BadInput("remove_key", name, f"is not in {path}, only {known}", "Give another name")
    _write(path, rest)


def _write(path: Path, keys: tuple[Key, ...]) -> None:
    content = json.dumps(asdict(_KeyFile(VERSION, keys)), indent=1).encode()
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        new.replace(path)
    except OSError as error:
        problem = f"can't be written: {error.strerror}"
        raise BadInput("keys", str(path), problem, "Give another file") from error


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
