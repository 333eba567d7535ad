"""Retrieval metrics, against values computed by hand."""

from math import log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.errors import BadInput
from transforms.evaluation.metrics import measure
from transforms.evaluation.questions import Question

ONE = Question("q1", "what?", ("d1",))


def ranked(*documents: str) -> list[tuple[str, float]]:
    return [(document, 1.0 / (place + 1)) for place, document in enumerate(documents)]


def test_a_hit_at_the_third_place_gives_the_values_of_the_book() -> None:
    found = measure([ONE], {"q1": ranked("x", "y", "d1", "z")}, 100)
    assert found == {
        "success@1": 0.0,
        "success@5": 1.0,
        "success@20": 1.0,
        "recall@100": 1.0,
        "mrr@10": pytest.approx(1 / 3),
        "ndcg@10": pytest.approx(1 / log2(4)),
    }


def test_several_relevant_documents_share_recall_and_gain() -> None:
    question = Question("q1", "what?", ("d1", "d2", "d3", "d2"))
    found = measure([question], {"q1": ranked("d2", "x", "d1")}, 100)
    ideal = 1 + 1 / log2(3) + 1 / log2(4)
    assert found["recall@100"] == pytest.approx(2 / 3)
    assert found["ndcg@10"] == pytest.approx((1 + 1 / log2(4)) / ideal)
    assert found["mrr@10"] == 1.0


def test_means_are_over_all_questions_also_those_that_found_nothing() -> None:
    questions = [ONE, Question("q2", "who?", ("d2",)), Question("q3", "where?", ("d3",))]
    runs = {"q1": ranked("d1"), "q2": ranked("x", "d2"), "q3": []}
    found = measure(questions, runs, 100)
    assert found["success@1"] == pytest.approx(1 / 3)
    assert found["mrr@10"] == pytest.approx((1 + 1 / 2) / 3)
    assert found["recall@100"] == pytest.approx(2 / 3)


def test_no_result_at_all_is_zero() -> None:
    found = measure([ONE], {"q1": []}, 100)
    assert set(found.values()) == {0.0}


def test_equal_scores_keep_the_order_that_they_were_given_in() -> None:
    runs = {"q1": [("a", 1.0), ("d1", 1.0), ("z", 1.0)]}
    assert measure([ONE], runs, 10)["mrr@10"] == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("k", "names"),
    [
        (1, ["success@1"]),
        (9, ["success@1", "success@5"]),
        (10, ["success@1", "success@5", "mrr@10", "ndcg@10"]),
        (20, ["success@1", "success@5", "success@20", "mrr@10", "ndcg@10"]),
    ],
)
def test_only_metrics_that_the_depth_allows_are_given(k: int, names: list[str]) -> None:
    assert list(measure([ONE], {"q1": ranked("d1")}, k)) == names


@given(st.permutations([f"d{n}" for n in range(30)]), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_metrics_are_those_of_brute_force(order: list[str], relevant: int) -> None:
    wanted = tuple(f"d{n}" for n in range(relevant))
    found = measure([Question("q", "?", wanted)], {"q": ranked(*order)}, 20)
    gains = [document in wanted for document in order]
    for depth in (1, 5, 20):
        assert found[f"success@{depth}"] == float(any(gains[:depth]))
    first = gains.index(True) + 1
    assert found["mrr@10"] == pytest.approx(1 / first if first <= 10 else 0.0)
    discounts = [1 / log2(place + 2) for place in range(10)]
    gain = sum(d for d, hit in zip(discounts, gains, strict=False) if hit)
    assert found["ndcg@10"] == pytest.approx(gain / sum(discounts[:relevant]))


def test_no_questions_and_equal_question_ids_are_refused() -> None:
    for questions, problem in (([], "no questions"), ([ONE, ONE], "question_id more than once")):
        with pytest.raises(BadInput) as caught:
            measure(questions, {"q1": []}, 10)
        assert caught.value.option == "questions"
        assert problem in caught.value.problem
