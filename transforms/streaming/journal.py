"""The journal of a watch: which files it has taken, in order.

The journal lies in ``watch/<name>/`` of the store. An entry, ``00000001.json``, is created before
the work on its files begins. A second file, ``00000001-closed.json``, closes the entry after the
commit of its segment. At most one entry is open. Open entries are resumed after a kill; closed
entries are never reprocessed. From time to time a checkpoint condenses the closed entries, so that
a new batch does not read them again.
"""

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.catalog.layout import SegmentPaths, segment_name
from transforms.storage import filesystem
from transforms.storage.filesystem import FileInfo
from transforms.storage.parquet_files import open_parquet, reading
from transforms.streaming.checkpoint import Checkpoint, as_written, read_checkpoint
from transforms.streaming.journal_entries import (
    Closing,
    Entry,
    LoggedEntry,
    read_closing,
    read_entry,
)

_IDS = pa.schema([("url", pa.string()), ("document_id", pa.string())])
_MESSAGES = pa.schema(
    [("document_id", pa.string()), ("version", pa.int64()), ("deleted", pa.bool_())]
)


@dataclass(frozen=True)
class Journal:
    """The journal of a watch on some inputs."""

    store: str
    name: str

    @classmethod
    def of(cls, store: str, inputs: Iterable[str]) -> "Journal":
        """Return the journal of a store for these inputs."""
        return cls(store, segment_name({"inputs": sorted(inputs)}))

    @property
    def root(self) -> str:
        """The folder of the journal."""
        return filesystem.join(self.store, "watch", self.name)

    def read(self, after: int | None = None) -> "JournalState":
        """Read the newest checkpoint and the entries after it.

        Args:
            after: also read the entries above this number that the checkpoint has condensed.
        """
        names = filesystem.list_names(self.root)
        newest = max(numbers_in(names, r"checkpoint-(\d{8})\.json"), default=0)
        checkpoint = read_checkpoint(self.root, newest) if newest else Checkpoint.empty(self.root)
        closed = set(numbers_in(names, r"(\d{8})-closed\.json"))
        first = newest if after is None else min(after, newest)
        entries = [
            LoggedEntry(
                read_entry(self.entry_url(number)),
                read_closing(self.closing_url(number)) if number in closed else None,
            )
            for number in sorted(numbers_in(names, r"(\d{8})\.json"))
            if number > first
        ]
        return JournalState(self, checkpoint, tuple(entries))

    def add(self, entry: Entry) -> bool:
        """Create an entry; return False if another watch was faster."""
        return filesystem.create_exclusively(self.entry_url(entry.number), entry.to_json())

    def close(self, entry: Entry, snapshot: int = 0, reason: str = "") -> Closing:
        """Close an entry; return its closing, which may be that of another watch."""
        closing = Closing(snapshot, reason, round(time.time() - entry.seen, 3))
        url = self.closing_url(entry.number)
        created = filesystem.create_exclusively(url, closing.to_json())
        return closing if created else read_closing(url)

    def write_ids(self, segment: str, ids: Mapping[str, Iterable[str]]) -> None:
        """Write which document ids the files of a segment brought, by URL."""
        pairs = sorted((url, name) for url, names in ids.items() for name in names)
        table = pa.table(
            {
                "url": pa.array([url for url, _ in pairs], pa.string()).dictionary_encode(),
                "document_id": pa.array([name for _, name in pairs], pa.string()),
            }
        )
        self._write_documents(segment, table)

    def read_ids(self, segment: str) -> dict[str, list[str]]:
        """Return what `write_ids` wrote; nothing if no file of the segment could be read."""
        found: dict[str, list[str]] = {}
        table = self.read_documents(segment, _IDS)
        if table is not None:
            for file, name in zip(*(column.to_pylist() for column in table.columns), strict=True):
                found.setdefault(file, []).append(name)
        return found

    def write_versions(self, segment: str, versions: Mapping[str, tuple[int, bool]]) -> None:
        """Write the version of each document's newest message, and whether it deletes it."""
        rows = [
            {"document_id": name, "version": version, "deleted": deleted}
            for name, (version, deleted) in sorted(versions.items())
        ]
        self._write_documents(segment, pa.Table.from_pylist(rows, _MESSAGES))

    def read_versions(self, segment: str) -> pa.Table:
        """Return ``document_id, version, deleted`` as `write_versions` wrote them."""
        table = self.read_documents(segment, _MESSAGES)
        return _MESSAGES.empty_table() if table is None else table

    def read_documents(self, segment: str, schema: pa.Schema | None = None) -> pa.Table | None:
        """Return the table that `write_ids` or `write_versions` wrote; None if there is none.

        Raises:
            Damaged: it has other columns than they write, or than ``schema``.
        """
        url = filesystem.join(self.root, documents_name(segment))
        if not filesystem.exists(url):
            return None
        with reading(url):
            table = open_parquet(url).read()
        written = _MESSAGES if "version" in table.column_names else _IDS
        return as_written(table, schema or written, url)

    def paths(self, entry: Entry) -> SegmentPaths:
        """Return the paths of an entry's segment."""
        return SegmentPaths(self.store, entry.segment)

    def entry_url(self, number: int) -> str:
        """Return the URL of an entry."""
        return filesystem.join(self.root, f"{number:08d}.json")

    def closing_url(self, number: int) -> str:
        """Return the URL of an entry's closing."""
        return filesystem.join(self.root, f"{number:08d}-closed.json")

    def _write_documents(self, segment: str, table: pa.Table) -> None:
        with filesystem.put_atomically(self.root, lambda _: documents_name(segment)) as path:
            pq.write_table(table, path, compression="zstd")


@dataclass(frozen=True)
class JournalState:
    """A journal as it was read: its newest checkpoint and the entries after it."""

    journal: Journal
    checkpoint: Checkpoint
    entries: tuple[LoggedEntry, ...]

    @property
    def last_number(self) -> int:
        """The number of the last entry; 0 if there is none."""
        return self.entries[-1].entry.number if self.entries else self.checkpoint.number

    @property
    def last_snapshot(self) -> int:
        """The newest snapshot that an entry made; 0 if there is none."""
        closings = [each.closing for each in self.entries if each.closing is not None]
        return max([self.checkpoint.snapshot, *(each.snapshot for each in closings)])

    @property
    def open_entry(self) -> Entry | None:
        """The entry that is not closed, if any."""
        last = self.entries[-1] if self.entries else None
        return last.entry if last is not None and last.closing is None else None

    def taken_files(self) -> set[FileInfo]:
        """Return the files that are or will be in the store, and those that were rejected."""
        return set(self.checkpoint.read_files().taken).union(
            *(each.taken_files() for each in self.entries)
        )

    def stored_urls(self) -> set[str]:
        """Return the URLs of the files that are in the store."""
        return set(self.checkpoint.read_files().stored_urls).union(
            *(each.taken_urls() for each in self.entries if each.is_stored)
        )

    def versions_of(self, documents: Iterable[str]) -> dict[str, int]:
        """Return the newest version of each of the documents that messages have brought."""
        wanted = pa.array(documents, pa.string())
        known: dict[str, int] = {}
        for table in self._versions():
            found = table.filter(pc.is_in(table.column("document_id"), wanted))
            names, versions = (found.column(name) for name in ("document_id", "version"))
            for name, version in zip(names.to_pylist(), versions.to_pylist(), strict=True):
                known[name] = max(version, known.get(name, version))
        return known

    def documents_of(self, urls: set[str]) -> set[str]:
        """Return the ids of the documents that some files brought, and no later file has."""
        found = set(self.checkpoint.documents_of(urls))
        for each in self._stored_entries():
            for url, names in self.journal.read_ids(each.segment).items():
                found = found.union(names) if url in urls else found.difference(names)
        return found

    def _versions(self) -> Iterator[pa.Table]:
        yield from self.checkpoint.read_versions()
        for each in self._stored_entries():
            yield self.journal.read_versions(each.segment)

    def _stored_entries(self) -> Iterator[Entry]:
        """Yield the entries after the checkpoint that have their files in the store."""
        for each in self.entries:
            if each.is_stored and each.entry.number > self.checkpoint.number:
                yield each.entry


def numbers_in(names: Iterable[str], pattern: str) -> Iterator[int]:
    """Yield the numbers in the names that match a pattern, the number being its group."""
    for name in names:
        found = re.fullmatch(pattern, name)
        if found is not None:
            yield int(found[1])


def documents_name(segment: str) -> str:
    """Return the file name of the documents that the files of a segment brought."""
    return f"ids-{segment}.parquet"
