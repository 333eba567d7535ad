"""What index a segment is to get, and which parts share a file of it."""

from dataclasses import dataclass

import numpy as np

from transforms import faiss_index
from transforms.index_choice import IndexOptions, choose_index, fits
from transforms.ranking import Rows
from transforms.segment import PartInfo

#: Vectors of an index shard at most, in bytes; it bounds the memory of building one.
MOST_SHARD_BYTES = 1 << 30


@dataclass(frozen=True)
class ShardPlan:
    """Consecutive parts whose rows share an index file."""

    number: int
    first_row: int
    parts: tuple[PartInfo, ...]

    @property
    def rows(self) -> int:
        """Rows of all its parts."""
        return sum(part.rows for part in self.parts)


@dataclass(frozen=True)
class IndexPlan:
    """What is to be built.

    Attributes:
        factory: FAISS factory.
        why: one line for people.
        dim: width of the vectors.
        shards: in order.
        target: recall@10 to reach.
        gpu: whether to train on the GPUs that FAISS sees.
    """

    factory: str
    why: str
    dim: int
    shards: tuple[ShardPlan, ...]
    target: float
    gpu: bool

    @property
    def rows(self) -> int:
        """Rows of all shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def exact(self) -> bool:
        """Whether the index is exact search itself."""
        return self.factory == faiss_index.EXACT


def plan_shards(parts: tuple[PartInfo, ...], dim: int, most_bytes: int) -> list[ShardPlan]:
    """Group parts, in order, into shards of at most ``most_bytes`` of float32 vectors.

    A part is never split, so one alone may exceed it; a part without rows joins its neighbours.
    """
    shards: list[ShardPlan] = []
    group: list[PartInfo] = []
    first = rows = 0
    for part in parts:
        if rows and (rows + part.rows) * dim * 4 > most_bytes:
            shards.append(ShardPlan(len(shards), first, tuple(group)))
            first, rows, group = first + rows, 0, []
        group.append(part)
        rows += part.rows
    if rows:
        shards.append(ShardPlan(len(shards), first, tuple(group)))
    return shards


def plan_index(parts: tuple[PartInfo, ...], dim: int, options: IndexOptions) -> IndexPlan | None:
    """Plan the index of so many rows; None where none is wanted.

    Where the rows are too few to train what was asked for, exact search takes its place.
    """
    rows = sum(part.rows for part in parts)
    choice = choose_index(options, dim, rows)
    if choice.factory is None:
        return None
    factory, why = choice.factory, choice.why
    if not fits(factory, dim, rows):
        factory, why = faiss_index.EXACT, f"{rows} rows are too few for {factory}: exact search"
    shards = tuple(plan_shards(parts, dim, MOST_SHARD_BYTES))
    return IndexPlan(factory, why, dim, shards, options.recall_target, options.gpu == "auto")


def even_rows(rows: int, most: int) -> Rows:
    """At most ``most`` of ``rows`` places, evenly spaced, both ends among them."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))
