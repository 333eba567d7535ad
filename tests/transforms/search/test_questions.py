"""Questions from files: the kinds that are read, and errors that name the file and the row."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.errors import BadInput
from transforms.search.questions import evenly, read_questions, read_rows, recall_questions


def test_items_are_taken_evenly() -> None:
    items = [str(number) for number in range(10)]
    assert evenly(items, 4) == ["0", "3", "6", "9"]
    assert evenly(items, 99) == items
    assert evenly([], 3) == []


def test_every_kind_of_file_gives_the_same_questions(tmp_path: Path) -> None:
    questions = ["river?", "a stone"]
    (tmp_path / "q.txt").write_text("\ufeffriver?\n\n  a stone \n", encoding="utf-8")
    lines = [json.dumps({"question": question}) for question in questions]
    (tmp_path / "q.jsonl").write_text("\n".join(lines) + "\n")
    pq.write_table(pa.table({"question": questions}), tmp_path / "q.parquet")
    for name in ("q.txt", "q.jsonl", "q.parquet"):
        assert read_questions(str(tmp_path / name)) == questions


def test_recall_is_measured_on_at_most_512_questions(tmp_path: Path) -> None:
    path = tmp_path / "q.txt"
    path.write_text("\n".join(f"question {number}" for number in range(1_100)))
    assert recall_questions(str(path)) == [f"question {n}" for n in range(0, 1_100, 3)]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("q.txt", b" \n", "has no questions"),
        ("q.csv", b"question", "is neither .jsonl nor .parquet"),
        ("q.jsonl", b'{"question": "a"}\n{"question"', "has no valid JSON in line 2"),
        ("q.jsonl", b'{"question": "a"}\n{"question": null}', "has no 'question' in row 1"),
        ("q.jsonl", b"[1]", "has no 'question' in row 0"),
        ("q.jsonl", b'{"question": "a"}\n{"question": " "}', "has a blank question in row 1"),
        ("q.txt", b"\xff", "is not UTF-8 text"),
        ("q.txt", None, "does not exist"),
    ],
)
def test_files_that_cant_be_used_are_refused(
    tmp_path: Path, name: str, content: bytes | None, problem: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        read_questions(str(path))
    assert (caught.value.option, caught.value.value) == ("questions", str(path))
    assert caught.value.problem.startswith(problem)


def test_a_field_that_is_needed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "a"}')
    with pytest.raises(BadInput) as caught:
        read_rows(str(path), ("question", "relevant"))
    assert "'relevant'" in caught.value.problem
