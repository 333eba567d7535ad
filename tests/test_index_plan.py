"""Which parts share a shard, against what must hold for any grouping."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.index_plan import ShardPlan, even_shards, plan_shards
from transforms.segment import PartInfo

DIM = 4


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


@given(st.lists(st.integers(0, 50), max_size=12), st.integers(1, 2_000))
def test_shards_are_as_large_as_they_may_be(counts: list[int], most: int) -> None:
    shards = plan_shards(parts_of(counts), DIM, most)
    check(shards, counts)
    for shard in shards:
        filled = [part for part in shard.parts if part.rows]
        assert len(filled) == 1 or shard.rows * DIM * 4 <= most
    for one, next_ in itertools.pairwise(shards):
        assert (one.rows + next_.parts[0].rows) * DIM * 4 > most


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
