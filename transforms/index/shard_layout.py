"""Which parts share an index shard."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from transforms.catalog.segment import PartInfo
from transforms.index.top_k import Rows

#: Text of a lexical shard at most, in bytes; it bounds how long one worker is at it.
MOST_TEXT_BYTES = 1 << 27


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


def plan_shards(parts: tuple[PartInfo, ...], most: int) -> list[ShardPlan]:
    """Group parts, in order, into as few shards of at most ``most`` rows as can be, evenly.

    A part is never split, so one alone may exceed it; a part without rows joins its neighbours.
    """
    fewest = len(_pack(parts, most, _rows))
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if len(_pack(parts, middle, _rows)) == fewest else (middle, high)
    return _pack(parts, high, _rows)


def _rows(part: PartInfo) -> int:
    return part.rows


def _pack(parts: Iterable[PartInfo], most: int, size: Callable[[PartInfo], int]) -> list[ShardPlan]:
    """Group parts, in order, into the largest shards whose ``size`` is at most ``most``."""
    shards: list[ShardPlan] = []
    group: list[PartInfo] = []
    first = rows = filled = 0
    for part in parts:
        if rows and filled + size(part) > most:
            shards.append(ShardPlan(len(shards), first, tuple(group)))
            first, rows, filled, group = first + rows, 0, 0, []
        group.append(part)
        rows += part.rows
        filled += size(part)
    if rows:
        shards.append(ShardPlan(len(shards), first, tuple(group)))
    return shards


def even_shards(parts: tuple[PartInfo, ...], count: int) -> list[ShardPlan]:
    """Group parts, in order, into about ``count`` shards of about as many rows.

    A part is never split, so there are fewer where there are fewer parts with rows.
    """
    total = sum(part.rows for part in parts)
    groups: dict[int, list[PartInfo]] = {}
    before = 0
    for part in parts:
        # By its middle row, so that a shard ends at the part edge nearest to its share.
        groups.setdefault((2 * before + part.rows) * count // max(2 * total, 1), []).append(part)
        before += part.rows
    shards: list[ShardPlan] = []
    first = 0
    for number in sorted(groups):
        shard = ShardPlan(len(shards), first, tuple(groups[number]))
        if shard.rows:
            shards.append(shard)
        first += shard.rows
    return shards


def even_rows(rows: int, most: int) -> Rows:
    """At most ``most`` of ``rows`` places, evenly spaced, both ends among them."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))


def plan_lexical(
    parts: tuple[PartInfo, ...], most_bytes: int = MOST_TEXT_BYTES
) -> tuple[ShardPlan, ...]:
    """Group parts, in order, into shards of at most so much text; a part is never split."""
    return tuple(_pack(parts, most_bytes, lambda part: part.text_bytes))
