"""Parts: the vectors files, their format, and how they are read."""

import io
import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.segment import PartInfo, SegmentInfo
from transforms.catalog.snapshot import SegmentRef, read_segment
from transforms.errors import Damaged
from transforms.models.identity import ModelIdentity
from transforms.storage import filesystem, remedies
from transforms.storage.checked_parquet import open_checked
from transforms.storage.file_cache import FileCache, default_folder
from transforms.storage.file_columns import FileColumns
from transforms.storage.parquet_files import CheckedFile, reading
from transforms.storage.parquet_footers import check_coverage, digest
from transforms.storage.retries import in_threads
from transforms.storage.schema import PASSAGE_FIELDS, VECTOR
from transforms.storage.vectors import vectors_to_numpy

#: The key of the model in a part's key-value metadata.
MODEL_KEY = b"albeam.model"


def complete_parts(
    paths: SegmentPaths, count: int, known: Iterable[PartInfo]
) -> tuple[PartInfo, ...]:
    """Return all ``count`` parts of a segment; read the markers of those that are not ``known``.

    Raises:
        Damaged: a part is not finished.
    """
    infos = {info.number: info for info in known}
    others = [number for number in range(count) if number not in infos]
    for number, info in zip(others, in_threads(paths.read_marker, others), strict=True):
        if info is None:
            url = paths.marker(number)
            raise Damaged("file", url, "is missing", "Run the same command again")
        infos[number] = info
    return tuple(infos[number] for number in range(count))


@dataclass(frozen=True)
class PartFormat:
    """The format of a segment's parts.

    Attributes:
        identity: the model, which each file holds in its key-value metadata.
        vector_dtype: ``float32`` or ``float16``.
        metadata: the schema of the metadata columns.
    """

    identity: ModelIdentity
    vector_dtype: str
    metadata: pa.Schema

    @cached_property
    def schema(self) -> pa.Schema:
        """Return the schema of a part's file."""
        value = pa.float16() if self.vector_dtype == "float16" else pa.float32()
        vector = pa.field(VECTOR, pa.list_(value, self.identity.dim))
        return pa.schema(
            [*PASSAGE_FIELDS, *self.metadata, vector],
            metadata={MODEL_KEY: json.dumps(self.identity.to_dict(), sort_keys=True)},
        )

    @cached_property
    def columns(self) -> FileColumns:
        """Return the columns of a part's file."""
        return FileColumns.of(self.schema)


def format_of(info: SegmentInfo) -> PartFormat:
    """Return the format of the parts of a segment."""
    return PartFormat(info.identity, info.vector_dtype, info.metadata)


def read_vectors(
    paths: SegmentPaths, parts: tuple[PartInfo, ...], files: FileCache | None = None
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the vectors of parts, in order, as float32 arrays ``[rows, dim]``; see `open_part`."""
    for part in parts:
        url = filesystem.join(paths.vectors, part.name)
        with open_part(paths, part, files=files) as file, reading(url):
            for batch in file.iter_batches(8_192, columns=[VECTOR]):
                column = batch.column(0)
                if column.null_count or column.flatten().null_count:
                    raise _wrong_part(url, "has a passage without a vector")
                yield vectors_to_numpy(column)


def rejected_ids(paths: SegmentPaths, parts: tuple[PartInfo, ...], reasons: set[str]) -> set[str]:
    """Return the ids of documents that were rejected for one of the reasons."""
    found: set[Any] = set()
    for part in parts:
        if reasons & part.rejects.keys():
            url = filesystem.join(paths.rejects, part.rejects_name)
            with open_rejects(paths, part) as file, reading(url):
                table = file.read(columns=["document_id", "reason"])
            rows = table.filter(pc.is_in(table.column("reason"), pa.array(sorted(reasons))))
            found.update(
                name for name in rows.column("document_id").to_pylist() if name is not None
            )
    return found


def open_part(
    paths: SegmentPaths,
    part: PartInfo,
    form: PartFormat | None = None,
    files: FileCache | None = None,
) -> Any:
    """Open a part's Parquet file and check its footer; pages are checked when they are read.

    Args:
        paths: the paths of the segment.
        part: the part.
        form: the format that the part must have, if it is known.
        files: notes which parts of albeam 0.1 were checked; those have no digest of their footer.

    Raises:
        Damaged: the file is missing, or its footer is not the one that was written.
    """
    url = filesystem.join(paths.vectors, part.name)
    if not part.footer_sha256 and filesystem.is_local(url):
        (files or FileCache(default_folder())).fetch(
            url, part.bytes, part.sha256, remedies.EMBED_AGAIN
        )
    with reading(url), ExitStack() as stack:
        source = stack.enter_context(filesystem.open_input(url))
        size = source.seek(0, io.SEEK_END)
        if size != part.bytes:
            raise _wrong_part(url, f"has {size} bytes, but the manifest records {part.bytes}")
        if part.footer_sha256 and (found := digest(source)) != part.footer_sha256:
            problem = f"has a footer with SHA-256 {found}, but the manifest records "
            raise _wrong_part(url, problem + part.footer_sha256)
        source.seek(0)
        file = CheckedFile(source)
        if not part.footer_sha256:
            check_coverage(file.metadata, size)
        _check_form(file, part, form, url)
        stack.pop_all()
    return file


def open_rejects(paths: SegmentPaths, part: PartInfo) -> Any:
    """Open the Parquet file of the rows of a part that were rejected.

    Raises:
        Damaged: the file is missing or differs from its digest.
    """
    url = filesystem.join(paths.rejects, part.rejects_name)
    return open_checked(url, part.rejects_sha256)


def _check_form(file: CheckedFile, part: PartInfo, form: PartFormat | None, url: str) -> None:
    """Raise Damaged if a part has other columns or rows than it must have."""
    if file.metadata.num_rows != part.rows:
        found = file.metadata.num_rows
        raise _wrong_part(url, f"has {found} rows, but the manifest records {part.rows}")
    schema = file.schema_arrow
    if form is None:
        fits = len(set(schema.names)) == len(schema.names) and all(
            field.name in schema.names and schema.field(field.name).type == field.type
            for field in PASSAGE_FIELDS
        )
        kind = schema.field(VECTOR).type if VECTOR in schema.names else pa.null()
        fits = fits and pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type)
        needed = [*(field.name for field in PASSAGE_FIELDS), VECTOR]
    else:
        fits, needed = schema.equals(form.schema), form.schema.names
        # All parts have the same columns, which take longer to find than the rest of a footer.
        file.columns = form.columns
    if not fits:
        problem = f"has columns {schema.names}, but the manifest needs {needed}"
        if schema.names == needed:
            problem = f"has columns of other types than the manifest needs: {schema.types}"
        raise _wrong_part(url, problem)


def _wrong_part(url: str, problem: str) -> Damaged:
    return Damaged("file", url, problem, remedies.EMBED_AGAIN)


def live_document_ids(store: str, segments: Iterable[SegmentRef]) -> Iterator[pa.ChunkedArray]:
    """Yield the document ids of segments, one array per part and one id per passage."""
    for ref in segments:
        paths = SegmentPaths(store, ref.name)
        for part in read_segment(store, ref).parts:
            url = filesystem.join(paths.vectors, part.name)
            with open_part(paths, part) as file, reading(url):
                ids = file.read(columns=["document_id"]).column(0)
            yield ids
