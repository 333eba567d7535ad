"""The labelled rows of a task: what is read, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.raising import raises
from transforms.errors import BadInput
from transforms.tasks.data.labels import Classes, LabelledRows, learn_classes, read_labelled


def rows(folder: Path, labels: Any, several: bool = False, name: str = "data") -> LabelledRows:
    path = folder / f"{name}.parquet"
    texts = [f"text {number}" for number in range(len(labels))]
    pq.write_table(pa.table({"text": pa.array(texts, pa.string()), "label": labels}), path)
    return read_labelled([path], "data", several=several)


def test_classes_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    found = rows(tmp_path, ["spam", "ham", "spam"])
    classes = learn_classes(found)
    assert classes == Classes(("ham", "spam"))
    assert classes.codes(found).tolist() == [1, 0, 1]
    assert found.texts("text") == ["text 0", "text 1", "text 2"]


def test_numbers_are_in_their_own_order(tmp_path: Path) -> None:
    classes = learn_classes(rows(tmp_path, pa.array([10, 9, 2], pa.int16())))
    assert classes == Classes(("2", "9", "10"), integers=True)


def test_a_row_may_have_several_labels_or_none(tmp_path: Path) -> None:
    found = rows(tmp_path, [["b", "a"], [], ["a"]], several=True)
    classes = learn_classes(found)
    assert classes == Classes(("a", "b"), several=True)
    assert classes.codes(found).tolist() == [[True, True], [False, False], [True, False]]


def test_files_are_read_as_one(tmp_path: Path) -> None:
    for name, labels in (("a", ["x", "y"]), ("b", ["y"])):
        rows(tmp_path, labels, name=name)
    found = read_labelled([tmp_path / "a.parquet", tmp_path / "b.parquet"], "data")
    assert learn_classes(found).codes(found).tolist() == [0, 1, 1]


def test_ids_are_read_as_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"key": [7, 8], "topic": ["x", "y"]}), tmp_path / "a.parquet")
    found = read_labelled(
        [tmp_path / "a.parquet"], "labels", text=None, identity="key", label="topic"
    )
    assert found.texts("key") == ["7", "8"]


@pytest.mark.parametrize(
    ("labels", "several", "problem"),
    [
        (["a", None], False, "row 1 has no label"),
        ([["a"], None], True, "row 1 has no label"),
        ([["a", None]], True, "empty label"),
        (["a", " "], False, "without characters"),
        ([0.5, 1.5], False, "double"),
        ([["a"], ["b"]], False, "list"),
        (["a" * 1001, "b"], False, "1001"),
        (pa.array([], pa.string()), False, "no rows"),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused(
    tmp_path: Path, labels: Any, several: bool, problem: str
) -> None:
    with raises(BadInput, "data", problem=problem):
        rows(tmp_path, labels, several)


def test_lists_without_the_option_name_it(tmp_path: Path) -> None:
    with raises(BadInput, "data") as caught:
        rows(tmp_path, [["a"], ["b"]])
    assert "--multi-label" in caught.value.remedy  # type: ignore[attr-defined]


def test_one_class_and_unknown_classes_are_refused(tmp_path: Path) -> None:
    with raises(BadInput, "data", problem="'a'"):
        learn_classes(rows(tmp_path, ["a", "a"]))
    with raises(BadInput, "data", problem="'c'"):
        Classes(("a", "b")).codes(rows(tmp_path, ["a", "c"]))
    with raises(BadInput, "data", problem="'c'"):
        Classes(("a", "b"), several=True).codes(rows(tmp_path, [["a", "c"]], several=True))
    with raises(BadInput, "data", problem="lists"):
        Classes(("a", "b")).codes(rows(tmp_path, [["a"]], several=True))


def test_too_many_classes_are_refused(tmp_path: Path) -> None:
    names = [f"text {number}" for number in range(10_001)]
    with raises(BadInput, "data", problem="10001"):
        learn_classes(rows(tmp_path, names))


def test_codes_are_whole_numbers(tmp_path: Path) -> None:
    codes = Classes(("a", "b")).codes(rows(tmp_path, ["b", "a"]))
    assert codes.dtype == np.int64
