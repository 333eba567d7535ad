"""Stores without a model: identities, parts with random vectors, and segments."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.options import ColumnOptions
from transforms.catalog.parts import PartFormat
from transforms.catalog.plan import Plan
from transforms.catalog.segment import PartInfo, SegmentInfo
from transforms.catalog.snapshot import Snapshot
from transforms.index.build import build_index, describe_segment
from transforms.index.lexical.build import build_lexical
from transforms.index.options import IndexOptions
from transforms.ingest.part_tables import Chunk, mark_chunk
from transforms.ingest.part_writer import PartWriter
from transforms.models.identity import ModelIdentity
from transforms.search.store import Store
from transforms.storage import filesystem
from transforms.storage.filesystem import FileInfo
from transforms.storage.schema import FILE, HASH, REJECT, ROW, TOKEN_FIELD, TOKENS, VECTOR
from transforms.storage.vectors import vectors_to_arrow
from transforms.transactions.commits import commit_segment, roll_back

DIM = 8


def make_identity(**changes: Any) -> ModelIdentity:
    """Return the identity of a model that does not exist."""
    value = {
        "name": "models/tiny", "revision": None, "weights_sha256": "a" * 64,
        "tokenizer_sha256": "b" * 64, "pooling": "mean", "layer": -1, "normalize": True,
        "max_tokens": 64, "query_prompt": "", "passage_prompt": "", "dim": DIM,
    }  # fmt: skip
    return ModelIdentity(**(value | changes))


def make_format(vector_dtype: str = "float32", **metadata: pa.DataType) -> PartFormat:
    """Return the format of parts with these metadata columns."""
    return PartFormat(make_identity(), vector_dtype, pa.schema(metadata))


def make_vectors(rows: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
    """Return seeded random vectors of length 1."""
    vectors = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_chunk(
    part: int, number: int, rows: int, last: bool, rejects: int = 0, seed: int = 0
) -> pa.Table:
    """Return a chunk for the writer: two passages per document, then ``rejects`` rejected rows."""
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
    """Write a part of one chunk, and return its description."""
    writer = PartWriter(paths, part, form)
    writer.write(make_chunk(part, 0, rows, last=True, rejects=rejects, seed=part))
    return writer.finish()


def make_segment(
    name: str = "segment", identity: ModelIdentity | None = None, **changes: Any
) -> SegmentInfo:
    """Return the manifest of a segment with one part."""
    part = PartInfo(0, "part-00000-abcd.parquet", 10, 100, "c" * 64, 5, 30, 60, {"empty text": 2})
    value = {
        "name": name, "identity": identity or make_identity(), "vector_dtype": "float32",
        "inputs": (), "metadata": pa.schema([("year", pa.int16())]), "parts": (part,),
        "index": None,
    }  # fmt: skip
    return SegmentInfo(**(value | changes))


def add_segment(
    store: str,
    name: str,
    documents: dict[str, int],
    *,
    parts: int = 1,
    index: str | None = "Flat",
    seed: int = 0,
    vector_dtype: str = "float32",
    metadata: dict[str, pa.DataType] | None = None,
    rejects: int = 0,
    recall_target: float = 0.5,
    language: str | None = None,
) -> Snapshot:
    """Append a segment to a store; ``documents`` maps ids, also their texts, to passage counts."""
    paths = SegmentPaths(store, name)
    columns = {"year": pa.int16()} if metadata is None else metadata
    form = make_format(vector_dtype, **columns)
    files = (FileInfo(f"{name}.parquet", len(documents), "v1"),)
    plan = paths.create_plan(Plan(files, ColumnOptions(), form.metadata, ()))
    ids = list(documents)
    infos = []
    for number in range(parts):
        mine = ids[len(ids) * number // parts : len(ids) * (number + 1) // parts]
        writer = PartWriter(paths, number, form)
        refused = rejects if number == parts - 1 else 0
        writer.write(_passages({i: documents[i] for i in mine}, form, refused, seed, number))
        infos.append(writer.finish())
    built = build_index(paths, tuple(infos), DIM, IndexOptions(index or "none", recall_target))
    texts = build_lexical(paths, tuple(infos), language)
    info = describe_segment(paths, plan, form, tuple(infos), built, texts)
    info, digest = paths.create_manifest(info)
    return commit_segment(store, info, digest, "append", "test")


def _passages(
    documents: dict[str, int], form: PartFormat, rejects: int, seed: int, part: int
) -> pa.Table:
    ids = [name for name, count in documents.items() for _ in range(count)]
    passages = [number for count in documents.values() for number in range(count)]
    places = {name: place for place, name in enumerate(documents)}
    rows, every = len(ids), len(ids) + rejects
    ids += [f"rejected-{seed}-{part}-{number}" for number in range(rejects)]
    vectors = np.full((every, DIM), np.nan, np.float32)
    vectors[:rows] = make_vectors(rows, seed * 100 + part)
    columns: dict[str, Any] = {
        "document_id": pa.array(ids, pa.string()),
        "passage": pa.array([*passages, *[0] * rejects], pa.int32()),
        "start": pa.array([0] * every, pa.int32()),
        "end": pa.array([5] * every, pa.int32()),
        "text": pa.array(ids, pa.string()),
        "text_hash": pa.array([bytes(16)] * every, HASH),
        "metadata_hash": pa.array([bytes(16)] * every, HASH),
        FILE: ["input"] * every,
        ROW: pa.array([places.get(name, 10_000 + n) for n, name in enumerate(ids)], pa.int64()),
        REJECT: pa.array([*[None] * rows, *["empty text"] * rejects], pa.string()),
        TOKENS: pa.array([[2, 3, 4]] * rows + [None] * rejects, TOKEN_FIELD.type),
        VECTOR: vectors_to_arrow(vectors, pa.float32()),
    }
    for field in form.metadata:
        columns[field.name] = pa.array(range(every)).cast(field.type)
    return mark_chunk(pa.table(columns), Chunk(part, 0, last=True))


def sign(value: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON value of a snapshot with the digest of its content."""
    content = {name: value[name] for name in ("number", "identity", "segments")}
    digest = filesystem.digest(json.dumps(content, sort_keys=True).encode())
    return value | {"commit": digest}


def live_ids(store: str, snapshot: int | None = None) -> list[str]:
    """Return the ids of the live documents, in order."""
    tables = Store.open(store, snapshot).documents(["document_id"])
    return list(dict.fromkeys(name for table in tables for name in table[0].to_pylist()))


def found(store: str, k: int = 10, queries: int = 8, snapshot: int | None = None) -> list[list]:
    """Return the hits of seeded vectors: id, passage, text and score of each."""
    hits = Store.open(store, snapshot).search(make_vectors(queries, seed=999), k)
    return [[(h.document_id, h.passage, h.text, h.score) for h in line] for line in hits]


def overtake(monkeypatch: pytest.MonkeyPatch, other: Callable[[], object]) -> None:
    """Run another writer once, just before the next snapshot is created."""
    real = filesystem.create_exclusively
    waiting = [other]

    def create(url: str, content: bytes) -> bool:
        if "/snapshots/" in url and waiting:
            waiting.pop()()
        return real(url, content)

    monkeypatch.setattr(filesystem, "create_exclusively", create)


def always_overtake(monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    """Let another writer roll back before each snapshot of this one is created."""
    real = filesystem.create_exclusively
    turn = itertools.count()

    def create(url: str, content: bytes) -> bool:
        if "/snapshots/" in url:
            monkeypatch.setattr(filesystem, "create_exclusively", real)
            roll_back(store, 1 + next(turn) % 2)
            monkeypatch.setattr(filesystem, "create_exclusively", create)
        return real(url, content)

    monkeypatch.setattr(filesystem, "create_exclusively", create)
