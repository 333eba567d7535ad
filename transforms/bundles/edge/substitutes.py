"""Small stand-ins for what `transforms.search.ranker` takes from the rest of albeam."""

import functools
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class RankOptions:
    """Options of a ranking; see `transforms.search.options.RankOptions`."""

    k: int = 10
    mode: str = "dense"
    where: None = None
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


class EveryRow:
    """The live rows of a bundle, which has no others."""

    def __init__(self, count: int) -> None:
        """Hold their number."""
        self._count = count

    def condition(self, where: None) -> None:
        """Return no condition."""
        return where

    def mask(self, _: None) -> None:
        """Return what means all rows."""

    def count(self, _: None) -> int:
        """Return the number of rows."""
        return self._count


class DocumentNumbers:
    """The document of each row; a number is enough to tell documents apart."""

    def __init__(self, numbers: npt.NDArray[np.uint32]) -> None:
        """Hold the numbers."""
        self._numbers = numbers

    def document_ids(self, rows: npt.NDArray[np.int64]) -> list[list[Any]]:
        """Return the documents of rows ``[questions, n]``."""
        found: list[list[Any]] = self._numbers[np.maximum(rows, 0)].tolist()
        return found
