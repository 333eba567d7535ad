"""The properties of a FAISS factory string, read from an empty index or tried on a small one."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from transforms.catalog.factory_text import BOOKS, code_bits, factory_problem
from transforms.errors import BadInput, Damaged
from transforms.index.options import INDEX_NAMES
from transforms.index.vector.faiss_search import (
    Vectors,
    count_lists,
    empty_index,
    graph_of,
    reason,
    row_bytes,
    search_index,
)
from transforms.index.vector.faiss_training import train_quietly
from transforms.storage.remedies import BUILD_INDEX

#: Training rows per list: the fewest that FAISS accepts without a warning, and as many as help.
LEAST_PER_LIST, TRAINING_PER_LIST = 39, 64
#: Training rows of codes.
_TRAINING_ROWS = 65_536
#: Rows of the small index on which a factory string is tried.
_TRIAL_ROWS = 320
_MAX_EF = 1_024
#: About how many rows a graph search compares for each row that it keeps.
_ROWS_PER_EF = 32
#: So much of a manifest's factory string is repeated in an error.
_SHOWN = 80
#: Codes of fewer bits are coarse.
_FINE_BITS = 8
#: From this nprobe on, values half-way between powers of two are tried too. They make a search up
#: to a quarter faster.
_FINE_FROM = 16
#: An OPQ rotation is trained for codes of 8 bits.
_OPQ_ROWS = 256
#: Transforms that need training or change the width.
_TRANSFORM = re.compile(r"(?:(?<=^)|(?<=,))(?:OPQ|PCA|ITQ|RR|Pad)[^,]*(?=,)")
_NEEDS_WIDTH = re.compile(r"OPQ|PCA|ITQ|RQ")


@dataclass(frozen=True)
class Kind:
    """The properties of the index that a factory string describes.

    Attributes:
        lists: number of lists of an inverted file; 0 for other indexes.
        setting: the search parameter that trades speed for recall: ``nprobe``, ``efSearch`` or "".
        training: number of training rows; 0 if it needs no training.
        least: the fewest rows that it can be trained on.
        selects: whether a search can exclude rows.
        rough: whether its codes are so coarse that many candidates should be re-ranked.
    """

    lists: int
    setting: str
    training: int
    least: int
    selects: bool
    rough: bool

    def candidates(self, k: int) -> int:
        """Return how many candidates to fetch, of which exact scores select the best ``k``."""
        return max(400, 8 * k) if self.rough else max(100, 4 * k)


def check_factory(option: str, dim: int) -> None:
    """Raise BadInput if FAISS can't build and search an inner-product index of a factory string."""
    problem = factory_problem(option, dim)
    if problem:
        raise BadInput("index", option, problem, _remedy("IVF256,SQ8"))
    try:
        index = empty_index(option, dim)
    except RuntimeError as error:
        problem = f"is not a FAISS factory string for {dim} dimensions ({reason(error)})"
        raise BadInput("index", option, problem, _remedy("IVF256,Flat")) from error
    except ValueError as error:
        problem = "does not support the inner product"
        raise BadInput("index", option, problem, _remedy("IVF256,Flat")) from error
    inner = re.search(r"\((.+)\)", option)
    if inner and count_lists(index) < 1 << code_bits(inner[1]):
        bits = code_bits(inner[1])
        raise BadInput(
            "index",
            option,
            f"has too few lists to train codes of {bits} bits on their centres",
            f"Give at least {1 << bits} lists, or a string such as IVF256,SQ8",
        )
    try:
        search_index(_trial_index(option, dim), _trial_vectors(4, dim), 8, None, 1)
        bytes_of_row(option, dim)
    except (RuntimeError, TypeError, AssertionError) as error:
        problem = f"can't be trained, filled and searched by albeam ({reason(error)})"
        raise BadInput("index", option, problem, _remedy("IVF256,SQ8")) from error


def _remedy(example: str) -> str:
    return f"Give {', '.join(INDEX_NAMES)} or a FAISS factory string such as {example}"


@lru_cache(64)
def kind_of(factory: str, dim: int) -> Kind:
    """Determine the properties of a factory string, some of them on a small index."""
    index = empty_index(factory, dim)
    lists = count_lists(index)
    setting = "nprobe" if lists else "efSearch" if graph_of(index) is not None else ""
    try:
        trial = _trial_index(factory, dim)
        live = np.arange(trial.ntotal) % 2 == 0
        _, rows = search_index(trial, _trial_vectors(4, dim), 8, live)
        selects = bool((rows[rows >= 0] % 2 == 0).all())
    except (RuntimeError, TypeError, AssertionError):
        selects = False
    rough = 0 < code_bits(factory) < _FINE_BITS or "RaBitQ" in factory
    if index.is_trained:
        return Kind(lists, setting, 0, 1, selects, rough)
    least = max(lists, 1 << code_bits(factory))
    if _NEEDS_WIDTH.search(factory):
        least = max(least, dim, _OPQ_ROWS if "OPQ" in factory else 1)
    coded = not (lists and factory.endswith(",Flat"))
    training = max(_TRAINING_ROWS if coded else 0, TRAINING_PER_LIST * lists, least)
    return Kind(lists, setting, training, least, selects, rough)


def stored_kind(factory: str, dim: int, segment: str) -> Kind:
    """Return the properties of the factory string that a segment's manifest names.

    Raises:
        Damaged: albeam does not build such an index.
    """
    problem = factory_problem(factory, dim)
    try:
        if not problem:
            return kind_of(factory, dim)
    except (RuntimeError, ValueError) as error:
        problem = f"is not a FAISS factory string for {dim} dimensions ({reason(error)})"
    problem = f"has an index of the factory string {factory[:_SHOWN]!r}, which {problem}"
    raise Damaged("segment", segment, problem, BUILD_INDEX)


@lru_cache(2)
def _trial_index(factory: str, dim: int) -> Any:
    """Build a small index of the same type, with fewer lists and codes and no trained transforms.

    It is filled in two steps, as a shard is.
    """
    count = 1 if dim % 2 else 2
    small = _TRANSFORM.sub("L2norm", factory)
    small = re.sub(r"(?<=IVF)\d+[kM]?(?=\()", "32", small)
    small = re.sub(r"(?<=IVF)\d+[kM]?(?!\d|\()", "1", small)
    small = BOOKS.sub(lambda found: found[1] + _small_books(found[1], count), small)
    trial = empty_index(small, dim)
    # Residual codebooks need at least as many training rows as there are dimensions.
    vectors = _trial_vectors(max(_TRIAL_ROWS, dim if "RQ" in small else 1), dim)
    if not trial.is_trained:
        train_quietly(trial, vectors)
    for half in np.array_split(vectors, 2):
        trial.add(half)
    return trial


def _small_books(name: str, count: int) -> str:
    """Return the smallest numbers of a codebook's name."""
    return f"{count}x4" if name in ("PQ", "RQ", "LSQ") else f"{count}x2x4"


def _trial_vectors(rows: int, dim: int) -> Vectors:
    return np.random.default_rng(0).normal(size=(rows, dim)).astype(np.float32)


@lru_cache(256)
def bytes_of_row(factory: str, dim: int) -> int:
    """Return the bytes that a row takes in such an index, including memory-mapped lists."""
    return row_bytes(empty_index(factory, dim))


def ladder(factory: str, dim: int, rows: int) -> tuple[int, ...]:
    """Return the search-time settings to try, cheapest first; (1,) if the index has no setting."""
    kind = kind_of(factory, dim)
    if kind.setting == "nprobe":
        doubled = [1 << power for power in range((kind.lists - 1).bit_length())]
        between = [3 * value // 2 for value in doubled if value >= _FINE_FROM]
        return tuple(sorted({v for v in doubled + between if v < kind.lists} | {kind.lists}))
    if kind.setting == "efSearch":
        return tuple(
            16 << power for power in range(7) if 16 << power <= max(16, min(rows, _MAX_EF))
        )
    return (1,)


def cost(kind: Kind, value: int, rows: int) -> float:
    """Estimate how many rows a search with this setting compares."""
    if kind.setting == "nprobe":
        return rows * value / kind.lists
    return _ROWS_PER_EF * value if kind.setting else rows
