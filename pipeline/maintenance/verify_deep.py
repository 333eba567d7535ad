"""``albeam verify --deep``: check vectors against texts, and the index against exact search."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.errors import Damaged
from transforms.index.vector import faiss_search
from transforms.search.store import Store
from transforms.storage.vectors import vectors_to_numpy

SAMPLE = 64
#: Either embedding may have used bfloat16, which changes the vectors of some models by this much.
LEAST_COSINE = 0.99
#: Allowed difference between the score of a passage in the index and its inner product.
_TOLERANCE = 1e-3
#: An approximate index may miss its recorded recall by this much on the sample.
_RECALL_MARGIN = 0.2
_RECALL_AT = 10
_REMEDY = "Embed again into a new store"


@dataclass(frozen=True)
class DeepReport:
    """Result of the check of a sample.

    Attributes:
        sampled: number of passages that were embedded again.
        least_cosine: lowest cosine of a stored vector with the new one; 1 without a sample.
        recall: share of the ten nearest passages by exact search that the index finds.
    """

    sampled: int
    least_cosine: float
    recall: float


def check_deeply(
    store: Store, sample: int = SAMPLE, seed: int = 0
) -> tuple[DeepReport, list[Damaged]]:
    """Check a seeded sample of live passages; return the result and all damage.

    Raises:
        BadInput: the store's model has moved.
        Damaged: a file cannot be read.
    """
    rows = store.live.numbers()
    if not len(rows):
        return DeepReport(0, 1.0, 1.0), []
    chosen = np.sort(np.random.default_rng(seed).permutation(rows)[:sample])
    table = store.read_rows(chosen, ["document_id", "passage", "text", "vector"])
    names = [
        f"passage {row['passage']} of document {row['document_id']!r}"
        for row in table.select(["document_id", "passage"]).to_pylist()
    ]
    vectors = vectors_to_numpy(table.column("vector"))
    prompt = store.snapshot.identity.passage_prompt
    cosines = _cosines(
        vectors, store.encoder.encode_texts(table.column("text").to_pylist(), prompt)
    )
    damages = [
        Damaged(
            name,
            None,
            f"the vector of its text has cosine {cosine:.4f} with the stored one, below "
            f"{LEAST_COSINE}",
            _REMEDY,
        )
        for name, cosine in zip(names, cosines, strict=True)
        # A cosine that is NaN is damage too.
        if not cosine >= LEAST_COSINE
    ]
    recall, index_damages = _check_index(store, chosen, vectors, names)
    return DeepReport(len(chosen), float(cosines.min()), recall), damages + index_damages


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
) -> tuple[float, list[Damaged]]:
    """Return the recall of the index on the sample, and its damage."""
    scores, rows = store.nearest(vectors, _RECALL_AT)
    best, _ = store.dense.exact_nearest(vectors, _RECALL_AT)
    # Scores are compared instead of rows, since any of several equal passages is a right answer.
    real = _scores(store, vectors, rows)
    slack = _TOLERANCE * np.maximum(np.abs(best), 1.0)
    width = best.shape[1]
    recall = float((real[:, :width] >= best[:, -1:] - slack).mean())
    factories = {s.index.factory for s in store.segments if s.index}
    if factories <= {faiss_search.EXACT}:
        wrong = (np.abs(scores - best) > slack) | (np.abs(real - best) > slack)
        return recall, [
            Damaged(
                names[place],
                None,
                f"the index gives its nearest passages the scores {_rounded(scores[place])}, but "
                f"their vectors have {_rounded(real[place])}, and exact search finds "
                f"{_rounded(best[place])}",
                _REMEDY,
            )
            for place in np.flatnonzero(wrong.any(axis=1))
        ]
    indexed = [(s.index.recall, s.rows) for s in store.segments if s.index]
    recorded = sum(known * rows for known, rows in indexed) / max(store.rows, 1)
    if recall < recorded - _RECALL_MARGIN:
        return recall, [
            Damaged(
                "index",
                None,
                f"finds {recall:.3f} of the nearest passages of {len(chosen)} sampled ones, but "
                f"the manifest records {recorded:.3f}",
                "Embed again into a new store, or compact",
            )
        ]
    return recall, []


def _scores(
    store: Store, vectors: npt.NDArray[np.float32], rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Return the inner products of vectors with the rows found for them; -inf for row -1."""
    unique = np.unique(rows[rows >= 0])
    theirs = vectors_to_numpy(store.read_rows(unique, ["vector"]).column(0))
    places = np.searchsorted(unique, rows).clip(max=len(unique) - 1)
    products = np.einsum("qd,qkd->qk", vectors, theirs[places])
    scores: npt.NDArray[np.float32] = np.where(rows < 0, -np.inf, products)
    return scores


def _rounded(scores: npt.NDArray[np.float32]) -> list[float]:
    return [round(float(score), 4) for score in scores]
