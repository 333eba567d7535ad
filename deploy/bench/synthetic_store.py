"""Stores of seeded clustered vectors, whose passages need no model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from deploy.bench.synthetic_vectors import Vectors, vectors_of
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.options import ColumnOptions
from transforms.catalog.parts import PartFormat
from transforms.catalog.plan import Plan
from transforms.index.build import describe_segment
from transforms.ingest.part_tables import Chunk, mark_chunk
from transforms.ingest.part_writer import PartWriter
from transforms.models.options import DEFAULT_MODEL, ModelOptions
from transforms.models.resolve import find_model
from transforms.storage.schema import FILE, HASH, REJECT, ROW, TOKEN_FIELD, TOKENS, VECTOR
from transforms.storage.vectors import vectors_to_arrow
from transforms.transactions.commits import commit_segment

CHUNK = 8_192
ROWS_PER_PART = 65_536


def make_store(store: str, rows: int, seed: int, texts: Iterator[str] | None = None) -> None:
    """Write a store of so many passages without an index.

    Args:
        store: where to write it.
        rows: the number of passages.
        seed: of the vectors.
        texts: the text of each passage; None for one word.
    """
    paths = SegmentPaths(store, "vectors")
    form = PartFormat(find_model(ModelOptions(DEFAULT_MODEL)).identity, "float16", pa.schema([]))
    plan = paths.create_plan(Plan((), ColumnOptions(), form.metadata, ()))
    parts = []
    for first in range(0, rows, ROWS_PER_PART):
        writer = PartWriter(paths, len(parts), form)
        last = min(first + ROWS_PER_PART, rows)
        for start in range(first, last, CHUNK):
            vectors = vectors_of(rows, start // CHUNK, min(CHUNK, last - start), seed)
            words = [next(texts) if texts is not None else "x" for _ in range(len(vectors))]
            chunk = Chunk(len(parts), (start - first) // CHUNK, start + CHUNK >= last)
            writer.write(mark_chunk(_table(start, vectors, words), chunk))
        parts.append(writer.finish())
    info = describe_segment(paths, plan, form, tuple(parts), None)
    info, digest = paths.create_manifest(info)
    commit_segment(store, info, digest, "append", "bench")


def _table(first: int, vectors: Vectors, texts: list[str]) -> pa.Table:
    rows = len(vectors)
    zeros = pa.array(np.zeros(rows, np.int32))
    return pa.table(
        {
            "document_id": [f"{first + row:09d}" for row in range(rows)],
            "passage": zeros,
            "start": zeros,
            "end": pa.array(np.ones(rows, np.int32)),
            "text": texts,
            "text_hash": pa.array([bytes(16)] * rows, HASH),
            "metadata_hash": pa.array([bytes(16)] * rows, HASH),
            FILE: ["bench"] * rows,
            ROW: pa.array(np.arange(first, first + rows)),
            REJECT: pa.nulls(rows, pa.string()),
            TOKENS: pa.array([[2]] * rows, TOKEN_FIELD.type),
            VECTOR: vectors_to_arrow(vectors, pa.float32()),
        }
    )
