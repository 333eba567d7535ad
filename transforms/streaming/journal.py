"""Which files a watch has taken, in order: ``watch/<name>/00000001.json`` in the store.

An entry is created before the work on its files begins and closed, by a second file, after their
segment was committed. At most one entry is open. So a file is in the store or not, whatever is
killed: what is open is gone on with, what is closed is never taken again.
"""

import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.catalog.layout import SegmentPaths, segment_name
from transforms.catalog.manifest_json import check_name, decode
from transforms.storage import filesystem
from transforms.storage.filesystem import FileInfo
from transforms.storage.parquet_files import open_parquet, reading

_VERSIONS = pa.schema(
    [("document_id", pa.string()), ("version", pa.int64()), ("deleted", pa.bool_())]
)


@dataclass(frozen=True)
class Entry:
    """Files that are taken together.

    Attributes:
        number: its place in the ledger, from 1.
        segment: what becomes of them.
        parts: of that segment; 0 where no file could be read.
        files: the files, by their identities.
        rejected: URL to reason, of files that can't be read.
        seen: when the oldest of them was first seen, in seconds since the epoch.
    """

    number: int
    segment: str
    parts: int
    files: tuple[FileInfo, ...]
    rejected: dict[str, str]
    seen: float

    def __post_init__(self) -> None:
        """Raise Damaged if the segment's name leads out of the store."""
        check_name(self.segment)


@dataclass(frozen=True)
class Closing:
    """How an entry ended: in which snapshot its files are, or why they are in none."""

    snapshot: int
    reason: str
    seconds: float


@dataclass(frozen=True)
class Ledger:
    """The ledger of a watch on some inputs."""

    store: str
    name: str

    @classmethod
    def of(cls, store: str, inputs: Iterable[str]) -> "Ledger":
        """The ledger of a store for these inputs."""
        return cls(store, segment_name({"inputs": sorted(inputs)}))

    @property
    def root(self) -> str:
        """Its folder."""
        return filesystem.join(self.store, "watch", self.name)

    def entries(self) -> list[Entry]:
        """All entries, in order."""
        names = filesystem.list_names(self.root)
        numbers = sorted(int(name[:8]) for name in names if re.fullmatch(r"\d{8}\.json", name))
        return [_read_entry(self._url(number)) for number in numbers]

    def open_entry(self) -> Entry | None:
        """The entry that is not closed, if any."""
        entries = self.entries()
        last = entries[-1] if entries else None
        return last if last is not None and self.closing(last.number) is None else None

    def taken_entries(self) -> list[Entry]:
        """The entries whose files are in the store, in order."""
        closings = ((entry, self.closing(entry.number)) for entry in self.entries())
        return [entry for entry, closing in closings if closing is not None and not closing.reason]

    def taken(self) -> set[FileInfo]:
        """The files that are in the store, or about to be, or rejected.

        Those of an entry that was given up because of another file are not.
        """
        found: set[FileInfo] = set()
        for entry in self.entries():
            closing = self.closing(entry.number)
            given_up = closing is not None and closing.reason
            found.update(file for file in entry.files if not given_up or file.url in entry.rejected)
        return found

    def add(self, entry: Entry) -> bool:
        """Create an entry; false where another watch was faster."""
        content = json.dumps(asdict(entry), sort_keys=True).encode()
        return filesystem.create_exclusively(self._url(entry.number), content)

    def closing(self, number: int) -> Closing | None:
        """How an entry ended; None while it is open."""
        try:
            return _read_closing(self._closed(number))
        except FileNotFoundError:
            return None

    def close(self, entry: Entry, snapshot: int = 0, reason: str = "") -> Closing:
        """Close an entry, or adopt how it was closed."""
        closing = Closing(snapshot, reason, round(time.time() - entry.seen, 3))
        content = json.dumps(asdict(closing), sort_keys=True).encode()
        if filesystem.create_exclusively(self._closed(entry.number), content):
            return closing
        standing = self.closing(entry.number)
        assert standing is not None
        return standing

    def write_ids(self, segment: str, ids: Mapping[str, Iterable[str]]) -> None:
        """Keep which ids the files of a segment brought, by their URLs."""
        pairs = sorted((url, name) for url, names in ids.items() for name in names)
        table = pa.table(
            {
                "url": pa.array([url for url, _ in pairs], pa.string()).dictionary_encode(),
                "document_id": pa.array([name for _, name in pairs], pa.string()),
            }
        )
        with filesystem.put_atomically(self.root, lambda _: _ids_name(segment)) as path:
            pq.write_table(table, path, compression="zstd")

    def read_ids(self, segment: str) -> dict[str, list[str]]:
        """What `write_ids` kept; nothing where no file of the segment could be read."""
        url = filesystem.join(self.root, _ids_name(segment))
        if not filesystem.exists(url):
            return {}
        with reading(url):
            table = open_parquet(url).read()
        found: dict[str, list[str]] = {}
        for file, name in zip(*(column.to_pylist() for column in table.columns), strict=True):
            found.setdefault(file, []).append(name)
        return found

    def write_versions(self, segment: str, versions: Mapping[str, tuple[int, bool]]) -> None:
        """Keep which version of each document the messages of a segment brought, and whether it
        takes the document away."""
        rows = [
            {"document_id": name, "version": version, "deleted": deleted}
            for name, (version, deleted) in sorted(versions.items())
        ]
        table = pa.Table.from_pylist(rows, _VERSIONS)
        with filesystem.put_atomically(self.root, lambda _: _ids_name(segment)) as path:
            pq.write_table(table, path, compression="zstd")

    def read_versions(self, segment: str) -> pa.Table:
        """What `write_versions` kept: ``document_id, version, deleted``; no rows without it."""
        url = filesystem.join(self.root, _ids_name(segment))
        if not filesystem.exists(url):
            return _VERSIONS.empty_table()
        with reading(url):
            return open_parquet(url).read()

    def paths(self, entry: Entry) -> SegmentPaths:
        """Where an entry's segment lies."""
        return SegmentPaths(self.store, entry.segment)

    def _url(self, number: int) -> str:
        return filesystem.join(self.root, f"{number:08d}.json")

    def _closed(self, number: int) -> str:
        return filesystem.join(self.root, f"{number:08d}-closed.json")


def _ids_name(segment: str) -> str:
    return f"ids-{segment}.parquet"


@lru_cache(maxsize=100_000)
def _read_entry(url: str) -> Entry:
    # An entry never changes.
    return decode(filesystem.read_bytes(url), Entry, url)


@lru_cache(maxsize=100_000)
def _read_closing(url: str) -> Closing:
    # Nor does how it ended.
    return decode(filesystem.read_bytes(url), Closing, url)
