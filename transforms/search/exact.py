"""Exact search over a whole store: what its indexes are measured against."""

import numpy as np
import numpy.typing as npt

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.parts import read_vectors
from transforms.index.top_k import Rows, Scores
from transforms.index.vector import faiss_search
from transforms.search.store import Store


def live_rows(store: Store) -> npt.NDArray[np.bool_]:
    """Which of a store's global rows live."""
    masks = [np.ones(0, np.bool_)]
    for number, segment in enumerate(store.segments):
        mask = store.live(number)
        masks.append(np.ones(segment.rows, np.bool_) if mask is None else mask)
    return np.concatenate(masks)


def exact_nearest(store: Store, vectors: npt.NDArray[np.float32], k: int) -> tuple[Scores, Rows]:
    """The best ``k`` live rows for each vector, from the parts and without an index."""
    chunks = (
        chunk
        for segment in store.segments
        for chunk in read_vectors(SegmentPaths(store.url, segment.name), segment.parts)
    )
    return faiss_search.exact_search(chunks, vectors, k, live_rows(store))
