"""Questions from files: the kinds that are read, and errors that name the file and the row."""

import io
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.raising import raises
from transforms.errors import BadInput
from transforms.search.questions import (
    evenly,
    name_of,
    read_named_questions,
    read_questions,
    read_rows,
    recall_questions,
)


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


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def as_parquet(**columns: list[str]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("content", "questions", "ids"),
    [
        (b"river?\n\n  a stone\n", ["river?", "a stone"], [None, None]),
        (b"\xef\xbb\xbfriver?\r\na stone", ["river?", "a stone"], [None, None]),
        (b'{"question": "river?"}\n{"question": "a stone"}', ["river?", "a stone"], [None, None]),
        (b'\xef\xbb\xbf\n { "question": "a", "question_id": 7}', ["a"], [7]),
        # A brace alone makes no JSON.
        (b"{x | x > 0} is a set of what?", ["{x | x > 0} is a set of what?"], [None]),
        (as_parquet(question=["a"], question_id=["q"]), ["a"], ["q"]),
    ],
)
def test_standard_input_is_text_or_json_lines_or_parquet(
    monkeypatch: pytest.MonkeyPatch, content: bytes, questions: list[str], ids: list[object]
) -> None:
    pipe(monkeypatch, content)
    assert read_questions("-") == questions
    # Who asks again is told the same, though a pipe can be read only once.
    assert read_named_questions("-") == (questions, ids)
    assert recall_questions("-") == questions


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"\xff", "is not UTF-8 text"),
        (b'{"question": "a"}\n{"question"', "has no valid JSON in line 2"),
        (b'{"query": "a"}', "has no 'question' in row 0"),
        (b'{"question": " "}', "has a blank question in row 0"),
        (b"PAR1", "can't be read as Parquet"),
    ],
)
def test_standard_input_that_cant_be_used_is_refused(
    monkeypatch: pytest.MonkeyPatch, content: bytes, problem: str
) -> None:
    pipe(monkeypatch, content)
    with pytest.raises(BadInput) as caught:
        read_questions("-")
    assert (caught.value.option, caught.value.value) == ("questions", "standard input")
    assert caught.value.problem.startswith(problem)


def test_standard_input_that_is_closed_or_has_no_rows_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with raises(BadInput, "questions", "standard input", "empty"):
        read_questions("-")
    pipe(monkeypatch, b"a river\n")
    with raises(BadInput, "questions", "standard input", "JSON lines") as caught:
        read_rows("-", ("question", "relevant"))
    assert "question, relevant" in caught.value.remedy
    assert (name_of("-"), name_of("q.txt")) == ("standard input", "q.txt")
