"""Write a part: its vectors, its rejects, its marker."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from transforms import storage
from transforms.errors import AlbeamError, BadInput, Damaged
from transforms.model import ModelIdentity
from transforms.records import (
    PASSAGE_FIELDS,
    REJECT,
    REJECT_COLUMNS,
    REJECT_SCHEMA,
    VECTOR,
    chunk_of,
    count_rows,
    count_tokens,
    vectors_to_numpy,
)
from transforms.segment import PartInfo, SegmentPaths, part_name
from transforms.tally import TALLY

#: Rows of a written row group: what a search reads to fetch one hit.
ROWS_PER_GROUP = 512
MODEL_KEY = b"albeam.model"


@dataclass(frozen=True)
class PartFormat:
    """What every part of a segment has in common.

    Attributes:
        identity: the model, kept in each file's key-value metadata.
        vector_dtype: ``float32`` or ``float16``.
        metadata: the schema of the metadata columns.
    """

    identity: ModelIdentity
    vector_dtype: str
    metadata: pa.Schema

    @property
    def schema(self) -> pa.Schema:
        """The schema of a part's file."""
        value = pa.float16() if self.vector_dtype == "float16" else pa.float32()
        vector = pa.field(VECTOR, pa.list_(value, self.identity.dim))
        return pa.schema(
            [*PASSAGE_FIELDS, *self.metadata, vector],
            metadata={MODEL_KEY: json.dumps(self.identity.to_dict(), sort_keys=True)},
        )


class PartWriter:
    """Writes one part from its chunks; nothing is visible before `finish`."""

    def __init__(self, paths: SegmentPaths, part: int, form: PartFormat) -> None:
        self._paths, self._part, self._form = paths, part, form
        self._next = 0
        self._stack = ExitStack()
        self._digests: dict[str, str] = {}
        self._rejects: pa.Table | None = None
        self._reasons: Counter[str] = Counter()
        self._rows = self._documents = self._tokens = self._text_bytes = 0
        schema = form.schema
        path = self._stack.enter_context(
            storage.put_atomically(paths.vectors, self._named(".parquet", "vectors"))
        )
        self._path = path
        # A dictionary of vectors would fit under its size limit and double the file.
        plain = [f.name for f in schema if f.name != VECTOR and not pt.is_nested(f.type)]
        # With checksums a reader notices a flipped bit; zstd alone lets most of them pass.
        self._writer = pq.ParquetWriter(
            path, schema, compression="zstd", use_dictionary=plain, write_page_checksum=True
        )

    def write(self, table: pa.Table) -> None:
        """Write the next chunk.

        Raises:
            BadInput: it is not the next; the runner has torn reading and writing apart.
        """
        chunk = chunk_of(table)
        if chunk.part != self._part or chunk.number != self._next:
            raise BadInput(
                f"part {self._part} got chunk {chunk.number} of part {chunk.part} where its chunk "
                f"{self._next} was due; the runner must keep ReadParts to WriteParts in one stage"
            )
        self._next += 1
        table = self._reject_overflow(table)
        good = pc.is_null(table.column(REJECT))
        self._write_rows(table.filter(good))
        rejects = table.filter(pc.invert(good))
        if rejects.num_rows:
            self._keep_rejects(rejects)
        TALLY.add_rows(count_rows(table))

    def finish(self) -> PartInfo:
        """Make the part's files visible and create its marker; an earlier attempt's wins."""
        self._writer.close()
        size = os.path.getsize(self._path)
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
        )
        return self._paths.settle_part(info)

    def abort(self) -> None:
        """Leave nothing behind."""
        self._writer.close()
        with suppress(InterruptedError):
            error = InterruptedError()
            self._stack.__exit__(type(error), error, None)

    def _reject_overflow(self, table: pa.Table) -> pa.Table:
        """Reject rows whose vectors are finite in float32 and not in float16."""
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
        self._documents += count_rows(table)
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
        with storage.put_atomically(
            self._paths.rejects, self._named(".parquet", "rejects")
        ) as path:
            pq.write_table(self._rejects, path, compression="zstd")
        return part_name(self._part, self._digests["rejects"], ".parquet")

    def _named(self, suffix: str, what: str) -> Any:
        def name(digest: str) -> str:
            self._digests[what] = digest
            return part_name(self._part, digest, suffix)

        return name


def open_parquet(url: str) -> Any:
    """A store's Parquet file, its footer read; what is read from it later is checked."""
    with reading(url):
        return pq.ParquetFile(storage.open_input(url), page_checksum_verification=True)


def reading(url: str) -> AbstractContextManager[None]:
    """What fails while a store's Parquet file is read becomes Damaged, which names the file."""
    remedy = "restore it, or embed again into a new store"
    return _reading(Damaged, f"{url} is missing; {remedy}", url, remedy)


def reading_given(url: str, what: str) -> AbstractContextManager[None]:
    """What fails while a Parquet file of the user's is read becomes BadInput, which names it."""
    name = f"{what} {url!r}"
    return _reading(BadInput, f"there is no {name}; check the path", name, "replace it")


@contextmanager
def _reading(kind: type[AlbeamError], missing: str, name: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except (TimeoutError, ConnectionError):
        raise
    except FileNotFoundError as error:
        raise kind(missing) from error
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise kind(f"{name} can't be read as Parquet: {reason}; {remedy}") from error


def rejected_ids(paths: SegmentPaths, parts: tuple[PartInfo, ...], reasons: set[str]) -> set[str]:
    """The ids of documents that were rejected for one of some reasons."""
    found: set[Any] = set()
    for part in parts:
        if reasons & part.rejects.keys():
            url = storage.join(paths.rejects, part.rejects_name)
            with reading(url):
                table = open_parquet(url).read(columns=["document_id", "reason"])
            rows = table.filter(pc.is_in(table.column("reason"), pa.array(sorted(reasons))))
            found.update(
                name for name in rows.column("document_id").to_pylist() if name is not None
            )
    return found


def read_vectors(
    paths: SegmentPaths, parts: tuple[PartInfo, ...]
) -> Iterator[npt.NDArray[np.float32]]:
    """The vectors of parts, in order, as float32 arrays ``[rows, dim]``."""
    for part in parts:
        url = storage.join(paths.vectors, part.name)
        with open_parquet(url) as file, reading(url):
            for batch in file.iter_batches(8_192, columns=[VECTOR]):
                yield vectors_to_numpy(batch.column(0))
