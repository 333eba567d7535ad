"""Search for documents that are like some documents of a store, by their stored vectors."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from transforms.errors import BadInput
from transforms.search.options import RankOptions
from transforms.search.results import Answers
from transforms.storage.schema import VECTOR
from transforms.storage.vectors import vectors_to_numpy

if TYPE_CHECKING:
    from transforms.search.store import Store

_ID = "document_id"
#: The weight of the documents that hits shall not be like.
_UNLIKE = 0.5


def search_like(
    store: "Store", like: Sequence[str], unlike: Sequence[str], options: RankOptions
) -> Answers:
    """Find the documents nearest to the `direction` of some documents, without these.

    Args:
        store: the store.
        like: ids of documents that hits shall be like, at least one.
        unlike: ids of documents that hits shall not be like.
        options: mode ``dense``, and how many documents to find.

    Returns:
        The hits, as of one question without a text.

    Raises:
        BadInput: the store lacks an id, an id is in both lists, or the mode is another.
    """
    if options.mode != "dense":
        problem = "ranks by words, and like gives none"
        raise BadInput("mode", options.mode, problem, "Use mode dense")
    given = {*like, *unlike}
    k = options.k + options.offset + len(given)
    vector = direction(store, like, unlike)
    [found] = store.search(vector, k, "dense", options.where, diverse=options.diverse)
    others = [hit for hit in found if hit.document_id not in given]
    page = others[options.offset : options.offset + options.k]
    ranked = [replace(hit, rank=rank) for rank, hit in enumerate(page, options.offset + 1)]
    return Answers([ranked], [""], store.columns)


def direction(
    store: "Store", like: Sequence[str], unlike: Sequence[str] = ()
) -> npt.NDArray[np.float32]:
    """Return the mean of some documents minus half of the mean of others, with length 1.

    A document is the mean of the vectors of its passages, with length 1. This is Rocchio's formula
    (J. Rocchio, Relevance feedback in information retrieval, 1971).

    Returns:
        Float32 ``[1, dim]``.

    Raises:
        BadInput: the store lacks an id, an id is in both lists, or nothing is left of the sum.
    """
    for option, names in (("like", like), ("unlike", unlike)):
        if isinstance(names, str):
            raise BadInput(option, names, "is a single text", "Give a list of ids")
    if not like:
        raise BadInput("like", None, "has no ids", "Give the id of a document at least")
    for name in unlike:
        if name in like:
            raise BadInput("unlike", name, "is in like as well", "Leave it out of one of them")
    vectors = _documents(store, {*like, *unlike})
    for option, names in (("like", like), ("unlike", unlike)):
        for name in names:
            if name not in vectors:
                raise BadInput(option, name, "is no document of the store", "Give ids of its hits")
    found = _mean(vectors, like)
    if unlike:
        found = found - np.float32(_UNLIKE) * _mean(vectors, unlike)
    length = np.linalg.norm(found)
    if not length > 0:
        problem = "leaves nothing of like"
        raise BadInput("unlike", ", ".join(unlike), problem, "Give other ids")
    return np.asarray(found / length, np.float32)[None]


def _documents(store: "Store", ids: set[str]) -> dict[str, npt.NDArray[np.float32]]:
    """Return the vectors of live documents, each with length 1, by their ids."""
    rows = store.rows_of(sorted(ids))
    if not len(rows):
        return {}
    table = store.read_rows(rows, [_ID, VECTOR])
    vectors = vectors_to_numpy(table.column(VECTOR))
    column = table.column(_ID)
    means = {}
    for name in pc.unique(column).to_pylist():
        mean = vectors[pc.equal(column, name).to_numpy()].mean(axis=0)
        means[name] = mean / max(float(np.linalg.norm(mean)), np.finfo(np.float32).tiny)
    return means


def _mean(
    vectors: dict[str, npt.NDArray[np.float32]], names: Sequence[str]
) -> npt.NDArray[np.float32]:
    return np.asarray(np.mean([vectors[name] for name in dict.fromkeys(names)], axis=0))
