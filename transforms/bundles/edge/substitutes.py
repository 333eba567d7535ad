"""Small stand-ins for what `transforms.search.ranker` takes from the rest of albeam."""

import functools
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.bundles.edge.files import BundleFiles
from transforms.bundles.edge.where import column_named, meeting

#: Conditions whose rows are kept.
_MASKS = 16


@dataclass(frozen=True)
class RankOptions:
    """Options of a ranking; see `transforms.search.options.RankOptions`."""

    k: int = 10
    mode: str = "dense"
    where: str | None = None
    fusion: str = "combination"
    weight: float | None = None
    diverse: bool = False
    offset: int = 0


#: A function that keeps its results.
Once = functools.cache


@functools.cache
def search_pool() -> ThreadPoolExecutor:
    """Return threads for the half of a search that runs beside the other."""
    return ThreadPoolExecutor(1)


def timed(_: object, __: str) -> AbstractContextManager[None]:
    """Measure nothing."""
    return nullcontext()


class EdgeRows:
    """The rows of a bundle, all of which are live, and which of them meet a condition."""

    def __init__(self, files: BundleFiles) -> None:
        """Take the files, of which a condition reads the columns that it names."""
        self._files = files
        self.mask = functools.lru_cache(_MASKS)(self._mask)

    def condition(self, where: str | None) -> str | None:
        """Return the condition."""
        return where

    def count(self, where: str | None) -> int:
        """Return how many rows meet a condition."""
        mask = self.mask(where)
        return int(self._files.about["passages"] if mask is None else mask.sum())

    def _mask(self, where: str | None) -> npt.NDArray[np.bool_] | None:
        """Return which rows meet a condition; None means all.

        Raises:
            ValueError: it can't be evaluated.
        """
        if where is None:
            return None
        return meeting(where, self._column)

    def _column(self, name: str) -> pa.ChunkedArray:
        table, kinds = self._files.table("metadata.parquet"), self._files.about["not_compared"]
        names = table.schema_arrow.names
        found = column_named(name, [*names, *kinds])
        if found in kinds:
            raise ValueError(
                f"--where names {found}, and a column of {kinds[found]} is not compared"
            )
        if found is None:
            columns = ", ".join([*names, *kinds])
            raise ValueError(f"--where names {name!r}, and the columns are {columns}")
        return table.read([found]).column(0)


class DocumentNumbers:
    """The document of each row; a number is enough to tell documents apart."""

    def __init__(self, numbers: npt.NDArray[np.uint32]) -> None:
        """Hold the numbers."""
        self._numbers = numbers

    def document_ids(self, rows: npt.NDArray[np.int64]) -> list[list[Any]]:
        """Return the documents of rows ``[questions, n]``."""
        found: list[list[Any]] = self._numbers[np.maximum(rows, 0)].tolist()
        return found
