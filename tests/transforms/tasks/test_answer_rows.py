"""Questions with answers: the layouts that are read, and the rows that are left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.raising import raises
from transforms.errors import BadInput
from transforms.tasks.data.answer_rows import read_answered, read_passages

CONTEXT = "The Über river is a river in it; a riverbank too."
LISTS = pa.list_(pa.string())
CLASSIC = pa.struct([("text", LISTS), ("answer_start", pa.list_(pa.int32()))])
PAIR = pa.struct([("text", pa.string()), ("start", pa.int64())])


def write(path: Path, rows: list[dict[str, Any]], answers: pa.DataType = LISTS) -> Path:
    names = [(name, pa.string()) for name in rows[0] if name in ("question", "context", "passage")]
    others = {"answers": answers, "answer_starts": pa.list_(pa.int32()), "relevant": LISTS}
    schema = pa.schema(names + [(name, kind) for name, kind in others.items() if name in rows[0]])
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return path


def one(answers: Any, **others: Any) -> dict[str, Any]:
    return {"question": "What?", "context": CONTEXT, "answers": answers, **others}


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([one(["river"], answer_starts=[9])], LISTS),
        ([one({"text": ["river"], "answer_start": [9]})], CLASSIC),
        ([one([{"text": "river", "start": 9}])], pa.list_(PAIR)),
        ([one({"text": "river", "start": 9})], PAIR),
    ],
)
def test_answers_with_starts_are_read_in_every_layout(
    tmp_path: Path, rows: list[dict[str, Any]], kind: pa.DataType
) -> None:
    found = read_answered([write(tmp_path / "a.parquet", rows, kind)], "data")
    assert (found.answers, found.spans) == ([["river"]], [[(9, 14)]])
    assert (found.questions, found.passages, found.places.tolist()) == (["What?"], [CONTEXT], [0])


@pytest.mark.parametrize(
    ("answers", "kind"),
    [("river", pa.string()), (["river", "river"], LISTS), ({"text": ["river"]}, CLASSIC)],
)
def test_an_answer_without_start_stands_wherever_it_is_a_word(
    tmp_path: Path, answers: Any, kind: pa.DataType
) -> None:
    found = read_answered([write(tmp_path / "a.parquet", [one(answers)], kind)], "data")
    assert found.spans == [[(9, 14), (20, 25)]]
    assert found.answers == [["river"]]
    part = read_answered([write(tmp_path / "b.parquet", [one(["iver"])])], "data")
    assert len(part.spans[0]) == 3


def test_rows_that_cant_be_used_are_counted(tmp_path: Path) -> None:
    rows = [
        one(["river"], answer_starts=[9]),
        one(["river"], answer_starts=[10]),
        one(["river"], answer_starts=[-5]),
        one(["river"], answer_starts=[9, 20]),
        one(["lake"], answer_starts=None),
        one(["river", None], answer_starts=None),
        one([], answer_starts=None),
        one(None, answer_starts=None),
        one([" "], answer_starts=None),
        one(["river"], answer_starts=None) | {"question": None},
        one(["river"], answer_starts=None) | {"question": " "},
        one(["river"], answer_starts=None) | {"context": None},
        one(["x"], answer_starts=[99_999]) | {"context": "y " * 50_000},
        one(["x"], answer_starts=[100_000]) | {"context": "y " * 50_000 + "x"},
    ]
    path = write(tmp_path / "a.parquet", rows)
    found = read_answered([path], "data")
    assert found.spans == [[(9, 14)], [(100_000, 100_001)]]
    assert found.rejected == {
        "an answer that does not stand at its start": 3,
        "another number of starts than of answers": 1,
        "an answer that its passage lacks": 1,
        "an answer that is null": 1,
        "no answer": 3,
        "no question": 2,
        "no passage": 1,
    }
    with_none = read_answered([path], "data", no_answer=True)
    assert "no answer" not in with_none.rejected
    assert with_none.answers.count([]) == 3
    with raises(BadInput, "data", tmp_path / "b.parquet", "2 with no question"):
        read_answered([write(tmp_path / "b.parquet", [rows[9], rows[10]])], "data")


def test_rows_name_passages_by_id(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2, 3], "text": ["no", CONTEXT, "other"]})
    pq.write_table(table, tmp_path / "passages.parquet")
    passages = read_passages([tmp_path / "passages.parquet"])
    rows = [
        {"question": "a", "relevant": ["1", "2"], "answers": ["river"]},
        {"question": "b", "relevant": ["9"], "answers": ["river"]},
        {"question": "c", "relevant": None, "answers": ["river"]},
        {"question": "d", "relevant": ["3"], "answers": ["other"]},
    ]
    asked = write(tmp_path / "asked.parquet", rows)
    bare = tmp_path / "bare.parquet"
    pq.write_table(pa.table({"question": ["e"], "passage": [2]}), bare)
    found = read_answered([asked], "data", passages=passages)
    assert (found.passages, found.places.tolist()) == ([CONTEXT, "other"], [0, 1])
    assert found.rejected == {"no passage": 2}
    both = read_answered([asked, bare], "data", passages=passages, no_answer=True)
    assert (both.questions, both.places.tolist()) == (["a", "d", "e"], [0, 1, 0])
    taken = both.take(np.asarray([1]))
    assert (taken.questions, taken.passages, taken.places.tolist()) == (["d"], ["other"], [0])
    with raises(BadInput, "data", bare, "'answers'"):
        read_answered([bare], "data", passages=passages)
    with raises(BadInput, "data", asked, "'relevant'"):
        read_answered([asked], "data")
    with raises(BadInput, "data", problem="'relevant' or 'passage'"):
        own = write(tmp_path / "own.parquet", [one(["river"])])
        read_answered([own], "data", passages=passages)
    pq.write_table(pa.table({"id": [1], "text": ["changed"]}), tmp_path / "more.parquet")
    with raises(BadInput, "passages", tmp_path / "more.parquet", "'1'"):
        read_passages([tmp_path / "passages.parquet", tmp_path / "more.parquet"])


@pytest.mark.parametrize(
    ("answers", "problem"),
    [([1], "'answers'"), ([[["a"]]], "'answers'"), ([{"start": 1}], "'answers'")],
)
def test_columns_of_other_types_are_refused(tmp_path: Path, answers: Any, problem: str) -> None:
    path = tmp_path / "bad.parquet"
    pq.write_table(pa.table({"question": ["a"], "context": ["b"], "answers": answers}), path)
    with raises(BadInput, "data", path, problem):
        read_answered([path], "data")


def test_files_that_cant_be_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    with raises(BadInput, "data", path):
        read_answered([path], "data")
    path.write_text("no Parquet")
    with raises(BadInput, "data", path, "Parquet"):
        read_answered([path], "data")
    latin = pa.array([b"\xff"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 1, latin.buffers())
    pq.write_table(pa.table({"question": text, "context": ["a"], "answers": [["a"]]}), path)
    with raises(BadInput, "data", path, "UTF8"):
        read_answered([path], "data")
