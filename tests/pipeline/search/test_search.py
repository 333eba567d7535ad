"""What ``albeam search`` shows of odd texts and ids, and tells of questions that are read in part.

Also where questions come from: standard input, in a process and as a job.
"""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.cells import cell_len

from pipeline.cli import main
from pipeline.search.report import print_answer, print_hits
from transforms.search.reader import Answer
from transforms.search.results import Hit

ROOT = Path(__file__).resolve().parents[3]
Output = pytest.CaptureFixture[str]

JAPANESE = "東京は日本の首都であり、多くの人々が住んでいます。"
EVIL = "\x1b[2J\x9b31m\u202e\u2028\r\x07"
DOCUMENTS = {
    "ja": JAPANESE * 8,
    "address": "https://example.org/" + "a" * 300,
    f"evil{EVIL}": f"river {EVIL} stone",
    "ru": "Привет мир",
    "en": "a river and a stone",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, albert: Path) -> str:
    folder = tmp_path_factory.mktemp("odd")
    table = {
        "id": list(DOCUMENTS),
        "text": list(DOCUMENTS.values()),
        f"place{EVIL}": [EVIL] * len(DOCUMENTS),
        "city": ["東京" * 60] * len(DOCUMENTS),
    }
    pq.write_table(pa.table(table), folder / "docs.parquet")
    url = str(folder / "store")
    command = ["embed", str(folder / "docs.parquet"), "--store", url, "--model", str(albert)]
    assert main([*command, "--max-tokens", "64", "--all-columns", "--json"]) == 0
    return url


def pipe(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(content.encode()))
    monkeypatch.setattr(sys, "stdin", stream)


@pytest.mark.parametrize("width", ["1", "40", "10000"])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_beginning_of_any_text_is_shown(
    name: str, width: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    text = DOCUMENTS[name]
    print_hits([Hit(1, 0.5, name, 0, 0, len(text), text, {name: "東京" * 60})])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("  1. 0.500  ")
    assert lines[0].strip()[:4] == text[:4]
    for line in (head, *lines):
        assert line.isprintable()
    for line in lines:
        assert line.startswith("     ")
        assert cell_len(line) <= max(16, min(int(width), 100))
    if len(text) > 200:
        assert len(lines) == 3
        assert lines[1].endswith(" …")


def test_an_answer_is_one_line(capsys: Output) -> None:
    hit = Hit(1, 0.5, f"a{EVIL}", 0, 3, 9, "a\nriver", {})
    print_answer([hit], [Answer("a\nriver", 1.0, 0, 7)])
    [line] = capsys.readouterr().out.splitlines()
    assert line.isprintable()
    assert line.startswith("answer: a\\nriver  (1.000, a\\x1b[2J")


def test_a_search_prints_nothing_that_a_terminal_obeys(store: str, capsys: Output) -> None:
    for words in (["river"], ["river", "--json"]):
        assert main(["search", store, *words]) == 0
        said = capsys.readouterr()
        for line in (said.out + said.err).split("\n"):
            assert line.isprintable(), line
    assert {hit["document_id"] for hit in json.loads(said.out)} == set(DOCUMENTS)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_poor_encoding_shows_escapes_and_the_same_json(store: str, encoding: str) -> None:
    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", "search", store, "東京", *words],
            capture_output=True, encoding=encoding, check=True, cwd=ROOT,
            env=os.environ | {"PYTHONIOENCODING": encoding, "LC_ALL": "C"},
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done.stdout

    texts = {hit["document_id"]: hit["text"] for hit in json.loads(run("--json"))}
    assert texts["ja"] == DOCUMENTS["ja"][: len(texts["ja"])]
    assert "\\u6771\\u4eac" in run()


def test_a_search_ends_quietly_if_nobody_reads_its_hits(store: str) -> None:
    command = f"{sys.executable} -m pipeline search {store} river -k 5 | head -1; "
    done = subprocess.run(
        ["bash", "-c", command + "exit ${PIPESTATUS[0]}"], capture_output=True, text=True,
        check=False, cwd=ROOT, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""
    # `head` may go before or after the last line is written.
    assert done.returncode in (0, 141)


LONG = "river stone " * 60


def test_a_note_names_a_question_that_is_read_in_part(
    store: str, capsys: Output, tmp_path: Path
) -> None:
    def told(*words: str) -> str:
        assert main(["search", store, *words]) == 0
        return capsys.readouterr().err

    longer = "note: The question is longer than the 64 tokens that the model reads. The rest does"
    assert told(LONG).startswith(longer)
    assert told(LONG, "--json").startswith(longer)
    assert told("東京は").startswith("note: The question is mostly unknown to the model")
    assert told("river") == told(LONG, "--mode", "lexical") == ""
    # More questions than are asked at once.
    (tmp_path / "q.txt").write_text("\n".join(["river"] * 300 + [LONG, "東京は", "京"]))
    cut, unknown = told("--questions", str(tmp_path / "q.txt"), "-k", "1").splitlines()
    first = f"'{LONG[:40]}' the first, is longer than"
    assert cut.startswith(f"note: 1 of 303 questions, {first}")
    assert unknown.startswith("note: 2 of 303 questions, '東京は' the first, are mostly unknown")


@pytest.mark.parametrize(
    "content", ["river\nstone\n", '{"question": "river"}\n{"question": "stone"}\n']
)
def test_questions_come_from_standard_input(
    store: str, content: str, capsys: Output, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "q.txt").write_text("river\nstone\n")
    assert main(["search", store, "--questions", str(tmp_path / "q.txt"), "--json"]) == 0
    expected = capsys.readouterr().out
    pipe(monkeypatch, content)
    assert main(["search", store, "--questions", "-", "--json"]) == 0
    assert capsys.readouterr().out == expected
    output = tmp_path / "run.parquet"
    pipe(monkeypatch, content)
    assert main(["search", store, "--questions", "-", "--output", str(output)]) == 0
    found = pq.read_table(output).to_pylist()
    assert [row["question_id"] for row in found] == ["0"] * 5 + ["1"] * 5
    hits = [hit["document_id"] for line in expected.splitlines() for hit in json.loads(line)]
    assert [row["document_id"] for row in found] == hits
    assert sorted(path.name for path in tmp_path.iterdir()) == ["q.txt", "run.parquet"]


def test_a_job_keeps_the_ids_of_standard_input_and_tells_what_is_read_in_part(
    store: str, capsys: Output, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    output = str(tmp_path / "run.parquet")
    command = ["search", store, "--questions", "-", "--output", output, "-k", "1", "--json"]
    texts = ["river", LONG, "東京は", LONG]
    rows = [{"question": text, "question_id": f"q{n}"} for n, text in enumerate(texts)]
    pipe(monkeypatch, "\n".join(map(json.dumps, rows)))
    assert main(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["cut_questions"], said["unknown_questions"]) == (2, 1)
    assert "2 of 4 questions, 'q1' the first, are longer than the 64 tokens" in said["notice"]
    ids = pq.read_table(output).column("question_id").to_pylist()
    assert ids == ["q0", "q1", "q2", "q3"]
    pipe(monkeypatch, "\n".join(map(json.dumps, rows)))
    assert main(command[:-1]) == 0
    assert capsys.readouterr().err.startswith("note: 2 of 4 questions")
    pipe(monkeypatch, "\n".join(map(json.dumps, rows)))
    assert main([*command, "--mode", "lexical"]) == 0
    assert json.loads(capsys.readouterr().out)["notice"] == ""
    for content, problem in (
        ("", "'standard input': is empty"),
        (json.dumps(rows[0]) + '\n{"question": "a"}', "has question 'a' and id None"),
    ):
        pipe(monkeypatch, content)
        assert main(command) == 2
        assert problem in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["run.parquet"]


def test_more_documents_like_some_are_found(store: str, capsys: Output) -> None:
    assert main(["search", store, "--like", "ja,ru", "--unlike", "en", "--json"]) == 0
    hits = json.loads(capsys.readouterr().out)
    assert {hit["document_id"] for hit in hits} == {*DOCUMENTS} - {"ja", "ru", "en"}
    quoted = f'"{[*DOCUMENTS][2]}"'
    assert main(["search", store, "--like", "ja", "--like", quoted, "-k", "1"]) == 0
    assert capsys.readouterr().out.startswith("  1. ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--unlike", "ja"],
        ["river", "--like", "ja"],
        ["--like", "ja", "--mode", "lexical"],
        ["--like", "ja", "--reader", "model"],
        ["--like", "ja", "--rerank", "3", "--reranker", "model"],
        ["--like", "gone"],
        ["--like", "ja", "--unlike", "ja"],
    ],
)
def test_what_like_can_not_do_is_named(store: str, arguments: list[str], capsys: Output) -> None:
    assert main(["search", store, *arguments]) == 2
    assert "like" in capsys.readouterr().err
