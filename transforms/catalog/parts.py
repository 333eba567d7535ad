"""Parts: vectors files, their format, and reading them."""

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
from transforms.storage import filesystem
from transforms.storage.parquet_files import open_parquet, reading
from transforms.storage.schema import PASSAGE_FIELDS, VECTOR
from transforms.storage.vectors import vectors_to_numpy


def complete_parts(
    paths: SegmentPaths, count: int, known: Iterable[PartInfo]
) -> tuple[PartInfo, ...]:
    """All ``count`` parts of a segment, those not ``known`` read from their markers.

    Raises:
        Damaged: a part is not done.
    """
    infos = {info.number: info for info in known}
    others = [number for number in range(count) if number not in infos]
    for number, info in zip(others, filesystem.in_threads(paths.read_marker, others), strict=True):
        if info is None:
            raise Damaged(f"{paths.marker(number)} is missing; run the same command again")
        infos[number] = info
    return tuple(infos[number] for number in range(count))


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


def read_vectors(
    paths: SegmentPaths, parts: tuple[PartInfo, ...]
) -> Iterator[npt.NDArray[np.float32]]:
    """The vectors of parts, in order, as float32 arrays ``[rows, dim]``."""
    for part in parts:
        url = filesystem.join(paths.vectors, part.name)
        with open_parquet(url) as file, reading(url):
            for batch in file.iter_batches(8_192, columns=[VECTOR]):
                yield vectors_to_numpy(batch.column(0))


def rejected_ids(paths: SegmentPaths, parts: tuple[PartInfo, ...], reasons: set[str]) -> set[str]:
    """The ids of documents that were rejected for one of some reasons."""
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
    """A part's Parquet file, its footer read.

    Raises:
        Damaged: it is missing, is no Parquet, or has another number of rows.
    """
    url = filesystem.join(paths.vectors, part.name)
    file = open_parquet(url)
    if file.metadata.num_rows != part.rows:
        raise Damaged(
            f"{url} has {file.metadata.num_rows} rows, and the manifest says {part.rows}; "
            "restore it, or embed again into a new store"
        )
    return file


def live_document_ids(store: str, segments: Iterable[SegmentRef]) -> Iterator[pa.ChunkedArray]:
    """The document ids of segments, an array a part; a document's id stands once a passage."""
    for ref in segments:
        paths = SegmentPaths(store, ref.name)
        for part in read_segment(store, ref).parts:
            url = filesystem.join(paths.vectors, part.name)
            with reading(url):
                yield open_parquet(url).read(columns=["document_id"]).column(0)
