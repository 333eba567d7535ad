"""Recall and the settings that reach a target, against plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.catalog.index_manifest import Setting
from transforms.errors import RecallMissed
from transforms.index.top_k import no_hits, raise_top_k
from transforms.index.vector.float16_vectors import rescore
from transforms.index.vector.recall import (
    EXACT_AT,
    ShardReport,
    alike_rows,
    asked,
    choose_settings,
    made_questions,
    measure,
    random_rows,
    recall,
    setting_for,
)
from transforms.index.vector.shard_recall import rank_candidates


def lists_of(scores: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each query's rows by their scores, best first."""
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(scores, order, 1), rows[order]


@given(st.integers(0, 99), st.integers(1, 12), st.integers(2, 30))
@settings(max_examples=60, deadline=None)
def test_recall_is_the_share_of_neighbours_found_without_the_own_row(
    seed: int, at: int, rows: int
) -> None:
    dice = np.random.default_rng(seed)
    scores = dice.random((4, rows)).astype(np.float32)
    own = np.array([0, 1, -1, rows - 1])
    exact = lists_of(scores, np.arange(rows))
    kept = dice.random(rows) < 0.5
    found = lists_of(scores[:, kept], np.arange(rows)[kept])
    expected = []
    for query, row in enumerate(own.tolist()):
        neighbours = [r for r in exact[1][query].tolist() if r != row][:at]
        ours = [r for r in found[1][query].tolist() if r != row][:at]
        expected.append(len(set(neighbours) & set(ours)) / len(neighbours))
    np.testing.assert_allclose(recall(exact, found, own, at), expected)


def test_any_of_equal_rows_counts() -> None:
    exact = np.full((1, 5), 0.5, np.float32), np.array([[0, 1, 2, 3, 4]])
    found = np.full((1, 2), 0.5, np.float32), np.array([[9, 8]])
    assert recall(exact, found, np.array([-1]), 2).tolist() == [1.0]


def report(shares: dict[tuple[float, int], int], first: int = 0) -> ShardReport:
    """Twenty rows of which each setting finds so many of the best, for four queries."""
    scores = np.linspace(1, 0.1, 20, dtype=np.float32) - first * 1e-3
    found, exact = {}, {}
    for (live, value), count in shares.items():
        asking = queries(live)
        every = np.tile(scores, (asking, 1)), np.tile(np.arange(20) + first, (asking, 1))
        few = every[0][:, 10 - count :], every[1][:, 10 - count :]
        exact[live], found[live, value] = every, (few, few)
    return ShardReport(exact, found)


def queries(live: float) -> int:
    """How many of four queries are asked."""
    return sum(len(range(4)[some]) for some in asked(live))


def test_the_cheapest_setting_that_reaches_the_target_is_chosen() -> None:
    one = report({(1.0, 1): 5, (1.0, 2): 9, (1.0, 4): 10, (0.5, 2): 4, (0.5, 4): 8})
    chosen = choose_settings([one], np.full(4, -1), 0.9, "IVF4,SQ8")
    assert [(s.live, s.value) for s in chosen] == [(1.0, 2), (0.5, 0)]
    assert chosen[0].recall_at_10 == pytest.approx(0.9)
    assert chosen[1].recall_at_10 == 1.0


def lists_with(asking: int, tens: int, hundreds: int) -> tuple[object, object]:
    """So many of the best ten, and of the best hundred, of 150 rows, for some queries."""
    scores = np.tile(np.linspace(1, 0.1, 150, dtype=np.float32), (asking, 1))
    rows = np.tile(np.arange(150), (asking, 1))
    cuts = slice(10 - tens, 10), slice(100 - hundreds, 100)
    return tuple((scores[:, cut], rows[:, cut]) for cut in cuts)


def test_long_lists_get_a_setting_of_their_own() -> None:
    scores = np.tile(np.linspace(1, 0.1, 150, dtype=np.float32), (4, 1))
    found, exact = {}, {}
    for live in (1.0, 0.5, 0.1):
        most, asking = 95 if live == 1 else 80, queries(live)
        exact[live] = scores[:asking, :101], np.tile(np.arange(101), (asking, 1))
        for value, tens, hundreds in ((1, 5, 40), (2, 10, 60), (4, 10, most)):
            found[live, value] = lists_with(asking, tens, hundreds)
    report_ = ShardReport(exact, found)
    chosen = choose_settings([report_], np.full(4, -1), 0.9, "IVF4,SQ8")
    assert [(s.live, s.value, s.value_at_100) for s in chosen] == [
        (1.0, 2, 4), (0.5, 2, 4), (0.1, 2, 0),
    ]  # fmt: skip
    assert [s.recall_at_100 for s in chosen] == pytest.approx([0.95, 0.8, 1.0])
    assert [s.value_for(long=False) for s in chosen] == [2, 2, 2]
    assert [s.value_for(long=True) for s in chosen] == [4, 4, 0]
    assert Setting(1.0, 7, 1, 1).value_for(long=True) == 7


def test_recall_is_that_of_all_shards_together() -> None:
    # The second shard was not tried beyond the setting that found all that it has.
    both = [report({(1.0, 1): 0, (1.0, 8): 10}), report({(1.0, 1): 10}, first=20)]
    chosen = choose_settings(both, np.full(4, -1), 0.4, "IVF4,SQ8")
    assert [s.value for s in chosen] == [1]
    assert chosen[0].recall_at_10 == pytest.approx(0.5)
    assert choose_settings(both, np.full(4, -1), 0.9, "IVF4,SQ8")[0].value == 8


def test_a_target_that_is_not_reached_says_what_was_and_what_helps() -> None:
    with pytest.raises(RecallMissed) as caught:
        choose_settings([report({(1.0, 2): 6, (1.0, 4): 7})], np.full(4, -1), 0.95, "IVF4,SQ8")
    assert (caught.value.option, caught.value.value) == ("index", "IVF4,SQ8")
    assert "0.7000 at most (setting 4)" in caught.value.problem
    assert "0.95" in caught.value.problem
    assert "--index flat" in caught.value.remedy


def test_fewer_live_rows_take_the_setting_measured_for_fewer() -> None:
    known = (Setting(1.0, 4, 1, 1), Setting(0.5, 16, 1, 1), Setting(0.1, 0, 1, 1))
    shares = [(1.0, 4), (0.99, 16), (0.5, 16), (0.49, 0), (0.1, 0), (0.01, 0)]
    assert [(share, setting_for(known, share).value) for share, _ in shares] == shares


def test_rows_live_by_seed_and_share() -> None:
    half = random_rows(0.5, 10_000, 3)
    assert 4_800 < half.sum() < 5_200
    assert (random_rows(0.5, 10_000, 3) == half).all()
    assert (random_rows(0.5, 10_000, 4) != half).any()


def test_made_questions_lie_farther_off_their_rows_than_those_are_long() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    made = made_questions(rows)
    lengths = np.linalg.norm(rows, axis=1)
    np.testing.assert_allclose(np.linalg.norm(made - rows, axis=1), 1.25 * lengths, rtol=1e-5)
    np.testing.assert_array_equal(made, made_questions(rows))
    assert np.abs(np.mean((made - rows) / lengths[:, None])) < 0.1
    equal = np.ones((5, 4), np.float32)
    np.testing.assert_array_equal(made_questions(equal), equal)


def test_rows_that_are_alike_live_together() -> None:
    similar = np.arange(20, dtype=np.float32)[::-1]
    assert np.flatnonzero(alike_rows(0.25, similar)).tolist() == [0, 1, 2, 3, 4]
    assert np.flatnonzero(alike_rows(0.001, similar)).tolist() == [0]
    assert alike_rows(0.5, np.ones(4, np.float32)).all()


@pytest.mark.parametrize("live", [1.0, 0.5])
def test_each_half_of_the_queries_must_reach_the_target(live: float) -> None:
    # Of eight queries those of one half find all, those of the other nothing.
    order = np.concatenate([np.arange(8)[half] for half in asked(live)])
    first = np.isin(order, np.arange(8)[asked(live)[0]])
    scores = np.tile(np.linspace(1, 0.1, 20, dtype=np.float32), (len(order), 1))
    rows = np.tile(np.arange(20), (len(order), 1))
    lists = scores.copy(), np.where(first[:, None], rows, -1)
    report = ShardReport({live: (scores, rows)}, {(live, 1): (lists, lists)})
    figures = measure([report], np.full(8, -1), live, 1)
    assert (figures.least, figures.at_10) == (0.0, 0.5)


@given(st.integers(0, 1_000), st.integers(2, 400), st.integers(1, 300), st.booleans())
def test_candidates_are_counted_as_if_all_were_scored(
    seed: int, rows: int, wanted: int, doubles: bool
) -> None:
    dice = np.random.default_rng(seed)
    raw = dice.normal(size=(rows, 8)).astype(np.float16)
    if doubles:
        raw = raw[dice.integers(0, 1 + rows // 50, rows)]
    own = dice.integers(0, rows, 4)
    queries = raw[own].astype(np.float32)
    exact = raise_top_k(no_hits(4), queries @ raw.T.astype(np.float32), 0, EXACT_AT)
    candidates = np.stack([dice.permutation(rows)[:wanted] for _ in range(4)]).astype(np.int64)
    candidates[dice.random(candidates.shape) < 0.1] = -1
    for k, at in ((11, 10), (EXACT_AT, 100)):
        width = min(k, exact[1].shape[1])
        expected = recall(exact, rescore(raw, queries, candidates, width), own, at)
        # Whoever has too few candidates scans.
        expected[(candidates >= 0).sum(axis=1) < width] = 1.0
        ranked = rank_candidates(raw, queries, candidates, exact, k)
        np.testing.assert_array_equal(recall(exact, ranked, own, at), expected)


def test_a_setting_that_was_not_kept_counts_as_if_it_found_nothing() -> None:
    lists = np.ones((2, 12), np.float32), np.tile(np.arange(12), (2, 1))
    tens = lists[0][:, :11], lists[1][:, :11]
    report = ShardReport({1.0: lists}, {(1.0, 4): (tens, lists), (1.0, 16): (tens, lists)})
    for value in (2, 8):
        ten, hundred = report.at(1.0, value)
        assert (ten[1] == -1).all()
        assert (hundred[1] == -1).all()
    for value in (4, 16, 64):
        assert report.at(1.0, value) == (tens, lists)
