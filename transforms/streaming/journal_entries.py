"""The entries of a journal and their closings: immutable JSON files."""

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Annotated

import msgspec

from transforms.catalog.manifest_json import Count, check_name, decode
from transforms.errors import Damaged
from transforms.storage import filesystem, remedies
from transforms.storage.filesystem import FileInfo

#: The parts of an entry have at most 64 files.
PartCount = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


@dataclass(frozen=True)
class Entry:
    """Files that are taken together.

    Attributes:
        number: the entry's place in the journal, from 1.
        segment: the segment that gets the rows of the files.
        parts: how many parts the segment has; 0 if no file could be read.
        files: the files, by their identities.
        rejected: URL to reason, for files that can't be read.
        seen: when the oldest of the files was first seen, in seconds since the epoch.
    """

    number: Count
    segment: str
    parts: PartCount
    files: tuple[FileInfo, ...]
    rejected: dict[str, str]
    seen: float

    def __post_init__(self) -> None:
        """Raise Damaged if the segment's name leads out of the store."""
        check_name(self.segment)

    def to_json(self) -> bytes:
        """Return the content of the entry's file."""
        return json.dumps(asdict(self), sort_keys=True).encode()


@dataclass(frozen=True)
class Closing:
    """The end of an entry.

    Attributes:
        snapshot: the snapshot that has the entry's files.
        reason: why no snapshot has them; empty if one has.
        seconds: from when the oldest file was first seen until the end.
    """

    snapshot: Count
    reason: str
    seconds: float

    def to_json(self) -> bytes:
        """Return the content of the closing's file."""
        return json.dumps(asdict(self), sort_keys=True).encode()


@dataclass(frozen=True)
class LoggedEntry:
    """An entry with its closing, which is None while the entry is open."""

    entry: Entry
    closing: Closing | None

    @property
    def is_stored(self) -> bool:
        """Whether the files of the entry are in the store."""
        return self.closing is not None and not self.closing.reason

    def taken_files(self) -> list[FileInfo]:
        """Return the files that no later entry may take.

        After a failure of the whole entry only its rejected files are among them.
        """
        failed = self.closing is not None and bool(self.closing.reason)
        return [file for file in self.entry.files if not failed or file.url in self.entry.rejected]

    def taken_urls(self) -> list[str]:
        """Return the URLs of `taken_files`."""
        return [file.url for file in self.taken_files()]


@lru_cache(maxsize=10_000)
def read_entry(url: str) -> Entry:
    """Read an entry; its file is named by its number.

    Raises:
        FileNotFoundError: there is none.
        Damaged: it can't be read, or is another entry.
    """
    entry = decode(filesystem.read_bytes(url), Entry, url)
    if not url.endswith(f"/{entry.number:08d}.json"):
        problem = f"has entry {entry.number}, which is not that of its name"
        raise Damaged("file", url, problem, remedies.ROLL_BACK)
    return entry


@lru_cache(maxsize=10_000)
def read_closing(url: str) -> Closing:
    """Read how an entry ended; raises FileNotFoundError if it is open."""
    return decode(filesystem.read_bytes(url), Closing, url)
