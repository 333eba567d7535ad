"""Documents of a store by their ids, for clients that may see only some rows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from pipeline.serving.core.errors import NotFound
from transforms.errors import BadInput
from transforms.search.condition import Condition
from transforms.search.more_like import direction
from transforms.search.ranking import Ranked

if TYPE_CHECKING:
    from transforms.search.store import Store

_ID = "document_id"


def find_document(store: "Store", identity: str, within: Condition | None) -> dict[str, Any]:
    """Return a document: its id, its metadata and its passages in order.

    Args:
        store: the store.
        identity: the document's id.
        within: a condition that the document must meet; None for any document.

    Raises:
        NotFound: there is no such document.
    """
    rows = store.rows_of([identity], within)
    if not len(rows):
        raise NotFound("document", identity, "is not in the store", "Give the id of a hit")
    [hits] = store.fetch([Ranked(rows, np.zeros(len(rows), np.float32))])
    passages = sorted(hits, key=lambda hit: hit.passage)
    keys = ("passage", "start", "end", "text")
    return {
        _ID: identity,
        "metadata": passages[0].metadata,
        "passages": [{key: getattr(hit, key) for key in keys} for hit in passages],
    }


def point_to(
    store: "Store", like: Sequence[str], unlike: Sequence[str], within: Condition | None
) -> npt.NDArray[np.float32]:
    """Return the `direction` of documents, float32 ``[dim]``.

    Raises:
        BadInput: no such document meets ``within``, or `direction` refuses them.
    """
    if within is not None:
        rows = store.rows_of([*like, *unlike], within)
        known = set(pc.unique(store.names(rows).column(_ID)).to_pylist())
        for option, names in (("like", like), ("unlike", unlike)):
            for name in names:
                if name not in known:
                    problem = "is no document of the store"
                    raise BadInput(option, name, problem, "Give ids of its hits")
    found: npt.NDArray[np.float32] = direction(store, like, unlike)[0]
    return found


def count_rows(store: "Store", within: Condition) -> tuple[int, int]:
    """Return how many passages and documents meet a condition."""
    rows = store.live.numbers(within)
    return len(rows), len(pc.unique(store.names(rows).column(_ID)))
