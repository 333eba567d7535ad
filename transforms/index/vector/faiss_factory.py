"""What FAISS makes of a factory string: looked up, and tried on a small index of the same make."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from transforms.errors import BadInput
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

#: Rows that a list's centre is trained on: what FAISS asks for at least, and what is worth reading.
LEAST_PER_LIST, TRAINING_PER_LIST = 39, 64
#: Rows that codes are trained on.
_TRAINING_ROWS = 65_536
#: A toy index on which a factory is probed.
_TOY_ROWS = 320
_MOST_EF = 1_024
#: Rows of a graph that a search looks at for each row that it keeps, about.
_ROWS_PER_EF = 32
#: Codes of more bits have books of gigabytes.
_MOST_BITS = 16
#: Codes of fewer bits than these are rough.
_FINE_BITS = 8
#: From so many lists on half-way numbers are tried too: a search takes up to a quarter less.
_FINE_FROM = 16
_BOOKS = re.compile(r"(?<!O)(P?RQ|P?LSQ|PQ)((?:\d+[x_]?)*)")
#: The codes that an OPQ rotation is trained for have 8 bits.
_OPQ_ROWS = 256
#: Transforms that are trained, or that change the width.
_TRANSFORM = re.compile(r"(?:(?<=^)|(?<=,))(?:OPQ|PCA|ITQ|RR|Pad)[^,]*(?=,)")
_NEEDS_WIDTH = re.compile(r"OPQ|PCA|ITQ|RQ")


@dataclass(frozen=True)
class Kind:
    """What FAISS makes of a factory string.

    Attributes:
        lists: of an inverted file; 0 where there are none.
        setting: what is raised for recall: ``nprobe``, ``efSearch``, or "" where nothing is.
        training: rows worth training on; 0 where it needs no training.
        least: rows that it can be trained on at least.
        selects: whether it can leave rows out of a search.
        rough: whether its codes have so few bits that many candidates are worth their exact scores.
    """

    lists: int
    setting: str
    training: int
    least: int
    selects: bool
    rough: bool

    def candidates(self, k: int) -> int:
        """How many rows a shard is asked for, of which exact scores choose the best ``k``."""
        return max(400, 8 * k) if self.rough else max(100, 4 * k)


def check_factory(option: str, dim: int) -> None:
    """Raise BadInput where FAISS can't make an index of inner products of a factory string."""
    wrong = _crashes(option)
    if wrong:
        raise BadInput(
            f"index {option!r} {wrong}; give auto, flat, hnsw, ivf, ivfpq, none or a string such "
            "as 'IVF256,SQ8'"
        )
    try:
        index = empty_index(option, dim)
    except RuntimeError as error:
        raise BadInput(
            f"index {option!r} is no FAISS factory for {dim} dimensions "
            f"({reason(error)}); give auto, flat, hnsw, ivf, ivfpq, none or a string such as "
            "'IVF256,Flat'"
        ) from error
    except ValueError as error:
        raise BadInput(
            f"index {option!r} knows no inner product; give auto, flat or IVF256,Flat"
        ) from error
    inner = re.search(r"\((.+)\)", option)
    if inner and count_lists(index) < 1 << _bits(inner[1]):
        raise BadInput(
            f"index {option!r} has too few lists to train codes of {_bits(inner[1])} bits on "
            f"their centres; give {1 << _bits(inner[1])} at least, or a string such as 'IVF256,SQ8'"
        )
    try:
        search_index(_toy(option, dim), _toy_vectors(4, dim), 8, None, 1)
    except (RuntimeError, TypeError, AssertionError) as error:
        raise BadInput(
            f"index {option!r} can't be trained, filled and searched by albeam ({reason(error)}); "
            "give auto, flat, hnsw, ivf, ivfpq, none or a string such as 'IVF256,SQ8'"
        ) from error


def _crashes(option: str) -> str:
    """What FAISS would crash of, as it does not look, or albeam; "" where it is nothing."""
    if re.search(r"(?<!\d)0+(?!\d)", option):
        return "has a 0 for a number"
    if re.search(r"HNSW0*1(?!\d)", option):
        return "is a graph of one link a row, and needs two at least"
    if "Dedup" in option:
        return "keeps equal rows once, in a file that can't be mapped"
    if _bits(option) > _MOST_BITS:
        return f"has codes of {_bits(option)} bits, and {_MOST_BITS} are the most"
    return ""


@lru_cache(64)
def kind_of(factory: str, dim: int) -> Kind:
    """Find out what a factory string makes, on a toy index where that must be tried."""
    index = empty_index(factory, dim)
    lists = count_lists(index)
    setting = "nprobe" if lists else "efSearch" if graph_of(index) is not None else ""
    try:
        toy = _toy(factory, dim)
        live = np.arange(toy.ntotal) % 2 == 0
        _, rows = search_index(toy, _toy_vectors(4, dim), 8, live)
        selects = bool((rows[rows >= 0] % 2 == 0).all())
    except (RuntimeError, TypeError, AssertionError):
        selects = False
    rough = 0 < _bits(factory) < _FINE_BITS or "RaBitQ" in factory
    if index.is_trained:
        return Kind(lists, setting, 0, 1, selects, rough)
    least = max(lists, 1 << _bits(factory))
    if _NEEDS_WIDTH.search(factory):
        least = max(least, dim, _OPQ_ROWS if "OPQ" in factory else 1)
    coded = not (lists and factory.endswith(",Flat"))
    training = max(_TRAINING_ROWS if coded else 0, TRAINING_PER_LIST * lists, least)
    return Kind(lists, setting, training, least, selects, rough)


@lru_cache(2)
def _toy(factory: str, dim: int) -> Any:
    """A small index of the same make: neither counts nor trained transforms decide what it can do.

    It is filled in two steps, as a shard is.
    """
    count = 1 if dim % 2 else 2
    small = _TRANSFORM.sub("L2norm", factory)
    small = re.sub(r"(?<=IVF)\d+[kM]?(?=\()", "32", small)
    small = re.sub(r"(?<=IVF)\d+[kM]?(?!\d|\()", "1", small)
    small = _BOOKS.sub(lambda found: found[1] + _small_books(found[1], count), small)
    toy = empty_index(small, dim)
    # Books of residuals are trained on as many rows as there are dimensions at least.
    vectors = _toy_vectors(max(_TOY_ROWS, dim if "RQ" in small else 1), dim)
    if not toy.is_trained:
        train_quietly(toy, vectors)
    for half in np.array_split(vectors, 2):
        toy.add(half)
    return toy


def _small_books(name: str, count: int) -> str:
    return f"{count}x4" if name in ("PQ", "RQ", "LSQ") else f"{count}x2x4"


def _bits(factory: str) -> int:
    """The most bits of a code of a factory string's codebooks; 0 where it has none."""
    bits = [0]
    for name, numbers in _BOOKS.findall(factory):
        last = [int(found) for found in re.findall(r"x(\d+)(?:_|$)", numbers)]
        bits += last or ([8] if name == "PQ" and numbers else [])
    return max(bits)


def _toy_vectors(rows: int, dim: int) -> Vectors:
    return np.random.default_rng(0).normal(size=(rows, dim)).astype(np.float32)


@lru_cache(256)
def bytes_of_row(factory: str, dim: int) -> int:
    """What a row takes in an index of a factory string, mapped lists included."""
    return row_bytes(empty_index(factory, dim))


def ladder(factory: str, dim: int, rows: int) -> tuple[int, ...]:
    """The search-time settings that are worth trying, cheapest first; (1,) where none matters."""
    kind = kind_of(factory, dim)
    if kind.setting == "nprobe":
        doubled = [1 << power for power in range((kind.lists - 1).bit_length())]
        between = [3 * value // 2 for value in doubled if value >= _FINE_FROM]
        return tuple(sorted({v for v in doubled + between if v < kind.lists} | {kind.lists}))
    if kind.setting == "efSearch":
        return tuple(
            16 << power for power in range(7) if 16 << power <= max(16, min(rows, _MOST_EF))
        )
    return (1,)


def cost(kind: Kind, value: int, rows: int) -> float:
    """How many rows a search with a setting looks at, about."""
    if kind.setting == "nprobe":
        return rows * value / kind.lists
    return _ROWS_PER_EF * value if kind.setting else rows
