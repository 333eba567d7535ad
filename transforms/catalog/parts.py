"""Parts: the vectors files, their format, and how they are read."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.segment import PartInfo
from transforms.catalog.snapshot import SegmentRef, read_segment
from transforms.errors import Damaged
from transforms.models.identity import ModelIdentity
from transforms.storage import filesystem, remedies
from transforms.storage.parquet_files import open_parquet, reading
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

    @property
    def schema(self) -> pa.Schema:
        """Return the schema of a part's file."""
        value = pa.float16() if self.vector_dtype == "float16" else pa.float32()
        vector = pa.field(VECTOR, pa.list_(value, self.identity.dim))
        return pa.schema(
            [*PASSAGE_FIELDS, *self.metadata, vector],
            metadata={MODEL_KEY: json.dumps(self.identity.to_dict(), sort_keys=True)},
        )


def read_vectors(
    paths: SegmentPaths, parts: tuple[PartInfo, ...]
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the vectors of parts, in order, as float32 arrays ``[rows, dim]``."""
    for part in parts:
        url = filesystem.join(paths.vectors, part.name)
        with open_parquet(url) as file, reading(url):
            for batch in file.iter_batches(8_192, columns=[VECTOR]):
                yield vectors_to_numpy(batch.column(0))


def rejected_ids(paths: SegmentPaths, parts: tuple[PartInfo, ...], reasons: set[str]) -> set[str]:
    """Return the ids of documents that were rejected for one of the reasons."""
    found: set[Any] = set()
    for part in parts:
        if reasons & part.rejects.keys():
            url = filesystem.join(paths.rejects, part.rejects_name)
            with reading(url):
                table = open_parquet(url).read(columns=["document_id", "reason"])
            rows = table.filter(pc.is_in(table.column("reason"), pa.array(sorted(reasons))))
            found.update(
                name for name in rows.column("document_id").to_pylist() if name is not None
            )
    return found


def open_part(paths: SegmentPaths, part: PartInfo) -> Any:
    """Open a part's Parquet file and read its footer.

    Raises:
        Damaged: the file is missing, is not Parquet, or has another number of rows.
    """
    url = filesystem.join(paths.vectors, part.name)
    file = open_parquet(url)
    if file.metadata.num_rows != part.rows:
        problem = f"has {file.metadata.num_rows} rows, but the manifest records {part.rows}"
        raise Damaged("file", url, problem, remedies.EMBED_AGAIN)
    return file


def live_document_ids(store: str, segments: Iterable[SegmentRef]) -> Iterator[pa.ChunkedArray]:
    """Yield the document ids of segments, one array per part and one id per passage."""
    for ref in segments:
        paths = SegmentPaths(store, ref.name)
        for part in read_segment(store, ref).parts:
            url = filesystem.join(paths.vectors, part.name)
            with reading(url):
                yield open_parquet(url).read(columns=["document_id"]).column(0)
