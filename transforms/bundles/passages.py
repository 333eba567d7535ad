"""The passages of a bundle: a Parquet file of small row groups, or small JSON files for a page."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

#: Passages that are read at once for a hit. A page fetches fewer, as each hit may need a file.
GROUP_ROWS, GROUP_ROWS_WEB = 256, 32
_SCHEMA = pa.schema(
    [
        ("document_id", pa.string()),
        ("passage", pa.int32()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("text", pa.string()),
        ("metadata", pa.string()),
    ]
)


class PassageFile:
    """Writes passages, whose metadata is JSON text, to one Parquet file."""

    group_rows = GROUP_ROWS

    def __init__(self, folder: Path) -> None:
        """Begin the file."""
        path = folder / "passages.parquet"
        self._writer = pq.ParquetWriter(path, _SCHEMA, compression="zstd")
        self._waiting: list[dict[str, Any]] = []

    def write(self, passages: Sequence[dict[str, Any]]) -> None:
        """Append passages; row groups have `GROUP_ROWS` but the last."""
        self._waiting += passages
        while len(self._waiting) >= self.group_rows:
            self._put(self._waiting[: self.group_rows])
            del self._waiting[: self.group_rows]

    def close(self) -> None:
        """End the file."""
        if self._waiting:
            self._put(self._waiting)
        self._writer.close()

    def _put(self, passages: list[dict[str, Any]]) -> None:
        self._writer.write_table(pa.Table.from_pylist(passages, _SCHEMA))


class PassageFolder(PassageFile):
    """Writes passages to numbered JSON files."""

    group_rows = GROUP_ROWS_WEB

    def __init__(self, folder: Path) -> None:
        """Begin the folder."""
        self._folder, self._number = folder / "passages", 0
        self._folder.mkdir()
        self._waiting = []

    def close(self) -> None:
        """Write what is left."""
        if self._waiting:
            self._put(self._waiting)

    def _put(self, passages: list[dict[str, Any]]) -> None:
        found = [each | {"metadata": json.loads(each["metadata"])} for each in passages]
        path = self._folder / f"{self._number:05d}.json"
        path.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
        self._number += 1
