"""How sure answers are, fitted on made answers whose truth is known."""

import numpy as np
import pytest

from transforms.errors import BadInput
from transforms.evaluation.answer_fit import Candidates, calibration_error, fit, platt
from transforms.search.reader import Answer
from transforms.search.results import Hit


def made(
    questions: int = 400, seed: int = 0, *, helpful: bool = True
) -> tuple[Candidates, np.ndarray]:
    """Five answers a question; the right one has higher scores, of the hit only if helpful."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(questions), 5)
    right = np.zeros((questions, 5))
    right[:, 0] = rng.random(questions) < 0.8
    right = right.ravel()
    span = rng.normal(size=len(owner)) + 1.5 * right
    retrieval = 0.1 * (rng.normal(size=len(owner)) + 2.0 * right * helpful)
    nothing = rng.normal(size=len(owner))
    return Candidates(owner, retrieval, span, nothing, right, questions), right


def test_the_hits_count_where_they_help() -> None:
    found = fit(made()[0])
    assert found.scale.retrieval > 0
    assert found.exact_match > found.span_alone + 0.05
    assert fit(made()[0], hits_count=False).scale.retrieval == 0
    # With other questions of the same kind it is as good.
    other, _ = made(seed=1)
    _, right = other.best(found.scale.retrieval, found.scale.no_answer)
    assert right.mean() == pytest.approx(found.exact_match, abs=0.08)


def test_probabilities_are_those_of_the_truth() -> None:
    found = fit(made(2_000)[0])
    other, _ = made(2_000, seed=1)
    sums, right = other.best(found.scale.retrieval, found.scale.no_answer)
    sure = np.array([found.scale.probability(each) for each in sums])
    assert calibration_error(sure, right) < 0.05
    assert found.calibration_error < 0.05
    assert np.mean((sure - right) ** 2) < right.mean() * (1 - right.mean())


def test_the_logistic_function_is_the_one_that_made_the_truths() -> None:
    rng = np.random.default_rng(0)
    sums = rng.normal(5, 3, 20_000)
    truths = (rng.random(len(sums)) < 1 / (1 + np.exp(-(0.8 * sums - 3)))).astype(float)
    slope, offset = platt(sums, truths)
    assert slope == pytest.approx(0.8, abs=0.05)
    assert offset == pytest.approx(-3, abs=0.2)
    # Sums that speak against the truth leave the order as it is.
    assert platt(sums, 1 - truths)[0] > 0


def test_the_calibration_error_is_that_of_bins() -> None:
    sure = np.array([0.05, 0.05, 0.95, 0.95])
    assert calibration_error(sure, np.array([0.0, 0.0, 1.0, 1.0])) == pytest.approx(0.05)
    assert calibration_error(sure, np.array([1.0, 1.0, 0.0, 0.0])) == pytest.approx(0.95)


def test_answers_are_right_by_squads_rules() -> None:
    hits = [Hit(n, 1 / n, f"d{n}", 0, 0, 9, "a passage", {}) for n in (1, 2)]
    spans = [Answer("The Rhine.", 3.0, 0, 1, -2.0), None]
    found = Candidates.of([(hits, spans), (hits, spans)], [["rhine"], []])
    assert found.right.tolist() == [1, 0]
    assert (found.asked, found.questions.tolist()) == (2, [0, 1])
    assert (found.span.tolist(), found.no_answer.tolist()) == ([3, 3], [-2, -2])


@pytest.mark.parametrize("case", ["few", "wrong", "right"])
def test_answers_that_teach_nothing_are_refused(case: str) -> None:
    found, _ = made(10 if case == "few" else 100)
    if case != "few":
        found.right[:] = case == "right"
    with pytest.raises(BadInput) as caught:
        fit(found)
    assert caught.value.option == "questions"
