"""The candidates of a reranker: which passages are answers, negatives, or neither."""

from __future__ import annotations

import numpy as np
import pytest

from transforms.tasks.data.candidates import (
    Candidates,
    Mined,
    draw_groups,
    label_candidates,
    rank_by_words,
    split_questions,
)
from transforms.tasks.networks.reranking import rank_metrics
from transforms.training.pairs import Pairs

PASSAGES = ["the river", "a bridge", "A  Bridge", "music", "paper"]


def make_pairs(relevant: list[list[int]]) -> Pairs:
    return Pairs("corpus", PASSAGES, [f"q{n}" for n in range(len(relevant))], relevant)


def labelled(relevant: list[list[int]], ranked: list[list[int]], hidden: set[int]) -> Candidates:
    pairs, numbers = make_pairs(relevant), np.arange(len(relevant))
    mined = Mined(PASSAGES, np.arange(len(PASSAGES)), ranked)
    return label_candidates([(pairs, numbers, mined)], [hidden])


def test_answers_and_texts_that_equal_them_are_no_negatives() -> None:
    found = labelled([[1], [0, 3]], [[2, 1, 0, 3], [4, 3, 1]], set())
    assert found.positives == [[1], [3, 0]]
    assert found.negatives == [[0, 3], [4, 1]]
    assert found.ranked == [[2, 1, 0, 3], [4, 3, 1]]
    # The copy of an answer, which the search ranks first, is as good as the answer.
    assert found.right(0) == [True, True, False, False]
    assert found.relevant == [1, 2]


def test_held_out_passages_are_no_negatives() -> None:
    found = labelled([[1]], [[0, 1, 3, 4]], {3, 4})
    assert found.negatives == [[0]]
    for number in range(20):
        [group] = draw_groups(found, 4, 4, 1, number)
        assert group.texts == (1, 0)


def test_a_window_of_an_answer_is_the_answer_that_was_found() -> None:
    pairs = make_pairs([[0, 3], [4]])
    mined = Mined(
        [*PASSAGES, "of the river", "of something else"],
        np.asarray([*range(5), 0, -1]),
        [[6, 5, 1], [6]],
    )
    found = label_candidates([(pairs, np.arange(2), mined)], [set()])
    assert found.positives == [[5, 3], [4]]
    assert found.negatives == [[6, 1], [6]]
    for number in range(30):
        for group in draw_groups(found, 3, 0, 1, number):
            # Neither the answer that was found nor the whole passage is drawn at random.
            assert not {0, 3} & set(group.texts[1:]) or group.question == 1


def test_corpora_do_not_share_negatives() -> None:
    pairs, numbers = make_pairs([[0]]), np.arange(1)
    mined = Mined(PASSAGES, np.arange(5), [[]])
    found = label_candidates([(pairs, numbers, mined)] * 2, [set(), set()])
    for number in range(20):
        for group in draw_groups(found, 2, 2, 3, number):
            assert {text // 5 for text in group.texts} == {group.question}
            assert len({int(found.keys[text]) for text in group.texts}) == 3


def test_questions_that_every_passage_answers_are_left_out() -> None:
    assert len(labelled([[0, 1, 3, 4]], [[0]], set())) == 0


def test_groups_depend_on_seed_and_pass_alone() -> None:
    found = labelled([[1], [0], [3]], [[0, 3, 4], [1, 3, 4], [0, 1, 4]], set())
    first = draw_groups(found, 2, 2, 7, 0)
    assert first == draw_groups(found, 2, 2, 7, 0)
    assert any(draw_groups(found, 2, 2, 7, n) != first for n in range(1, 5))
    assert sorted(group.question for group in first) == [0, 1, 2]
    for group in first:
        assert group.texts[0] in found.positives[group.question]
        assert set(group.texts[1:]) <= set(found.negatives[group.question])


def test_easy_negatives_are_drawn_from_the_whole_corpus() -> None:
    found = labelled([[1], [0]], [[0], [3]], set())
    seen = set()
    for number in range(30):
        for group in draw_groups(found, 2, 1, 5, number):
            hard, easy = group.texts[1:]
            assert hard == found.negatives[group.question][0]
            seen.add((group.question, easy))
    assert seen == {(0, 3), (0, 4), (1, 1), (1, 2), (1, 4)}


def test_held_out_passages_and_their_questions_are_apart() -> None:
    pairs = Pairs("c", PASSAGES, ["a", " ", "b", "c", "d"], [[0], [0], [0, 1], [1], [3]])
    train, asked = split_questions(pairs, {0}, each=1, most=10)
    assert (train.tolist(), asked.tolist()) == ([3, 4], [0, 2])
    assert split_questions(pairs, {0}, each=1, most=1)[1].tolist() == [0]


def test_bm25_ranks_rare_words_first() -> None:
    rows = [np.asarray(ids, np.int32) for ids in ([1, 2, 3], [1, 4], [5, 6], [4, 4, 5])]
    asked = [np.asarray(ids, np.int32) for ids in ([4], [7], [2, 4])]
    assert rank_by_words(rows, asked, 8, 2) == [[3, 1], [], [0, 3]]


def test_metrics_count_the_first_right_one_and_what_was_not_found() -> None:
    found = labelled([[1], [0], [3, 4]], [[0, 1], [1, 3], [0, 3]], set())
    same = [np.arange(2)] * 3
    metrics = rank_metrics(found, same)
    assert metrics["mrr@10"] == pytest.approx((1 / 2 + 0 + 1 / 2) / 3)
    rank2 = 1 / np.log2(3)
    assert metrics["ndcg@10"] == pytest.approx((rank2 + 0 + rank2 / (1 + rank2)) / 3)
    swapped = [np.asarray([1, 0])] * 3
    assert rank_metrics(found, swapped)["mrr@10"] == pytest.approx(2 / 3)
