"""Stores without a model: identities, parts with random vectors, segments."""

from typing import Any

import numpy as np
import pyarrow as pa

from transforms.model import ModelIdentity
from transforms.parquet import PartFormat, PartWriter
from transforms.records import (
    FILE,
    HASH,
    REJECT,
    ROW,
    TOKEN_FIELD,
    TOKENS,
    VECTOR,
    Chunk,
    mark_chunk,
    vectors_to_arrow,
)
from transforms.segment import PartInfo, SegmentInfo, SegmentPaths

DIM = 8


def make_identity(**changes: Any) -> ModelIdentity:
    """The identity of a model that there is not."""
    value = {
        "name": "models/tiny", "revision": None, "weights_sha256": "a" * 64,
        "tokenizer_sha256": "b" * 64, "pooling": "mean", "layer": -1, "normalize": True,
        "max_tokens": 64, "query_prompt": "", "passage_prompt": "", "dim": DIM,
    }  # fmt: skip
    return ModelIdentity(**(value | changes))


def make_format(vector_dtype: str = "float32", **metadata: pa.DataType) -> PartFormat:
    """The format of parts with these metadata columns."""
    return PartFormat(make_identity(), vector_dtype, pa.schema(metadata))


def make_vectors(rows: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
    """Seeded random vectors of length 1."""
    vectors = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_chunk(
    part: int, number: int, rows: int, last: bool, rejects: int = 0, seed: int = 0
) -> pa.Table:
    """A chunk as the writer gets it: two passages a document, then ``rejects`` rejected rows."""
    every = rows + rejects
    documents = [*(row // 2 for row in range(rows)), *range(rows, every)]
    reasons = [*[None] * rows, *["empty text"] * rejects]
    vectors = make_vectors(every, seed)
    vectors[rows:] = np.nan
    table = pa.table(
        {
            "document_id": [f"d{part}-{number}-{document}" for document in documents],
            "passage": pa.array([row % 2 for row in range(every)], pa.int32()),
            "start": pa.array([0] * every, pa.int32()),
            "end": pa.array([5] * every, pa.int32()),
            "text": ["naïve"] * every,
            "text_hash": pa.array([bytes(16)] * every, HASH),
            "metadata_hash": pa.array([bytes(16)] * every, HASH),
            "year": pa.array(range(every), pa.int16()),
            FILE: [f"f{number}"] * every,
            ROW: pa.array(documents, pa.int64()),
            REJECT: pa.array(reasons, pa.string()),
            TOKENS: pa.array([[2, 3, 4]] * rows + [None] * rejects, TOKEN_FIELD.type),
            VECTOR: vectors_to_arrow(vectors, pa.float32()),
        }
    )
    return mark_chunk(table, Chunk(part, number, last))


def write_part(
    paths: SegmentPaths, form: PartFormat, part: int, rows: int = 10, rejects: int = 0
) -> PartInfo:
    """Write a part of one chunk."""
    writer = PartWriter(paths, part, form)
    writer.write(make_chunk(part, 0, rows, last=True, rejects=rejects, seed=part))
    return writer.finish()


def make_segment(
    name: str = "segment", identity: ModelIdentity | None = None, **changes: Any
) -> SegmentInfo:
    """A segment that says it has one part."""
    part = PartInfo(0, "part-00000-abcd.parquet", 10, 100, "c" * 64, 5, 30, 60, {"empty text": 2})
    value = {
        "name": name, "identity": identity or make_identity(), "vector_dtype": "float32",
        "inputs": (), "metadata": pa.schema([("year", pa.int16())]), "parts": (part,),
        "index": None,
    }  # fmt: skip
    return SegmentInfo(**(value | changes))
