"""Batches shrink where memory runs out, and grow again."""

import pytest

from transforms.budget import Budget


def test_a_batch_that_is_too_large_halves_the_budget_once() -> None:
    budget = Budget(1_000)
    budget.shrink(1_000)
    assert budget.tokens == 500
    # Batches of the old size, which other threads had begun.
    budget.shrink(1_000)
    assert budget.tokens == 500
    budget.shrink(1)
    assert budget.tokens == 1


def test_what_fits_long_enough_lets_it_grow_back_and_each_failure_later() -> None:
    budget = Budget(1_000)

    def batches_until_it_grows() -> int:
        before, count = budget.tokens, 0
        while budget.tokens == before:
            budget.fit()
            count += 1
        return count

    budget.shrink(900)
    first = batches_until_it_grows()
    assert budget.tokens == 900
    batches_until_it_grows()
    assert budget.tokens == 1_000
    budget.shrink(1_000)
    assert batches_until_it_grows() == 2 * first
    for _ in range(10 * first):
        budget.fit()
    assert budget.tokens == 1_000


def test_it_is_said_when_memory_ran_out(caplog: pytest.LogCaptureFixture) -> None:
    Budget(64).shrink(64)
    assert "out of memory: batches of 32 tokens from here" in caplog.text
