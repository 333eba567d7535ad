"""A checkpoint of a journal: its closed entries, condensed in a JSON file and Parquet files.

``checkpoint-00000064.json`` condenses the entries up to number 64. It names the Parquet files,
which are written before it. It is created exclusively, so that a checkpoint is whole or absent and
one of several writers wins.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.catalog.manifest_json import Count, check_name, decode
from transforms.errors import Damaged
from transforms.storage import filesystem, remedies
from transforms.storage.filesystem import FileInfo
from transforms.storage.parquet_files import open_parquet, reading

#: The tables of a checkpoint, by name: which files were taken, and whether they are in the store;
#: the newest version of each document that messages brought; the last file of each other document.
TABLES: dict[str, pa.Schema] = {
    "files": pa.schema(
        [
            ("url", pa.string()),
            ("size", pa.int64()),
            ("version", pa.string()),
            ("stored", pa.bool_()),
        ]
    ),
    "versions": pa.schema([("document_id", pa.string()), ("version", pa.int64())]),
    "owners": pa.schema([("document_id", pa.string()), ("url", pa.string())]),
}


class CheckpointFiles(NamedTuple):
    """The files that condensed entries have taken, and the URLs of those in the store."""

    taken: frozenset[FileInfo]
    stored_urls: frozenset[str]


@dataclass(frozen=True)
class _Content:
    """The content of a checkpoint's JSON file."""

    snapshot: Count
    tables: dict[str, str]

    def __post_init__(self) -> None:
        """Raise Damaged if the name of a file leads out of the store."""
        for name in self.tables.values():
            check_name(name)


@dataclass(frozen=True)
class Checkpoint:
    """The condensed closed entries of a journal, up to one of them.

    Attributes:
        root: the journal's folder.
        number: the last condensed entry; 0 if there is no checkpoint.
        snapshot: the newest snapshot that a condensed entry made.
        tables: the Parquet file of each of `TABLES` that has rows.
    """

    root: str
    number: int
    snapshot: int
    tables: Mapping[str, str]

    @classmethod
    def empty(cls, root: str) -> "Checkpoint":
        """Return the checkpoint of a journal that has none yet."""
        return cls(root, 0, 0, {})

    def read_files(self) -> CheckpointFiles:
        """Read the table ``files``."""
        name = self.tables.get("files")
        if name is None:
            return CheckpointFiles(frozenset(), frozenset())
        return _read_files(filesystem.join(self.root, name))

    def read_versions(self) -> Iterator[pa.Table]:
        """Yield the table ``versions`` in pieces."""
        return self.read_table("versions")

    def documents_of(self, urls: set[str]) -> Iterator[str]:
        """Yield the ids of the documents that one of ``urls`` brought last."""
        wanted = pa.array(sorted(urls), pa.string())
        for table in self.read_table("owners"):
            mine = table.filter(pc.is_in(table.column("url"), wanted))
            yield from mine.column("document_id").to_pylist()

    def read_table(self, table: str) -> Iterator[pa.Table]:
        """Yield a table in pieces; nothing if it has no rows."""
        name = self.tables.get(table)
        if name is not None:
            yield from _read_pieces(filesystem.join(self.root, name), table)


def checkpoint_url(root: str, number: int) -> str:
    """Return the URL of a checkpoint of the journal in the folder ``root``."""
    return filesystem.join(root, f"checkpoint-{number:08d}.json")


@lru_cache(maxsize=100)
def read_checkpoint(root: str, number: int) -> Checkpoint:
    """Read a checkpoint of the journal in the folder ``root``.

    Raises:
        FileNotFoundError: there is no checkpoint of this number.
        Damaged: the checkpoint can't be read.
    """
    url = checkpoint_url(root, number)
    content = decode(filesystem.read_bytes(url), _Content, url)
    return Checkpoint(root, number, content.snapshot, content.tables)


def write_checkpoint(root: str, number: int, snapshot: int, tables: dict[str, pa.Table]) -> None:
    """Write a checkpoint, unless another writer was faster.

    Args:
        root: the journal's folder.
        number: the last condensed entry.
        snapshot: the newest snapshot that a condensed entry made.
        tables: each of `TABLES`.
    """
    names = {}
    for name, table in tables.items():
        if table.num_rows:
            # Two writers of equal tables write one file.
            with filesystem.put_by_content(root, f"{name}-{number:08d}", ".parquet") as written:
                pq.write_table(table, written.path, compression="zstd", write_page_checksum=True)
            names[name] = written.name
    content = json.dumps(asdict(_Content(snapshot, names)), sort_keys=True).encode()
    filesystem.create_exclusively(checkpoint_url(root, number), content)


@lru_cache(maxsize=2)
def _read_files(url: str) -> CheckpointFiles:
    rows = [row for table in _read_pieces(url, "files") for row in table.to_pylist()]
    return CheckpointFiles(
        frozenset(FileInfo(row["url"], row["size"], row["version"]) for row in rows),
        frozenset(row["url"] for row in rows if row["stored"]),
    )


def _read_pieces(url: str, table: str) -> Iterator[pa.Table]:
    with reading(url):
        for batch in open_parquet(url).iter_batches():
            yield as_written(pa.Table.from_batches([batch]), TABLES[table], url)


def as_written(table: pa.Table, schema: pa.Schema, url: str) -> pa.Table:
    """Return a table of a journal's file with the columns of a schema, without nulls.

    Raises:
        Damaged: it has other columns, or nulls.
    """
    try:
        if table.column_names != schema.names:
            raise ValueError(f"they are {', '.join(table.column_names)[:200]}")
        made = table.cast(schema)
        for name, column in zip(schema.names, made.columns, strict=True):
            if column.null_count:
                raise ValueError(f"{name} has nulls")
    except (ValueError, pa.ArrowException) as error:
        problem = f"has other columns than {', '.join(schema.names)}: {error}"
        raise Damaged("file", url, problem, remedies.ROLL_BACK) from error
    return made
