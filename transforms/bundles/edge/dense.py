"""The vectors of a bundle, all of which a search scores."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from transforms.bundles.edge.files import BundleFiles
from transforms.bundles.edge.substitutes import EdgeRows
from transforms.index.top_k import Rows, Scores
from transforms.index.vector.exact_ranking import BLOCK, exact_search
from transforms.index.vector.float16_vectors import widen


class EdgeDense:
    """The part of `transforms.search.dense.Dense` that ranks."""

    def __init__(self, files: BundleFiles, live: EdgeRows) -> None:
        """Map the vectors; ``live`` tells which rows meet a condition."""
        self._live = live
        self._codes = files.array("vectors")
        self._scales = files.array("scales") if "scales" in files.about["arrays"] else None

    def candidates(
        self, vectors: npt.NDArray[np.float32], depth: int, where: str | None = None
    ) -> tuple[Scores, Rows]:
        """Return the best passages of each vector by exact scores."""
        return exact_search(self._blocks(), vectors, depth, self._live.mask(where))

    ranked = candidates

    def vectors(self, rows: Rows) -> npt.NDArray[np.float32]:
        """Return the vectors of rows ``[n]``, float32 ``[n, dim]``."""
        return self._widened(rows)

    def _blocks(self) -> Iterator[npt.NDArray[np.float32]]:
        for start in range(0, len(self._codes), BLOCK):
            yield self._widened(slice(start, start + BLOCK))

    def _widened(self, rows: Rows | slice) -> npt.NDArray[np.float32]:
        codes = self._codes[rows]
        if self._scales is None:
            return np.asarray(codes) if codes.dtype == np.float32 else widen(np.array(codes))
        return np.asarray(codes * self._scales[rows][:, None], np.float32)
