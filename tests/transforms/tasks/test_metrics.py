"""The metrics of tasks, against definitions, other libraries, and known intervals."""

import numpy as np
import pytest
from nervaluate.evaluator import Evaluator
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import f1_score, log_loss

from transforms.tasks.data.bio import Span, entities
from transforms.tasks.metrics.class_metrics import class_metrics
from transforms.tasks.metrics.entity_metrics import entity_errors, entity_metrics
from transforms.tasks.metrics.text_metrics import answer_metrics, similarity_metrics

#: Four rows of three classes; the second is wrong.
KNOWN = np.array([0, 1, 2, 2])
SCORES = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8], [0.2, 0.3, 0.5]])


def seeded(rows: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    known = rng.integers(0, classes, rows)
    scores = rng.random((rows, classes)) + 0.7 * np.eye(classes)[known]
    return known, scores / scores.sum(axis=1, keepdims=True)


def test_a_classifier_is_measured_by_class_and_overall() -> None:
    found = class_metrics(KNOWN, SCORES, ["a", "b", "c"])
    assert found.rows == 4
    assert found.values["accuracy"] == found.values["micro_f1"] == 0.75
    assert found.values["log_loss"] == pytest.approx(-np.log([0.7, 0.3, 0.8, 0.5]).mean())
    assert found.confusion == [[1, 0, 0], [1, 0, 0], [0, 0, 2]]
    assert (found.classes["a"].precision, found.classes["a"].recall) == (0.5, 1.0)
    assert (found.classes["b"].f1, found.classes["c"].support) == (0.0, 2)
    assert "roc_auc" not in found.values


def test_the_calibration_error_weighs_bins_by_rows() -> None:
    found = class_metrics(KNOWN, SCORES, ["a", "b", "c"])
    # 0.5, 0.6, 0.7 and 0.8 lie in different bins; all but 0.6 are right.
    assert found.values["calibration_error"] == pytest.approx((0.5 + 0.6 + 0.3 + 0.2) / 4)
    assert sum(each.rows for each in found.calibration) == 4


def test_two_classes_have_a_roc_curve_if_both_occur() -> None:
    scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])
    found = class_metrics(np.array([0, 0, 1, 1]), scores, ["no", "yes"])
    assert found.values["roc_auc"] == 0.75
    assert "roc_auc" not in class_metrics(np.array([1, 1]), scores[:2], ["no", "yes"]).values


def test_several_labels_a_row_are_measured_by_class() -> None:
    known = np.array([[True, False], [True, True], [False, False]])
    scores = np.array([[0.9, 0.6], [0.8, 0.7], [0.2, 0.1]])
    found = class_metrics(known, scores, ["a", "b"])
    assert found.values["accuracy"] == pytest.approx(2 / 3)
    assert (found.classes["b"].precision, found.classes["b"].recall) == (0.5, 1.0)
    assert found.values["log_loss"] == pytest.approx(
        np.mean([log_loss(known[:, at], scores[:, at]) for at in (0, 1)])
    )
    assert found.confusion is None


def test_intervals_contain_the_value_and_depend_on_the_seed_alone() -> None:
    known, scores = seeded(400, 5)
    found = class_metrics(known, scores, list("abcde"), seed=1)
    for name in ("accuracy", "micro_f1", "macro_f1", "weighted_f1", "log_loss"):
        low, high = found.intervals[name]
        assert low < found.values[name] < high
        assert high - low < 0.2
    assert found == class_metrics(known, scores, list("abcde"), seed=1)
    assert found.intervals != class_metrics(known, scores, list("abcde"), seed=2).intervals
    # One label a row: both are the share of right rows.
    assert found.intervals["micro_f1"] == pytest.approx(found.intervals["accuracy"], abs=0.02)
    assert found.values["macro_f1"] == pytest.approx(
        f1_score(known, scores.argmax(axis=1), average="macro")
    )


def test_entities_are_right_if_type_and_both_ends_are() -> None:
    known = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-LOC", "B-LOC"], ["O"]]
    predicted = [["B-PER", "O", "O", "B-LOC"], ["I-LOC", "B-LOC", "I-LOC"], ["O"]]
    ours = [[entities(tags) for tags in rows] for rows in (known, predicted)]
    found = entity_metrics(*ours)
    assert (found.types["PER"].f1, found.types["PER"].support) == (0, 1)
    assert (found.types["LOC"].precision, found.types["LOC"].recall) == (1 / 3, 1 / 3)
    assert found.values["micro_f1"] == 2 * 1 / (4 + 4)
    assert found.values["macro_f1"] == pytest.approx((0 + 1 / 3) / 2)
    theirs = Evaluator(known, predicted, ["PER", "LOC"], loader="list").evaluate()
    assert theirs["overall"]["strict"].f1 == found.values["micro_f1"]
    for name, (low, high) in found.intervals.items():
        assert low <= found.values[name] <= high
    assert found.errors == {
        "missed": 1, "not an entity": 1, "other edges": 2, "other type": 0,
        "other edges and type": 0,
    }  # fmt: skip


def test_errors_of_entities_are_of_five_kinds() -> None:
    known = [Span(0, 2, "a"), Span(3, 4, "a"), Span(5, 7, "a"), Span(8, 9, "a"), Span(10, 11, "a")]
    found = [Span(0, 2, "a"), Span(3, 4, "b"), Span(5, 8, "a"), Span(8, 10, "b"), Span(12, 13, "a")]
    assert [kind for kind, _, _ in entity_errors(known, found)] == [
        "other type", "other edges", "other edges and type", "not an entity", "missed",
    ]  # fmt: skip
    assert entity_errors(known, known) == []


def test_scores_of_entities_are_calibrated() -> None:
    known = [[Span(0, 1, "a")], [Span(0, 1, "a"), Span(2, 3, "b")]]
    found = [[Span(0, 1, "a"), Span(2, 3, "a")], [Span(2, 3, "b")]]
    metrics = entity_metrics(known, found, [[0.9, 0.5], [0.9]])
    assert metrics.values["calibration_error"] == pytest.approx((2 * 0.1 + 0.5) / 3)
    assert [each.rows for each in metrics.calibration] == [1, 2]


def test_rows_without_entities_measure_nothing() -> None:
    found = entity_metrics([[]], [[]])
    assert (found.values["micro_f1"], found.values["macro_f1"], found.types) == (0, 0, {})


def test_answers_are_measured_by_the_rules_of_squad() -> None:
    found = answer_metrics(["The river", "stone", ""], [["river"], ["big stone"], []])
    assert found.values == {
        "exact_match": 2 / 3,
        "f1": pytest.approx((1 + 2 / 3 + 1) / 3),
        "answerable": 1,
        "f1_answerable": pytest.approx((1 + 2 / 3) / 2),
    }


def test_questions_without_answers_are_counted() -> None:
    found = answer_metrics(["river", "", "stone", ""], [["river"], ["stone"], [], []])
    assert found.values["answerable"] == found.values["f1"] == 0.5
    assert found.counts == {
        "answerable": 2, "unanswerable": 2, "answered": 2, "wrongly_answered": 1,
        "wrongly_unanswered": 1,
    }  # fmt: skip
    for name, (low, high) in found.intervals.items():
        assert low <= found.values[name] <= high
    assert set(answer_metrics(["river"], [["stone"]]).values) == {"exact_match", "f1"}


def test_similarities_are_measured_by_correlation() -> None:
    rng = np.random.default_rng(0)
    known = rng.integers(0, 6, 200).astype(float)
    predicted = known + rng.normal(size=200)
    found = similarity_metrics(known, predicted)
    assert found.values["pearson"] == pytest.approx(pearsonr(known, predicted).statistic)
    assert found.values["spearman"] == pytest.approx(spearmanr(known, predicted).statistic)
    for name, (low, high) in found.intervals.items():
        assert low < found.values[name] < high
    assert similarity_metrics([1, 2], [3, 3]).values == {"pearson": 0, "spearman": 0}
