"""``albeam search --offset``, and conditions with values, with and without a Beam job."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from transforms.search.store import Store

QUESTIONS = ["river stone", "the summer market", "a window"]


def hits(capsys: pytest.CaptureFixture[str], *command: str) -> list[dict]:
    assert main(["search", *command, "--dtype", "float32", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("ways", [[], ["--fusion", "rrf"], ["--mode", "lexical"], ["--diverse"]])
def test_pages_follow_each_other(
    embedded_store: Path, capsys: pytest.CaptureFixture[str], ways: list[str]
) -> None:
    command = [str(embedded_store), QUESTIONS[0], *ways]
    whole = hits(capsys, *command, "-k", "25")
    pages = [hits(capsys, *command, "-k", "5", "--offset", str(first)) for first in (0, 5, 20)]
    assert pages == [whole[:5], whole[5:10], whole[20:25]]
    assert [hit["rank"] for hit in pages[1]] == list(range(6, 6 + len(pages[1])))
    assert hits(capsys, *command, "--offset", "100000") == []


def test_a_job_writes_pages_too(
    embedded_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, output = str(tmp_path / "questions.parquet"), str(tmp_path / "run.parquet")
    pq.write_table(pa.table({"question": QUESTIONS}), file)
    command = ["search", str(embedded_store), "--questions", file, "--dtype", "float32"]
    where = json.dumps(["document_id < ?", ["doc-00100"]])
    pages = ["-k", "4", "--offset", "3", "--where", where, "--output", output]
    assert main([*command, *pages]) == 0
    capsys.readouterr()
    found = Store.open(str(embedded_store), dtype="float32").search(
        QUESTIONS, 4, offset=3, where=("document_id < ?", ["doc-00100"])
    )
    rows = pq.read_table(output).to_pylist()
    assert [(row["rank"], row["document_id"]) for row in rows] == [
        (hit.rank, hit.document_id) for answer in found for hit in answer
    ]
    assert {row["rank"] for row in rows} == {4, 5, 6, 7}


def test_a_condition_is_sql_or_json_with_values(
    embedded_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(embedded_store), QUESTIONS[0], "--where"]
    plain = hits(capsys, *command, "document_id in ('doc-00001', 'doc-00007')")
    values = ["doc-00001", "doc-00007"]
    for given in (["document_id in ?", [values]], ["document_id in $ids", {"ids": values}]):
        assert hits(capsys, *command, json.dumps(given)) == plain
    assert {hit["document_id"] for hit in plain} == {"doc-00001", "doc-00007"}
    wrong = ["search", *command, json.dumps(["document_id = ?", []])]
    assert main(wrong) == 2
    assert "has the parameters 1, and values for none" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["search", *command[:2], "--offset", "-1"])
