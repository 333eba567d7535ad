"""Stores with vector indexes in shards, and their recall."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.stores import add_segment, make_vectors
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.parts import read_vectors
from transforms.index.vector import faiss_factory
from transforms.index.vector import plan as plan_module
from transforms.search.store import Store

ROWS = 1_200


def shards_of(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """From now on a shard has at most so many rows, or a single part."""
    monkeypatch.setattr(plan_module, "max_shard_rows", lambda *_: rows)


def make_store(folder: Path, factory: str, target: float = 0.9) -> str:
    store = str(folder / "store")
    documents = {f"d{n:04d}": 1 for n in range(ROWS)}
    add_segment(store, "one", documents, parts=6, index=factory, recall_target=target)
    return store


def vectors_of(store: str) -> np.ndarray:
    opened = Store.open(store)
    chunks = [
        chunk
        for info in opened.segments
        for chunk in read_vectors(SegmentPaths(store, info.name), info.parts)
    ]
    return np.concatenate(chunks)


def recall_at_10(store: str, live: np.ndarray, where: str | None = None) -> float:
    vectors, queries = vectors_of(store), make_vectors(100, seed=77)
    products = np.where(live, queries @ vectors.T, -np.inf)
    exact = np.argsort(-products, axis=1)[:, :10]
    scores, rows = Store.open(store).nearest(queries, 10, where)
    for line, found, score in zip(products, rows, scores, strict=True):
        np.testing.assert_allclose(score, line[found], atol=2e-3)
    shares = [len(set(a) & set(b)) / 10 for a, b in zip(exact, rows.tolist(), strict=True)]
    return float(np.mean(shares))


def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of so few rows as a test has, all would be candidates otherwise."""
    monkeypatch.setattr(faiss_factory.Kind, "candidates", lambda _, k: max(10, k))


def with_vectors(monkeypatch: pytest.MonkeyPatch, vectors: np.ndarray) -> None:
    """From now on the parts of every segment have these vectors."""
    monkeypatch.setattr("transforms.index.vector.sampling.read_vectors", lambda *_: iter([vectors]))
    shards_of(monkeypatch, 1 << 30)
