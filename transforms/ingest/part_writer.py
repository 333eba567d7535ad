"""Write a part: its vectors, its rejects, its marker."""

import os
from collections import Counter
from contextlib import ExitStack, suppress
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from transforms.catalog.layout import SegmentPaths, part_name
from transforms.catalog.segment import PartInfo
from transforms.errors import BadInput
from transforms.ingest.part_tables import chunk_of, count_rows, count_tokens
from transforms.runtime.counters import COUNTERS
from transforms.storage import filesystem
from transforms.storage.disk_space import naming_full_disk
from transforms.storage.parquet_footers import digest_of_file
from transforms.storage.schema import EMPTY, REJECT, REJECT_COLUMNS, REJECT_SCHEMA, VECTOR
from transforms.storage.vectors import vectors_to_numpy

#: Rows of a row group: what a search reads to fetch one hit.
ROWS_PER_GROUP = 512


class RowFormat(Protocol):
    """The format of the files that a `PartWriter` writes, such as a `PartFormat`."""

    @property
    def schema(self) -> pa.Schema:
        """The schema of a file."""

    @property
    def vector_dtype(self) -> str:
        """The dtype of the vectors: ``float32`` or ``float16``."""


class PartWriter:
    """A writer of one part from its chunks; nothing is visible before `finish`."""

    def __init__(self, paths: SegmentPaths, part: int, form: RowFormat) -> None:
        self._paths, self._part, self._form = paths, part, form
        self._next = 0
        self._stack = ExitStack()
        self._digests: dict[str, str] = {}
        self._rejects: pa.Table | None = None
        self._reasons: Counter[str] = Counter()
        self._rows = self._documents = self._tokens = self._text_bytes = 0
        schema = form.schema
        path = self._stack.enter_context(
            filesystem.put_atomically(paths.vectors, self._named(".parquet", "vectors"))
        )
        self._path = path
        # A dictionary of the vectors would double the size of the file.
        plain = [f.name for f in schema if f.name != VECTOR and not pt.is_nested(f.type)]
        # With checksums a reader notices a flipped bit; zstd alone misses most of them.
        self._writer = pq.ParquetWriter(
            path, schema, compression="zstd", use_dictionary=plain, write_page_checksum=True
        )

    def write(self, table: pa.Table) -> None:
        """Write the next chunk.

        Raises:
            BadInput: it is not the next one, because the runner separated reading from writing.
        """
        chunk = chunk_of(table)
        if chunk.part != self._part or chunk.number != self._next:
            raise BadInput(
                "part",
                self._part,
                f"got chunk {chunk.number} of part {chunk.part} instead of its chunk {self._next}",
                "Use a runner that fuses ReadParts to WriteParts into one stage",
            )
        self._next += 1
        table = self._reject_overflow(table)
        good = pc.is_null(table.column(REJECT))
        with naming_full_disk(os.path.dirname(self._path)):
            self._write_rows(table.filter(good))
        rejects = table.filter(pc.invert(good))
        if rejects.num_rows:
            self._keep_rejects(rejects)
        COUNTERS.add_rows(count_rows(table))

    def finish(self) -> PartInfo:
        """Publish the part's files and create its marker, or return that of an earlier attempt."""
        with naming_full_disk(os.path.dirname(self._path)):
            self._writer.close()
        size, footer = os.path.getsize(self._path), digest_of_file(self._path)
        self._stack.close()
        rejects_name = self._write_rejects() if self._rejects is not None else ""
        info = PartInfo(
            number=self._part,
            name=part_name(self._part, self._digests["vectors"], ".parquet"),
            rows=self._rows,
            bytes=size,
            sha256=self._digests["vectors"],
            documents=self._documents,
            tokens=self._tokens,
            text_bytes=self._text_bytes,
            rejects=dict(sorted(self._reasons.items())),
            rejects_name=rejects_name,
            rejects_sha256=self._digests.get("rejects", ""),
            footer_sha256=footer,
        )
        return self._paths.create_marker(info)

    def abort(self) -> None:
        """Remove what was written so far."""
        with suppress(OSError):
            # Closing writes the footer, for which a full disk has no room.
            self._writer.close()
        with suppress(InterruptedError):
            error = InterruptedError()
            self._stack.__exit__(type(error), error, None)

    def _reject_overflow(self, table: pa.Table) -> pa.Table:
        """Reject rows with vectors that are finite in float32 but not in float16."""
        good = pc.is_null(table.column(REJECT))
        if self._form.vector_dtype != "float16" or not pc.any(good).as_py():
            return table
        places = np.flatnonzero(good.to_numpy())
        vectors = vectors_to_numpy(table.column(VECTOR).take(places))
        over = places[(np.abs(vectors) > np.finfo(np.float16).max).any(axis=1)]
        if not len(over):
            return table
        reasons = table.column(REJECT).to_pylist()
        for place in over:
            reasons[place] = "vector does not fit float16"
        column = table.schema.get_field_index(REJECT)
        field = table.schema.field(column)
        return table.set_column(column, field, pa.array(reasons, field.type))

    def _write_rows(self, table: pa.Table) -> None:
        self._documents += count_rows(table)
        if EMPTY in table.column_names:
            table = table.filter(pc.invert(table.column(EMPTY)))
        if not table.num_rows:
            return
        schema = self._form.schema
        columns = []
        for name in schema.names:
            column = table.column(name)
            wanted = schema.field(name).type
            columns.append(column if column.type == wanted else column.cast(wanted))
        self._writer.write_table(pa.table(columns, schema=schema), row_group_size=ROWS_PER_GROUP)
        self._rows += table.num_rows
        self._tokens += count_tokens(table)
        self._text_bytes += int(pc.sum(pc.binary_length(table.column("text"))).as_py())

    def _keep_rejects(self, table: pa.Table) -> None:
        rejects = pa.table(
            [table.column(name) for name in REJECT_COLUMNS],
            schema=REJECT_SCHEMA,
        )
        self._reasons.update(rejects.column("reason").to_pylist())
        self._rejects = (
            rejects if self._rejects is None else pa.concat_tables([self._rejects, rejects])
        )

    def _write_rejects(self) -> str:
        with filesystem.put_atomically(
            self._paths.rejects, self._named(".parquet", "rejects")
        ) as path:
            pq.write_table(self._rejects, path, compression="zstd")
        return part_name(self._part, self._digests["rejects"], ".parquet")

    def _named(self, suffix: str, what: str) -> Any:
        def name(digest: str) -> str:
            self._digests[what] = digest
            return part_name(self._part, digest, suffix)

        return name
