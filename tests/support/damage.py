"""Damage to the files of a store, and changes that its manifests vouch for."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.stores import sign
from transforms.storage.parquet_footers import digest_of_file

#: The files of an index shard in a manifest.
_KINDS = ("file", "raw")


def segment_file(store: Path, pattern: str) -> Path:
    """Return the first file of a store's segments that matches a pattern."""
    return sorted(store.glob(f"segments/*/{pattern}"))[0]


def flip_bit(path: Path, place: float = 0.3) -> None:
    """Flip one bit at a share of a file's length."""
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 4
    path.write_bytes(content)


def flip_bit_of_text(path: Path) -> None:
    """Flip one bit in the texts of a part."""
    column = pq.read_metadata(path).row_group(0).column(4)
    assert column.path_in_schema == "text"
    flip_bit(path, (column.dictionary_page_offset + 60) / path.stat().st_size)


def cut_short(path: Path) -> None:
    """Remove the last third of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def reverse_bytes(path: Path) -> None:
    """Give a file other content of the same length."""
    path.write_bytes(path.read_bytes()[::-1])


def rewrite_snapshot(store: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change the first snapshot and its digest, and return its path."""
    path = store / "snapshots" / "00000001.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(sign(value)), encoding="utf-8")
    return path


def rewrite_manifest(store: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest of the first segment, and its digest in the first snapshot."""
    manifest = segment_file(store, "segment.json")
    value = json.loads(manifest.read_text(encoding="utf-8"))
    change(value)
    manifest.write_text(json.dumps(value), encoding="utf-8")
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    rewrite_snapshot(store, lambda snapshot: snapshot["segments"][0].update(sha256=digest))


def vouch_for_index(store: Path, path: Path) -> None:
    """Make the manifest of the first segment vouch for a changed file of its index."""

    def change(value: dict[str, Any]) -> None:
        index = value["index"]
        files = [index["trained"], *(shard[kind] for shard in index["shards"] for kind in _KINDS)]
        for file in files:
            if file is not None and file["name"] == path.name:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                file.update(sha256=digest, bytes=path.stat().st_size)

    rewrite_manifest(store, change)


def rewrite_part(store: Path, part: int, table: pa.Table) -> Path:
    """Give a part another table, and manifests that vouch for it; return its path."""
    path = segment_file(store, f"vectors/part-{part:05d}-*")
    pq.write_table(table, path)

    def change(value: dict[str, Any]) -> None:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        footer = digest_of_file(str(path))
        value["parts"][part].update(sha256=digest, bytes=path.stat().st_size, footer_sha256=footer)

    rewrite_manifest(store, change)
    return path


def hide_page(path: Path, column: int, group: int = 0) -> None:
    """Give the first data page of a column a type that Arrow skips, so that its rows are lost."""
    content = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(group).column(column).data_page_offset
    # The page's type is the first field of its header, in Thrift's compact encoding.
    assert content[start] == 0x15
    content[start + 1] = 2
    path.write_bytes(content)
