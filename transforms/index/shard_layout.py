"""The grouping of parts into index shards."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from transforms.catalog.segment import PartInfo
from transforms.index.top_k import Rows

#: The most bytes of text in a lexical shard; this bounds the time that one worker needs for it.
MAX_TEXT_BYTES = 1 << 27


@dataclass(frozen=True)
class ShardPlan:
    """Consecutive parts whose rows share an index file."""

    number: int
    first_row: int
    parts: tuple[PartInfo, ...]

    @property
    def rows(self) -> int:
        """The number of rows of all its parts."""
        return sum(part.rows for part in self.parts)


def plan_shards(parts: tuple[PartInfo, ...], most: int) -> list[ShardPlan]:
    """Group parts, in order, into the fewest shards of at most ``most`` rows, as even as possible.

    A part is never split, so a single part may exceed the limit. A part without rows joins its
    neighbours.
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
    groups: list[list[PartInfo]] = [[]]
    rows = filled = 0
    for part in parts:
        if rows and filled + size(part) > most:
            groups.append([])
            rows = filled = 0
        groups[-1].append(part)
        rows += part.rows
        filled += size(part)
    return _shards(groups)


def _shards(groups: Iterable[Sequence[PartInfo]]) -> list[ShardPlan]:
    """Return consecutive groups of parts as shards; a group without rows makes none."""
    shards: list[ShardPlan] = []
    first = 0
    for group in groups:
        shard = ShardPlan(len(shards), first, tuple(group))
        if shard.rows:
            shards.append(shard)
        first += shard.rows
    return shards


def even_shards(parts: tuple[PartInfo, ...], count: int) -> list[ShardPlan]:
    """Group parts, in order, into about ``count`` shards with about the same number of rows.

    A part is never split, so there are at most as many shards as parts with rows.
    """
    total = sum(part.rows for part in parts)
    groups: dict[int, list[PartInfo]] = {}
    before = 0
    for part in parts:
        # The middle row decides, so that a shard ends at the part boundary nearest to its share.
        groups.setdefault((2 * before + part.rows) * count // max(2 * total, 1), []).append(part)
        before += part.rows
    return _shards(groups.values())


def even_rows(rows: int, most: int) -> Rows:
    """Return at most ``most`` of ``rows`` row numbers, evenly spaced, including both ends."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))


def plan_lexical(
    parts: tuple[PartInfo, ...], max_bytes: int = MAX_TEXT_BYTES
) -> tuple[ShardPlan, ...]:
    """Group parts, in order, into shards of at most ``max_bytes`` of text; never split a part."""
    return tuple(_pack(parts, max_bytes, lambda part: part.text_bytes))
