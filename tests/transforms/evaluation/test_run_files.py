"""Run files: a run is read as it was written, and errors name what is wrong."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.errors import BadInput
from transforms.evaluation.run_files import check_questions, check_trec_ids, read_run, write_trec
from transforms.storage.output_files import check_writable, write_text

IDS = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=6)
SCORES = st.floats(-1e6, 1e6)


@given(st.dictionaries(IDS, st.dictionaries(IDS, SCORES, min_size=1, max_size=6), min_size=1))
@settings(max_examples=40, deadline=None)
def test_a_trec_run_keeps_every_ranking(
    tmp_path_factory: pytest.TempPathFactory, found: dict[str, dict[str, float]]
) -> None:
    ranked = {
        question: sorted(documents.items(), key=lambda item: -item[1])
        for question, documents in found.items()
    }
    file = str(tmp_path_factory.mktemp("trec") / "run.trec")
    write_trec(file, ranked, "ours")
    again = read_run(file)
    assert {q: [d for d, _ in hits] for q, hits in again.items()} == {
        q: [d for d, _ in hits] for q, hits in ranked.items()
    }
    for question, hits in ranked.items():
        assert [s for _, s in again[question]] == pytest.approx([s for _, s in hits])


def test_equal_scores_are_written_so_that_tools_keep_their_order(tmp_path: Path) -> None:
    from ir_measures import read_trec_run

    file = tmp_path / "run.trec"
    write_trec(str(file), {"q": [("b", 1.0), ("c", 1.0), ("a", 1.0)]}, "t")
    scores = [np.float32(row.score) for row in read_trec_run(str(file))]
    assert scores == sorted(set(scores), reverse=True)
    assert [document for document, _ in read_run(str(file))["q"]] == ["b", "c", "a"]


def test_a_byte_order_mark_is_not_part_of_an_id(tmp_path: Path) -> None:
    file = tmp_path / "run.txt"
    file.write_text("q Q0 b 1 5 t\n", encoding="utf-8-sig")
    assert read_run(str(file)) == {"q": [("b", 5.0)]}


def test_lines_in_any_order_are_ranked_by_score_and_then_by_rank(tmp_path: Path) -> None:
    file = tmp_path / "run.txt"
    file.write_text("q Q0 b 2 5 t\nq Q0 c 1 5 t\n\nq\tQ0\ta\t9\t7.5\tt\n")
    assert read_run(str(file)) == {"q": [("a", 7.5), ("c", 5.0), ("b", 5.0)]}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("q Q0 d 1 2\n", "in line 1"),
        ("q Q0 d 1 2 t\nq Q0 d 1 high t\n", "in line 2"),
        ("q Q0 d 1 2 t\nq Q0 d 2 1 t\n", "lists document 'd' twice for question 'q'"),
        ("q Q0 d 1 nan t\n", "has score nan for document 'd' of question 'q'"),
    ],
)
def test_a_file_that_is_not_a_trec_run_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "run.trec"
    file.write_text(text)
    refused(str(file), str(file), problem)


def refused(name: str, value: str, problem: str) -> None:
    """Assert that a run can't be read, and which file and problem the error names."""
    with pytest.raises(BadInput) as caught:
        read_run(name)
    assert (caught.value.option, caught.value.value) == ("run file", value)
    assert problem in caught.value.problem


def test_parquet_runs_are_known_by_their_columns(tmp_path: Path) -> None:
    lines = pa.table(
        {"question_id": ["q", "q"], "rank": [1, 2], "document_id": ["b", "a"], "score": [1.0, 1.0]}
    )
    pq.write_table(lines, tmp_path / "lines.parquet")
    assert read_run(str(tmp_path / "lines.parquet")) == {"q": [("b", 1.0), ("a", 1.0)]}
    lists = pa.table(
        {
            "mode": ["x", "y"], "question_id": ["q", "q"],
            "document_ids": [["a"], ["b"]], "scores": [[1.0], [2.0]],
        }
    )  # fmt: skip
    pq.write_table(lists, tmp_path / "lists.parquet")
    assert read_run(f"{tmp_path}/lists.parquet@y") == {"q": [("b", 2.0)]}
    url = f"{tmp_path}/lists.parquet"
    refused(url, url, "has the modes x, y")
    refused(f"{url}@z", url, "has no mode 'z'")
    refused(f"{tmp_path}/lines.parquet@x", f"{tmp_path}/lines.parquet", "has no column 'mode'")
    pq.write_table(lists.select(["question_id"]), tmp_path / "other.parquet")
    nulls = lines.set_column(3, "score", pa.array([1.0, None]))
    pq.write_table(nulls, tmp_path / "nulls.parquet")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    content = bytearray((tmp_path / "lines.parquet").read_bytes())
    content[4:40] = bytes(36)
    (tmp_path / "pages.parquet").write_bytes(content)
    for stem, problem in (
        ("other", "has neither question_id, rank"),
        ("nulls", "has a null in row 1"),
        ("torn", "can't be read as Parquet"),
        ("pages", "can't be read as Parquet"),
        ("gone", "is missing"),
    ):
        url = f"{tmp_path}/{stem}.parquet"
        refused(url, url, problem)


def test_unknown_questions_and_ids_with_blanks_are_named() -> None:
    check_questions("run", {"q1": []}, ["q1", "q2"], "questions.jsonl")
    with pytest.raises(BadInput) as caught:
        check_questions("run", {"q1": [], "q9": []}, ["q1"], "questions.jsonl")
    assert (caught.value.option, caught.value.value) == ("run file", "run")
    assert "1 question ids that questions.jsonl lacks" in caught.value.problem
    assert "'q9'" in caught.value.problem
    for name in ("two words", ""):
        with pytest.raises(BadInput) as caught:
            check_trec_ids(["one", name])
        assert (caught.value.option, caught.value.value) == ("id", name)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("r.txt", "does not end in .html"),
        ("file/r.html", "can't be written"),
        ("d.html", "is a folder"),
    ],
)
def test_a_file_that_can_not_be_written_is_named(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "d.html").mkdir()
    with pytest.raises(BadInput) as caught:
        check_writable("report", str(tmp_path / name), ".html")
    assert (caught.value.option, caught.value.value) == ("report", str(tmp_path / name))
    assert problem in caught.value.problem


def test_a_file_in_a_new_folder_is_written(tmp_path: Path) -> None:
    file = tmp_path / "new" / "r.html"
    check_writable("report", str(file), ".html")
    write_text(str(file), "é\n")
    assert file.read_bytes() == "é\n".encode()
