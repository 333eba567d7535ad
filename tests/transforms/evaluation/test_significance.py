"""Resampling: intervals that cover, tests that are level, and equal seeds that agree."""

import numpy as np
import pytest

from transforms.evaluation.significance import differences, intervals


def coins(share: float, size: int, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(size) < share).astype(np.float64)


def test_the_interval_is_the_one_of_the_normal_distribution_where_questions_are_many() -> None:
    values = coins(0.7, 2_000, 0)
    [(low, high)] = intervals({"m": values}).values()
    error = values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.003)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.003)
    assert intervals({"m": values}) == intervals({"m": values})
    assert intervals({"m": values}) != intervals({"m": values}, seed=1)


def test_intervals_cover_the_true_mean_about_nineteen_times_in_twenty() -> None:
    covered = 0
    for seed in range(200):
        [(low, high)] = intervals({"m": coins(0.6, 150, seed)}, resamples=300).values()
        covered += low <= 0.6 <= high
    assert 175 <= covered <= 200


def test_chance_alone_is_seldom_called_a_difference() -> None:
    small = 0
    for seed in range(200):
        a, b = coins(0.5, 80, 2 * seed), coins(0.5, 80, 2 * seed + 1)
        small += differences({"m": a}, {"m": b}, 50, 400)["m"].p < 0.05
    assert small <= 20


def test_p_is_that_of_the_exact_test_where_few_questions_differ() -> None:
    a, b = np.zeros(5), np.ones(5)
    found = differences({"m": a}, {"m": b})["m"]
    # All five signs equal, in either direction: 2 of 32.
    assert found.p == pytest.approx(2 / 32, abs=0.01)
    assert (found.a, found.b, found.low, found.high) == (0.0, 1.0, 1.0, 1.0)


def test_a_run_does_not_differ_from_itself_and_a_better_one_does() -> None:
    a = coins(0.5, 500, 0)
    same = differences({"m": a}, {"m": a})["m"]
    assert (same.p, same.low, same.high) == (1.0, 0.0, 0.0)
    better = differences({"m": a}, {"m": np.maximum(a, coins(0.3, 500, 1))})["m"]
    assert better.p < 0.001
    assert 0 < better.low < better.b - better.a < better.high
