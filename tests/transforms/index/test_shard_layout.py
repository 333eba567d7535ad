"""Which parts share a shard, against what must hold for any grouping."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.catalog.index_manifest import IndexFile
from transforms.catalog.segment import PartInfo
from transforms.index.options import IndexOptions
from transforms.index.shard_layout import ShardPlan, even_shards, plan_shards
from transforms.index.vector.plan import (
    IndexContext,
    ReusableIndex,
    max_shard_rows,
    plan_index,
)


def parts_of(counts: list[int]) -> tuple[PartInfo, ...]:
    return tuple(
        PartInfo(number, f"p{number}", rows, 0, "", rows, 0, 0, {}, "", "")
        for number, rows in enumerate(counts)
    )


def check(shards: list[ShardPlan], counts: list[int]) -> None:
    """All rows, in order, in shards that have some."""
    assert [shard.number for shard in shards] == list(range(len(shards)))
    assert all(shard.rows for shard in shards)
    first = 0
    for shard in shards:
        assert shard.first_row == first
        first += shard.rows
    assert first == sum(counts)
    kept = [part.number for shard in shards for part in shard.parts if part.rows]
    assert kept == [number for number, rows in enumerate(counts) if rows]


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(1, 200))
def test_shards_are_as_few_and_as_even_as_they_may_be(counts: list[int], most: int) -> None:
    shards = plan_shards(parts_of(counts), most)
    check(shards, counts)
    for shard in shards:
        assert shard.rows <= most or sum(part.rows > 0 for part in shard.parts) == 1
    filled = [rows for rows in counts if rows]
    if not filled:
        return
    # Every way to cut them, by brute force: how many pieces, and how large the largest is.
    ways = []
    for edges in itertools.product((False, True), repeat=len(filled) - 1):
        pieces = [[filled[0]]]
        for rows, edge in zip(filled[1:], edges, strict=True):
            pieces = [*pieces, [rows]] if edge else [*pieces[:-1], [*pieces[-1], rows]]
        if all(sum(piece) <= most or len(piece) == 1 for piece in pieces):
            ways.append((len(pieces), max(sum(piece) for piece in pieces)))
    assert (len(shards), max(shard.rows for shard in shards)) == min(ways)


def test_rows_that_take_less_share_larger_shards() -> None:
    rows = {factory: max_shard_rows(factory, 384) for factory in ("Flat", "IVF64,SQ8")}
    assert rows["Flat"] == (1 << 30) // (4 * 384)
    assert rows["IVF64,SQ8"] == (1 << 30) // (384 + 8)
    # However short the codes are, the vectors behind them are bounded too.
    assert max_shard_rows("IVF64,PQ128x4fs", 384) == (4 << 30) // (4 * 384)


@given(st.lists(st.integers(0, 50), max_size=12), st.integers(1, 8))
def test_as_many_shards_as_asked_for_where_parts_allow(counts: list[int], count: int) -> None:
    shards = even_shards(parts_of(counts), count)
    check(shards, counts)
    assert len(shards) <= count
    most = max(counts, default=0)
    assert all(shard.rows <= sum(counts) / count + most for shard in shards)


@pytest.mark.parametrize(("count", "rows"), [(1, [60]), (2, [30, 30]), (3, [20, 20, 20])])
def test_even_parts_make_even_shards(count: int, rows: list[int]) -> None:
    assert [shard.rows for shard in even_shards(parts_of([10] * 6), count)] == rows


@pytest.mark.parametrize(
    ("older", "used"),
    [
        ("RR384,IVF4096,PQ128x4fsr", True),
        ("RR384,IVF16384,PQ128x4fsr", False),
        ("RR384,IVF2048,PQ64x4fsr", False),
        ("IVF2048,PQ128x4fsr", False),
        ("OPQ64,IVF2048,PQ128x4fsr", False),
    ],
)
def test_an_older_index_is_reused_if_only_its_number_of_lists_differs_somewhat(
    older: str, used: bool
) -> None:
    index = ReusableIndex("one", older, IndexFile("trained.faiss", 1, ""), 1.0)
    plan = plan_index(parts_of([2_000_000]), 384, IndexOptions("auto"), IndexContext((index,)))
    assert plan is not None
    assert plan.reused == (index if used else None)
    assert plan.factory == (older if used else "RR384,IVF2048,PQ128x4fsr")
