"""The ranking of one question, which grows by the passages of further searches."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.index.top_k import Rows, Scores
from transforms.search.fusion import is_alike


@dataclass(frozen=True)
class Ranked:
    """The best passages of a question, one or more per document, best first.

    Attributes:
        rows: global rows.
        scores: the scores that rank them.
        dense: inner products, or cosines in a hybrid search; None in mode lexical.
        lexical: BM25 scores; None in mode dense.
        whole: whether no other passage can be found.
    """

    rows: Rows
    scores: Scores
    dense: Scores | None = None
    lexical: Scores | None = None
    whole: bool = True

    def take(self, places: Sequence[int]) -> "Ranked":
        """Return the passages at some places."""
        at = np.array(places, np.int64)
        dense = None if self.dense is None else self.dense[at]
        lexical = None if self.lexical is None else self.lexical[at]
        return Ranked(self.rows[at], self.scores[at], dense, lexical, self.whole)


class Ranking:
    """The best documents of a question, each by its best passage.

    What was ranked stays: the passages of a deeper search come after it.
    """

    def __init__(self, wanted: int) -> None:
        """Rank no document yet, and at most so many."""
        self._wanted = wanted
        self._known: set[Hashable] = set()
        self._pieces: list[Ranked] = []
        self._count = 0
        #: The vectors of the first ``_count`` documents, in an array that grows by doubling.
        self._vectors: npt.NDArray[np.float32] | None = None

    def full(self, most: int | None = None) -> bool:
        """Return whether so many documents are ranked as are wanted, or ``most`` were found."""
        return self._count >= self._wanted or (most is not None and len(self._known) >= most)

    def extend(
        self,
        found: Ranked,
        documents: Sequence[Hashable],
        most: int | None = None,
        vectors: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Append the documents that are not ranked yet, until it is `full`.

        Args:
            found: passages, best first.
            documents: the document of each.
            most: how many different documents may be found.
            vectors: those of the passages, float32 ``[n, dim]``: a passage that is nearly identical
                to one of a better document is then left out.
        """
        places = []
        for place, document in enumerate(documents):
            if self.full(most):
                break
            if document in self._known:
                continue
            self._known.add(document)
            if vectors is not None and self._is_alike(vectors[place]):
                continue
            places.append(place)
            self._count += 1
        self._pieces.append(found.take(places))

    def _is_alike(self, vector: npt.NDArray[np.float32]) -> bool:
        """Return whether a ranked document is nearly identical; keep the vector if none is."""
        kept = self._vectors
        if kept is None:
            kept = self._vectors = np.empty((16, len(vector)), np.float32)
        if is_alike(kept[: self._count], vector):
            return True
        if self._count == len(kept):
            kept = self._vectors = np.concatenate([kept, np.empty_like(kept)])
        kept[self._count] = vector
        return False

    def page(self, offset: int) -> Ranked:
        """Return the passages from a place on; no score is above that of a better place."""
        if not self._pieces:
            return Ranked(np.empty(0, np.int64), np.empty(0, np.float32))
        last = self._pieces[-1]
        rows = np.concatenate([each.rows for each in self._pieces])
        scores = np.concatenate([each.scores for each in self._pieces])
        dense = [each.dense for each in self._pieces if each.dense is not None]
        lexical = [each.lexical for each in self._pieces if each.lexical is not None]
        return Ranked(
            rows,
            np.minimum.accumulate(scores),
            np.concatenate(dense) if dense else None,
            np.concatenate(lexical) if lexical else None,
            last.whole,
        ).take(range(min(offset, len(rows)), len(rows)))
