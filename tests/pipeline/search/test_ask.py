"""``albeam ask``, and the calibration of its reader by ``albeam evaluate --calibrate``."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deploy.docs.json_reference import keys_of
from pipeline.cli import main
from tests.support.models import make_pair_model
from transforms.models import shipped
from transforms.models.options import DEFAULT_MODEL, DEFAULT_READER, DEFAULT_RERANKER
from transforms.search.answer_scales import ANY, SCALES

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny reader and a tiny reranker by the names of those of albeam."""
    folder = tmp_path_factory.mktemp("models")
    make_pair_model(folder / DEFAULT_READER, "read", 2)
    make_pair_model(folder / DEFAULT_RERANKER, "rank")
    return folder


@pytest.fixture
def reader(models: Path, tmp_path: Path) -> Path:
    """A reader that a test may calibrate."""
    return shutil.copytree(models / DEFAULT_READER, tmp_path / "reader")


def ask(capsys: Output, *words: str) -> tuple[dict, str]:
    assert main(["ask", *words, "--json"]) == 0
    printed = capsys.readouterr()
    return json.loads(printed.out), printed.err


def calibration(reader: Path) -> None:
    scale = {"retrieval": 1.0, "no_answer": 0.0, "slope": 1.0, "offset": 0.0}
    (reader / SCALES).write_text(json.dumps({"version": 1, "scales": {ANY: scale}}))


def test_an_answer_stands_in_its_document(
    embedded_store: Path, texts: list[str], models: Path, capsys: Output
) -> None:
    given = ["--reader", str(models / DEFAULT_READER), "--reranker", str(models / DEFAULT_RERANKER)]
    found, notes = ask(capsys, str(embedded_store), "river stone", "-k", "4", *given)
    assert set(found) == keys_of("ask")
    assert notes == ""
    answer, hits = found["answer"], found["hits"]
    document = texts[int(answer["document_id"].removeprefix("doc-"))]
    assert document[answer["start"] : answer["end"]] == answer["text"]
    assert answer["probability"] is None
    assert [hit["rank"] for hit in hits] == [1, 2, 3, 4]
    assert {each["document_id"] for each in found["others"]} <= {h["document_id"] for h in hits}
    scores = [answer["score"], *(each["score"] for each in found["others"])]
    assert scores == sorted(scores, reverse=True)
    assert main(["ask", str(embedded_store), "river stone", "-k", "4", *given]) == 0
    assert capsys.readouterr().out.startswith(answer["text"])


def test_the_models_that_come_with_albeam_are_the_default(
    embedded_store: Path, models: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "ROOT", models)
    named = ["--reader", DEFAULT_READER, "--reranker", DEFAULT_RERANKER, "--rerank", "30"]
    url = str(embedded_store)
    assert ask(capsys, url, "river stone") == ask(capsys, url, "river stone", *named)
    unranked, _ = ask(capsys, url, "river stone", "--rerank", "0")
    assert main(["search", url, "river stone", "-k", "5", "--json"]) == 0
    assert unranked["hits"] == json.loads(capsys.readouterr().out)


def test_without_them_it_shows_passages_and_says_so(
    embedded_store: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "ROOT", tmp_path)
    found, notes = ask(capsys, str(embedded_store), "river stone")
    assert (found["answer"], found["others"], len(found["hits"])) == (None, [], 5)
    for name, option in ((DEFAULT_READER, "--reader"), (DEFAULT_RERANKER, "--reranker")):
        assert f"{name} is not in this installation" in notes
        assert option in notes
    for option, value in (("reader", DEFAULT_READER), ("reranker", DEFAULT_RERANKER)):
        needs = ["--no-answer"] if option == "reader" else ["--rerank", "3"]
        for words in ([f"--{option}", value], needs):
            assert main(["ask", str(embedded_store), "river", *words]) == 2
            said = capsys.readouterr().err
            assert f"--{option} {value}: has no weights in this installation" in said
            assert "albeam finetune" in said
    assert main(["embed", "x", "--store", "y", "--model", DEFAULT_MODEL]) == 2


def test_an_answer_below_the_threshold_is_none(
    embedded_store: Path, reader: Path, capsys: Output
) -> None:
    url, given = str(embedded_store), ["--reader", str(reader), "--rerank", "0"]
    calibration(reader)
    found, _ = ask(capsys, url, "river stone", *given)
    sure = found["answer"]["probability"]
    assert 0 < sure < 1
    kept, _ = ask(capsys, url, "river stone", *given, "--threshold", str(sure - 1e-9))
    assert kept["answer"] == found["answer"]
    none, _ = ask(capsys, url, "river stone", *given, "--threshold", str(min(1, sure + 1e-9)))
    assert none["answer"] is None
    assert none["hits"] == found["hits"]
    assert main(["ask", url, "river stone", *given, "--threshold", "1"]) == 0
    assert capsys.readouterr().out.startswith("no answer in 5 documents")
    assert main(["ask", url, "river stone", *given]) == 0
    assert f"({sure:.0%})" in capsys.readouterr().out


def test_many_questions_have_a_line_each(
    embedded_store: Path, reader: Path, tmp_path: Path, capsys: Output
) -> None:
    (tmp_path / "q.txt").write_text("river stone\nmusic\n")
    given = ["--reader", str(reader), "--rerank", "0"]
    command = ["ask", str(embedded_store), "--questions", str(tmp_path / "q.txt"), *given]
    assert main([*command, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["question"] for row in rows] == ["river stone", "music"]
    assert rows[1] == ask(capsys, str(embedded_store), "music", *given)[0]
    assert main(command) == 0
    assert "river stone\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "question: must be given either as QUESTION or in a file"),
        (["x", "--questions", "q.txt"], "question x: must be given either"),
        (["x", "-k", "0"], "-k 0: must be at least 1"),
        (["x", "--threshold", "2"], "--threshold 2.0: must lie between 0 and 1"),
        (["x", "--reranker", "m", "--rerank", "0"], "--reranker m: needs --rerank above 0"),
        (["x", "--reader", "/gone/m"], "--reader /gone/m: is not a folder"),
        (["x", "--reader", "READER", "--threshold", "0.5"], "--threshold 0.5: needs probabilities"),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(
    embedded_store: Path, reader: Path, words: list[str], said: str, capsys: Output
) -> None:
    given = [str(reader) if word == "READER" else word for word in words]
    assert main(["ask", str(embedded_store), *given]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""


def test_a_calibration_is_kept_beside_the_reader(
    embedded_store: Path, reader: Path, tmp_path: Path, capsys: Output
) -> None:
    url, given = str(embedded_store), ["--reader", str(reader), "--rerank", "0"]
    words = ("river", "stone", "music", "garden", "winter")
    asked = [f"{word} {number}" for number, word in enumerate(words * 8)]
    (tmp_path / "q.txt").write_text("\n".join(asked))
    assert main(["ask", url, "--questions", str(tmp_path / "q.txt"), *given, "--json"]) == 0
    said = [json.loads(line)["answer"]["text"] for line in capsys.readouterr().out.splitlines()]
    # What the reader says is right for every second question.
    rows = [
        {"question_id": str(number), "question": question, "relevant": ["doc-00000"],
         "answers": [said[number] if number % 2 else "never said"]}
        for number, question in enumerate(asked)
    ]  # fmt: skip
    file = tmp_path / "questions.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file)
    command = ["evaluate", url, str(file), "--reader", str(reader), "--calibrate"]
    assert main([*command, "--mode", "hybrid", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report) == keys_of("evaluate --calibrate")
    assert (report["questions"], report["read"]) == (40, 5)
    assert report["slope"] > 0
    assert set(json.loads((reader / SCALES).read_text())["scales"]) == {"hybrid", ANY}
    sure, _ = ask(capsys, url, "river 0", *given)
    assert 0 < sure["answer"]["probability"] < 1
    # Another ranking is added to what is known.
    assert main([*command, "--mode", "dense"]) == 0
    assert f"wrote {reader / SCALES}" in capsys.readouterr().out
    assert set(json.loads((reader / SCALES).read_text())["scales"]) == {"hybrid", "dense", ANY}
    shown = ["search", url, "river 0", "--reader", str(reader)]
    assert main(shown) == 0
    assert "%" in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--calibrate"], "--calibrate: needs --reader"),
        (["--calibrate", "--reader", "READER", "--tune"], "--tune: can't be combined"),
        (["--calibrate", "--reader", "READER", "--no-answer"], "--no-answer: can't be combined"),
        (["--calibrate", "--reader", "READER"], "has no 'answers' in row 0"),
    ],
)
def test_bad_options_of_a_calibration(
    embedded_store: Path, reader: Path, tmp_path: Path, words: list[str], said: str, capsys: Output
) -> None:
    row = {"question_id": "q", "question": "river", "relevant": ["doc-00000"]}
    (tmp_path / "q.jsonl").write_text(json.dumps(row))
    given = [str(reader) if word == "READER" else word for word in words]
    assert main(["evaluate", str(embedded_store), str(tmp_path / "q.jsonl"), *given]) == 2
    assert said in capsys.readouterr().err
