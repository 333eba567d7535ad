"""Runs in files: what is written is what is read, and each thing that is wrong is named."""

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


def test_a_byte_order_mark_is_no_part_of_an_id(tmp_path: Path) -> None:
    file = tmp_path / "run.txt"
    file.write_text("q Q0 b 1 5 t\n", encoding="utf-8-sig")
    assert read_run(str(file)) == {"q": [("b", 5.0)]}


def test_lines_in_any_order_are_ranked_by_score_and_then_by_rank(tmp_path: Path) -> None:
    file = tmp_path / "run.txt"
    file.write_text("q Q0 b 2 5 t\nq Q0 c 1 5 t\n\nq\tQ0\ta\t9\t7.5\tt\n")
    assert read_run(str(file)) == {"q": [("a", 7.5), ("c", 5.0), ("b", 5.0)]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("q Q0 d 1 2\n", "line 1 of run .* is not 'question Q0 document rank score tag'"),
        ("q Q0 d 1 high t\n", "line 1 of run"),
        ("q Q0 d 1 2 t\nq Q0 d 2 1 t\n", "lists document 'd' twice for question 'q'"),
        ("q Q0 d 1 nan t\n", "the score nan; give a finite number"),
    ],
)
def test_a_trec_file_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.trec"
    file.write_text(text)
    with pytest.raises(BadInput, match=message):
        read_run(str(file))


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
    with pytest.raises(BadInput, match=r"has the modes x, y: say which, as in .*lists.parquet@x"):
        read_run(f"{tmp_path}/lists.parquet")
    with pytest.raises(BadInput, match="has no mode 'z', but x, y"):
        read_run(f"{tmp_path}/lists.parquet@z")
    with pytest.raises(BadInput, match="has no column 'mode'; leave @x out"):
        read_run(f"{tmp_path}/lines.parquet@x")
    pq.write_table(lists.select(["question_id"]), tmp_path / "other.parquet")
    with pytest.raises(BadInput, match="give a run that albeam wrote, or a TREC file"):
        read_run(f"{tmp_path}/other.parquet")
    nulls = lines.set_column(3, "score", pa.array([1.0, None]))
    pq.write_table(nulls, tmp_path / "nulls.parquet")
    with pytest.raises(BadInput, match="row 1 of run .* has a null"):
        read_run(f"{tmp_path}/nulls.parquet")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadInput, match="can't be read as Parquet"):
        read_run(f"{tmp_path}/torn.parquet")
    content = bytearray((tmp_path / "lines.parquet").read_bytes())
    content[4:40] = bytes(36)
    (tmp_path / "pages.parquet").write_bytes(content)
    with pytest.raises(BadInput, match=r"pages.parquet' can't be read as Parquet"):
        read_run(f"{tmp_path}/pages.parquet")
    with pytest.raises(BadInput, match="there is no run"):
        read_run(f"{tmp_path}/gone.parquet")


def test_questions_that_are_not_asked_and_ids_with_blanks_are_named() -> None:
    check_questions("run", {"q1": []}, ["q1", "q2"], "questions.jsonl")
    with pytest.raises(BadInput, match="1 question ids that 'questions.jsonl' lacks, 'q9' among"):
        check_questions("run", {"q1": [], "q9": []}, ["q1"], "questions.jsonl")
    with pytest.raises(BadInput, match="'two words' can't stand in a TREC run"):
        check_trec_ids(["one", "two words"])


def test_a_file_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check_writable("report", str(tmp_path / "new" / "r.html"), ".html")
    with pytest.raises(BadInput, match=r"report .* does not end in \.html"):
        check_writable("report", str(tmp_path / "r.txt"), ".html")
    with pytest.raises(BadInput, match="is no folder to write in"):
        check_writable("report", str(tmp_path / "file" / "r.html"), ".html")
    (tmp_path / "d.html").mkdir()
    with pytest.raises(BadInput, match="is a folder; give a file's name"):
        check_writable("report", str(tmp_path / "d.html"), ".html")
    write_text(str(tmp_path / "new" / "r.html"), "é\n")
    assert (tmp_path / "new" / "r.html").read_bytes() == "é\n".encode()
