"""Batches hold texts of similar length; they shrink where memory runs out, and grow again."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.encoder.batching import Budget, batches_by_length, cut_batches


def batches_until_it_grows(budget: Budget) -> int:
    before, count = budget.tokens, 0
    while budget.tokens == before:
        budget.fit(before)
        count += 1
    return count


def test_a_batch_that_is_too_large_halves_the_budget() -> None:
    budget = Budget(1_000)
    budget.shrink(1_000)
    assert budget.tokens == 500
    # Batches of the old size, which other threads had begun.
    budget.shrink(1_000)
    assert budget.tokens == 500
    budget.shrink(500)
    assert budget.tokens == 250
    budget.shrink(1)
    assert budget.tokens == 1


def test_a_small_batch_that_failed_does_no_lasting_harm() -> None:
    budget = Budget(131_072)
    budget.shrink(20)
    growths = [batches_until_it_grows(budget) for _ in range(14)]
    assert budget.tokens == 131_072
    assert sum(growths) < 1_000


def test_what_fits_long_enough_lets_it_grow_back_to_where_it_was() -> None:
    budget = Budget(1_000)
    budget.shrink(900)
    first = batches_until_it_grows(budget)
    assert budget.tokens == 900
    batches_until_it_grows(budget)
    assert budget.tokens == 1_000
    for _ in range(10 * first):
        budget.fit(1_000)
    assert budget.tokens == 1_000


def test_small_batches_that_fit_prove_nothing() -> None:
    budget = Budget(1_000)
    budget.shrink(1_000)
    for _ in range(10_000):
        budget.fit(249)
    assert budget.tokens == 500


def test_it_is_tried_later_each_time_that_it_was_tried_too_soon_but_not_ever_later() -> None:
    budget = Budget(1_000)
    budget.shrink(1_000)
    waits = []
    for _ in range(12):
        waits.append(batches_until_it_grows(budget))
        budget.shrink(1_000)
    assert waits[1] == 2 * waits[0]
    assert waits[2] == 2 * waits[1]
    assert waits[-1] == waits[-2] < 5_000
    # One cascade is one failure.
    other = Budget(1_024)
    for tokens in (1_024, 512, 256, 128):
        other.shrink(tokens)
    assert batches_until_it_grows(other) == waits[0]


def test_a_warning_is_logged_when_memory_runs_out(caplog: pytest.LogCaptureFixture) -> None:
    Budget(64).shrink(64)
    assert "out of memory: batches now have at most 32 tokens" in caplog.text


def greedy(lengths: npt.NDArray[np.int64], budget: int) -> list[list[int]]:
    """Fill batches of padded texts, longest first, and later texts first among equal ones."""
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], -row))
    batches: list[list[int]] = []
    for row in order:
        longest = lengths[batches[-1][0]] if batches else 0
        if batches and (len(batches[-1]) + 1) * max(1, longest) <= budget:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


@given(st.lists(st.integers(0, 20), max_size=60), st.integers(1, 80))
def test_padded_batches_are_filled_longest_first(sizes: list[int], budget: int) -> None:
    lengths = np.array(sizes, np.int64)
    found = [batch.tolist() for batch in batches_by_length(lengths, budget)]
    assert found == greedy(lengths, budget)


@given(st.lists(st.integers(1, 20), max_size=60), st.integers(1, 80))
def test_packed_batches_count_no_padding(sizes: list[int], budget: int) -> None:
    lengths = np.array(sizes, np.int64)
    order = np.arange(len(sizes))
    batches = list(cut_batches(order, lengths, lambda: budget, padded=False))
    assert [row for batch in batches for row in batch.tolist()] == order.tolist()
    for batch in batches:
        assert len(batch) == 1 or lengths[batch].sum() <= budget
    for batch, following in pairwise(batches):
        assert lengths[batch].sum() + lengths[following[0]] > budget


def test_no_batch_has_more_sequences_than_cuda_s_attention_can_number() -> None:
    lengths = np.ones(140_000, np.int64)
    batches = list(cut_batches(np.arange(len(lengths)), lengths, lambda: 131_072, padded=False))
    assert [len(batch) for batch in batches] == [65_535, 65_535, 8_930]
