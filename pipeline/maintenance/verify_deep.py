"""``albeam verify --deep``: check vectors against texts, and the index against exact search."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.errors import Damaged
from transforms.index.vector import faiss_search
from transforms.ingest.options import PassageOptions
from transforms.ingest.recut import StoredPassage, recut
from transforms.models.identity import INT8, ONNX_INT8
from transforms.search.question_encoder import full_encoder
from transforms.search.store import Store
from transforms.storage import remedies
from transforms.storage.vectors import vectors_to_numpy

SAMPLE = 64
#: Either embedding may have used bfloat16, which changes the vectors of some models by this much.
LEAST_COSINE = 0.99
#: Vectors of an exported int8 file are compared with those of the float weights.
_LEAST_OF_ONNX_INT8 = 0.9
#: A lower cosine may come from other tokens, so these are looked for.
_SAME_COSINE = 0.9995
#: The share of int8 vectors that are equal bit for bit if this CPU is of the kind that made them.
#: All others are then damaged.
_SAME_CPU = 0.5
#: Allowed difference between the score of a passage in the index and its inner product.
_TOLERANCE = 1e-3
#: An approximate index may miss its recorded recall by this much on the sample.
_RECALL_MARGIN = 0.2
_RECALL_AT = 10
#: The rows whose names are read at once to find the end of a document.
_AT_ONCE = 1_024


@dataclass(frozen=True)
class DeepReport:
    """Result of the check of a sample.

    Attributes:
        sampled: number of passages that were embedded again.
        least_cosine: lowest cosine of a stored vector with the new one; 1 without a sample.
        recall: share of the ten nearest passages by exact search that the index finds.
        recut: passages that were embedded by the tokens of their whole document, because their text
            alone gives other ones: they begin or end inside a long word.
    """

    sampled: int
    least_cosine: float
    recall: float
    recut: int = 0


def check_deeply(
    store: Store, sample: int = SAMPLE, seed: int = 0
) -> tuple[DeepReport, list[Damaged]]:
    """Check a seeded sample of live passages; return the result and all damage.

    Raises:
        BadInput: the store's model has moved.
        Damaged: a file can't be read.
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
    encoder = full_encoder(store.encoder)
    made = encoder.encode_texts(table.column("text").to_pylist(), prompt)
    cosines, same = _cosines(vectors, made), _are_same(vectors, made)
    precision = store.snapshot.identity.precision
    least = _LEAST_OF_ONNX_INT8 if precision == ONNX_INT8 else LEAST_COSINE
    exact = precision == INT8 and encoder.dtype == "int8"
    others = 0
    # A cosine that is NaN is low too.
    for place in np.flatnonzero(~(cosines >= _SAME_COSINE) | (exact & ~same)):
        again = _recut_vectors(store, int(chosen[place]))
        if len(again):
            others += 1
            cosines[place] = np.fmax(cosines[place], _cosines(vectors[[place]], again).max())
            same[place] |= _are_same(vectors[[place]], again).any()
    damages = [
        Damaged(
            name,
            None,
            f"the vector of its text has cosine {cosine:.4f} with the stored one, below {least}",
            remedies.NEW_STORE,
        )
        for name, cosine in zip(names, cosines, strict=True)
        if not cosine >= least
    ]
    # On a CPU of another kind, hardly any vector has the same bits.
    if exact and same.mean() >= _SAME_CPU:
        damages += [
            Damaged(
                names[place],
                None,
                "the int8 vector of its text differs from the stored one, though those of "
                f"{same.sum()} of {len(same)} passages are equal bit for bit",
                remedies.NEW_STORE,
            )
            for place in np.flatnonzero(~same & (cosines >= least))
        ]
    recall, index_damages = _check_index(store, chosen, vectors, names)
    return DeepReport(len(chosen), float(cosines.min()), recall, others), damages + index_damages


def _recut_vectors(store: Store, row: int) -> npt.NDArray[np.float32]:
    """Return the vectors of a passage by the tokens that the cut of its document may have given it.

    There is none if its text alone gives these tokens, or if the store does not have the document's
    text.
    """
    [name] = store.names(np.array([row])).to_pylist()
    rows = _document_rows(store, row - name["passage"], name["document_id"])
    identity = store.snapshot.identity
    found: list[list[int]] = []
    if row in rows:
        table = store.read_rows(rows, ["start", "end", "text", "text_hash"]).to_pylist()
        tokenizer = store.encoder.tokenizer
        text = identity.passage_prompt + table[name["passage"]]["text"]
        [alone] = tokenizer.encode_framed([text], identity.max_tokens)
        ids = recut(
            [StoredPassage(each["start"], each["end"], each["text"]) for each in table],
            name["passage"],
            table[name["passage"]]["text_hash"],
            tokenizer,
            PassageOptions(identity.max_tokens, 0, identity.passage_prompt),
        )
        found = [each.tolist() for each in ids if each.tolist() != alone]
    if not found:
        return np.zeros((0, identity.dim), np.float32)
    return full_encoder(store.encoder).encode(pa.array(found, pa.list_(pa.int32()))).vectors


def _document_rows(store: Store, first: int, document: str) -> npt.NDArray[np.int64]:
    """Return the rows of a document, which are consecutive, from the row of its first passage."""
    stop = max(first, 0)
    while stop < store.rows:
        names = store.names(np.arange(stop, min(stop + _AT_ONCE, store.rows))).to_pylist()
        for name in names:
            if name != {"document_id": document, "passage": stop - first}:
                return np.arange(first, stop)
            stop += 1
    return np.arange(first, stop)


def _cosines(
    ours: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines: npt.NDArray[np.float32] = (ours * theirs).sum(axis=1) / np.maximum(lengths, 1e-30)
    return cosines


def _are_same(
    stored: npt.NDArray[np.float32], made: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """Return whether vectors are equal bit for bit, as float32 or as they are stored in float16."""
    with np.errstate(over="ignore"):
        narrow = made.astype(np.float16).astype(np.float32)
    found: npt.NDArray[np.bool_] = (stored == made).all(axis=1) | (stored == narrow).all(axis=1)
    return found


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
                remedies.NEW_STORE,
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
                f"{remedies.NEW_STORE}, or compact",
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
