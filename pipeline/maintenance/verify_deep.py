"""What ``albeam verify --deep`` adds: vectors against texts, and the index against exact search."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.index.vector import faiss_search
from transforms.search.store import Store
from transforms.storage.vectors import vectors_to_numpy

SAMPLE = 64
#: bfloat16 may have been used to embed, now, or both times; some models are off by so much then.
LEAST_COSINE = 0.99
#: What a passage's own score may be off by in the index.
_TOLERANCE = 1e-3
#: How much less than its recorded recall an approximate index may show on the sample.
_RECALL_MARGIN = 0.2
_RECALL_AT = 10


@dataclass(frozen=True)
class DeepReport:
    """What a sample showed.

    Attributes:
        sampled: how many passages were embedded again.
        least_cosine: between a vector in the store and the one made again; 1 where none was.
        recall: of the ten nearest passages by exact search, how many the index found.
    """

    sampled: int
    least_cosine: float
    recall: float


def check_deeply(store: Store, sample: int = SAMPLE, seed: int = 0) -> tuple[DeepReport, list[str]]:
    """Check a seeded sample of live passages; what was found, and the damages, a sentence each.

    Raises:
        BadInput: the store's model is not where it was.
        Damaged: a file can't be read.
    """
    rows = store.live.numbers()
    if not len(rows):
        return DeepReport(0, 1.0, 1.0), []
    chosen = np.sort(np.random.default_rng(seed).permutation(rows)[:sample])
    table = store.read_rows(chosen, ["document_id", "passage", "text", "vector"])
    names = [
        f"{store.url}: passage {row['passage']} of document {row['document_id']!r}"
        for row in table.select(["document_id", "passage"]).to_pylist()
    ]
    vectors = vectors_to_numpy(table.column("vector"))
    prompt = store.snapshot.identity.passage_prompt
    again = store.encoder.encode_texts(table.column("text").to_pylist(), prompt)
    cosines = _cosines(vectors, again)
    problems = [
        f"{name}: its vector and the one made again of its text have cosine {cosine:.4f}, and "
        f"{LEAST_COSINE} at least was expected; embed again into a new store"
        for name, cosine in zip(names, cosines, strict=True)
        if not cosine >= LEAST_COSINE
    ]
    recall, missed = _check_index(store, chosen, vectors, names)
    return DeepReport(len(chosen), float(cosines.min()), recall), problems + missed


def _cosines(
    ours: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines: npt.NDArray[np.float32] = (ours * theirs).sum(axis=1) / np.maximum(lengths, 1e-30)
    return cosines


def _check_index(
    store: Store,
    chosen: npt.NDArray[np.int64],
    vectors: npt.NDArray[np.float32],
    names: list[str],
) -> tuple[float, list[str]]:
    """Recall of the index on the sample, and what it misses."""
    scores, rows = store.nearest(vectors, _RECALL_AT)
    best, _ = store.dense.exact_nearest(vectors, _RECALL_AT)
    # Of passages with equal scores any may be found, so scores are compared and not rows.
    real = _scores(store, vectors, rows)
    slack = _TOLERANCE * np.maximum(np.abs(best), 1.0)
    width = best.shape[1]
    recall = float((real[:, :width] >= best[:, -1:] - slack).mean())
    factories = {s.index.factory for s in store.segments if s.index}
    if factories <= {faiss_search.EXACT}:
        wrong = (np.abs(scores - best) > slack) | (np.abs(real - best) > slack)
        return recall, [
            f"{names[place]}: the index scores its nearest passages {_shown(scores[place])}, their "
            f"vectors {_shown(real[place])}, and exact search {_shown(best[place])}; "
            "embed again into a new store"
            for place in np.flatnonzero(wrong.any(axis=1))
        ]
    indexed = [(s.index.recall, s.rows) for s in store.segments if s.index]
    recorded = sum(known * rows for known, rows in indexed) / max(store.rows, 1)
    if recall < recorded - _RECALL_MARGIN:
        return recall, [
            f"{store.url}: the index finds {recall:.3f} of the nearest passages of "
            f"{len(chosen)} sampled ones, and the manifest says {recorded:.3f}; "
            "embed again into a new store, or compact"
        ]
    return recall, []


def _scores(
    store: Store, vectors: npt.NDArray[np.float32], rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """The inner products of vectors with the rows that were found for them; -inf for row -1."""
    unique = np.unique(rows[rows >= 0])
    theirs = vectors_to_numpy(store.read_rows(unique, ["vector"]).column(0))
    places = np.searchsorted(unique, rows).clip(max=len(unique) - 1)
    products = np.einsum("qd,qkd->qk", vectors, theirs[places])
    scores: npt.NDArray[np.float32] = np.where(rows < 0, -np.inf, products)
    return scores


def _shown(scores: npt.NDArray[np.float32]) -> list[float]:
    return [round(float(score), 4) for score in scores]
