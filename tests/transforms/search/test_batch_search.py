"""Many questions as a job: the same hits as one by one, in order, in one file."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from pipeline.ingest.embed import run as embed
from pipeline.ingest.options import EmbedOptions
from pipeline.search import batch_search as batch_command
from pipeline.search.report import print_hits
from tests.support.models import make_texts
from tests.support.options import embed_options
from tests.support.raising import raises
from transforms.errors import BadInput
from transforms.search import batch_search
from transforms.search.batch_search import RUN_SCHEMA
from transforms.search.options import RankOptions, SearchOptions
from transforms.search.question_slices import plan_questions, read_slice
from transforms.search.results import Hit
from transforms.search.store import Store

QUESTIONS = make_texts(23, seed=8, longest=6)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, corpus: Path, albert: Path) -> str:
    url = str(tmp_path_factory.mktemp("searching") / "store")
    embed(embed_options(url, albert, corpus, stride=EmbedOptions.stride))
    return url


def write(path: Path, groups: int = 10, **columns: object) -> str:
    pq.write_table(pa.table(columns), path, row_group_size=groups)
    return str(path)


def test_a_run_has_what_each_question_finds(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_questions, "__defaults__", (4,))
    names = [f"q{n}" for n in range(len(QUESTIONS))]
    path = write(tmp_path / "q.parquet", question=QUESTIONS, question_id=names)
    output = tmp_path / "run.parquet"
    command = ["search", store, "--questions", path, "--output", str(output), "-k", "7"]
    assert main([*command, "--dtype", "float32", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["questions"], said["rows"], said["snapshot"]) == (23, 161, 1)
    table = pq.read_table(output)
    assert table.schema.equals(RUN_SCHEMA)
    found = Store.open(store, dtype="float32").search(QUESTIONS, 7)
    expected = [
        (name, hit.rank, hit.document_id, hit.passage)
        for name, hits in zip(names, found, strict=True)
        for hit in hits
    ]
    rows = table.to_pylist()
    keys = ("question_id", "rank", "document_id", "passage")
    assert [tuple(row[key] for key in keys) for row in rows] == expected
    scores = [hit.score for hits in found for hit in hits]
    assert [row["score"] for row in rows] == pytest.approx(scores, abs=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["q.parquet", "run.parquet"]
    # Again, with a condition, over the file that is there.
    assert main([*command, "--where", "document_id < 'doc-00003'"]) == 0
    assert "run.parquet: 69 rows for 23 questions to snapshot 1" in capsys.readouterr().out
    ids = set(pq.read_table(output).column("document_id").to_pylist())
    assert ids == {"doc-00000", "doc-00001", "doc-00002"}


@pytest.mark.parametrize("mode", ["lexical", "dense"])
def test_a_run_is_ranked_in_the_mode_that_is_asked_for(
    store: str, tmp_path: Path, mode: str
) -> None:
    path = write(tmp_path / "q.parquet", question=QUESTIONS)
    output = tmp_path / "run.parquet"
    command = ["search", store, "--questions", path, "--output", str(output), "--mode", mode]
    assert main([*command, "--dtype", "float32"]) == 0
    found = Store.open(store, dtype="float32").search(QUESTIONS, 10, mode)
    expected = [hit.document_id for hits in found for hit in hits]
    assert pq.read_table(output).column("document_id").to_pylist() == expected


def test_an_index_must_reach_the_target_for_questions_that_are_given(
    corpus: Path, albert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "questions.txt"
    file.write_text("\n".join(QUESTIONS))
    store = str(tmp_path / "store")
    command = [
        "embed", str(corpus), "--store", store, "--model", str(albert), "--max-tokens", "48",
        "--index", "IVF4,SQ8", "--recall-target", "0.8", "--recall-questions", str(file),
    ]  # fmt: skip
    assert main([*command, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    [info] = Store.open(store).segments
    assert info.index is not None
    assert said["index_reason"] == info.index.why
    assert said["index_reason"].startswith("IVF4,SQ8 for ")
    assert [s.questions_at_10 >= 0.8 for s in info.index.settings] == [True] * len(
        info.index.settings
    )
    assert said["recall_of_questions"] == info.index.settings[0].questions_at_10
    asked = ["index", store, "--index", "IVF2,Flat", "--recall-target", "0.8"]
    assert main([*asked, "--recall-questions", str(file)]) == 0
    printed = capsys.readouterr().out
    [info] = Store.open(store).segments
    assert info.index is not None
    assert (info.index.factory, info.index.settings[0].questions_at_10 is None) == (
        "IVF2,Flat",
        False,
    )
    assert f", of questions {info.index.settings[0].questions_at_10:.3f}, " in printed
    # New rows take the lists of the old ones.
    more = write(
        tmp_path / "more.parquet",
        id=[f"m{n}" for n in range(40)],
        text=make_texts(40, seed=4, longest=30),
    )
    assert main(["embed", more, *command[2:9], "IVF2,Flat", "--recall-target", "0.5"]) == 0
    assert ", trained for segment " in capsys.readouterr().out


def test_questions_are_not_written_over(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "q.parquet", question=QUESTIONS)
    (tmp_path / "link.parquet").symlink_to(path)
    (tmp_path / "folder").symlink_to(tmp_path)
    content = Path(path).read_bytes()
    for questions, output in (
        (path, path),
        (path, str(tmp_path / "folder" / "q.parquet")),
        (str(tmp_path / "link.parquet"), path),
        (str(tmp_path / "q*.parquet"), path),
    ):
        assert main(["search", store, "--questions", questions, "--output", output]) == 2
        assert f"--output {Path(output).resolve()}: is the file" in capsys.readouterr().err
    assert Path(path).read_bytes() == content


def test_runs_that_write_one_file_leave_each_other_their_parts(store: str, tmp_path: Path) -> None:
    path = write(tmp_path / "q.parquet", question=QUESTIONS)
    options = SearchOptions(store, 1, RankOptions(3), device="cpu", dtype="float32")
    output = str(tmp_path / "run.parquet")
    other = Path(batch_search.parts_folder(output))
    other.mkdir()
    part = other / f"part-000000-{'a' * 16}.parquet"
    part.write_bytes(b"of another run")
    assert batch_command.run(options, None, path, output).rows == 3 * len(QUESTIONS)
    assert part.read_bytes() == b"of another run"
    left = sorted(each.name for each in tmp_path.iterdir())
    assert left == ["q.parquet", "run.parquet", other.name]


def test_a_run_that_fails_leaves_nothing(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "q.parquet", question=QUESTIONS)

    def full(*_: object) -> int:
        raise OSError("the disk is full")

    monkeypatch.setattr(batch_search, "write_run", full)
    options = SearchOptions(store, 1, RankOptions(3), device="cpu", dtype="float32")
    with pytest.raises(Exception, match="the disk is full"):
        batch_command.run(options, None, path, str(tmp_path / "run.parquet"))
    assert [each.name for each in tmp_path.iterdir()] == ["q.parquet"]


def test_questions_are_cut_and_numbered_from_footers(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", question=QUESTIONS[:15])
    write(tmp_path / "b.parquet", question=QUESTIONS[15:], question_id=list(range(90, 98)))
    slices = plan_questions(str(tmp_path), 6)
    assert [piece.rows for piece in slices] == [6, 4, 5, 6, 2]
    assert [piece.first for piece in slices] == [0, 6, 10, 15, 21]
    assert [piece.number for piece in slices] == list(range(5))
    read = [read_slice(piece) for piece in slices]
    assert [q for _, questions in read for q in questions] == QUESTIONS
    ids = [name for names, _ in read for name in names]
    assert ids == [*map(str, range(15)), *map(str, range(90, 98))]


def test_questions_that_can_not_be_asked_are_refused(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*words: str) -> str:
        assert main(["search", store, *words]) == 2
        return capsys.readouterr().err

    run = str(tmp_path / "run.parquet")
    other = write(tmp_path / "other.parquet", query=["a"])
    assert "has no column 'question', only query" in refused("--questions", other, "--output", run)
    blank = write(tmp_path / "blank.parquet", question=["a", " "])
    assert "in row 1 of row group 0" in refused("--questions", blank, "--output", run)
    nameless = write(tmp_path / "nameless.parquet", question=["a"], question_id=[" "])
    assert "question 'a' and id ' '" in refused("--questions", nameless, "--output", run)
    empty = write(tmp_path / "empty.parquet", question=pa.array([], pa.string()))
    assert "has no rows" in refused("--questions", empty, "--output", run)
    text = tmp_path / "text.parquet"
    text.write_text("no parquet")
    assert "can't be read as Parquet" in refused("--questions", str(text), "--output", run)
    torn = write(tmp_path / "torn.parquet", question=[f"question {n}" for n in range(900)])
    content = bytearray(Path(torn).read_bytes())
    content[4:40] = bytes(36)
    Path(torn).write_bytes(content)
    for more in ([], ["--output", run]):
        assert "can't be read as Parquet" in refused("--questions", torn, *more)
    lists = write(tmp_path / "lists.parquet", question=["a"], question_id=[["b"]])
    assert "has a column 'question_id' of type list<" in refused(
        "--questions", lists, "--output", run
    )
    twice = write(tmp_path / "twice.parquet", question=["a", "b", "c"], question_id=[7, 8, 7])
    assert "has the question_id '7' 2 times" in refused("--questions", twice, "--output", run)
    good = write(tmp_path / "good.parquet", question=["a"])
    assert "does not end in .parquet" in refused("--questions", good, "--output", "run.tsv")
    assert "color" in refused("--questions", good, "--output", run, "--where", "color = 'red'")
    assert "k 0: must be at least 1" in refused("--questions", good, "--output", run, "-k", "0")
    for name in ("q.txt", "q.jsonl"):
        (tmp_path / name).write_text("a\n")
        said = refused("--questions", str(tmp_path / name), "--output", run)
        assert "is not Parquet, which --output needs" in said
    assert "Give --questions FILE" in refused("a question", "--output", run)
    with pytest.raises(SystemExit):
        main(["search", store, "a question", "--nonsense", "1"])
    assert not Path(run).exists()
    assert batch_search.RUN_SCHEMA is RUN_SCHEMA
    none = str(tmp_path / "none.parquet")
    with raises(BadInput, "input", tmp_path / "none.parquet"):
        plan_questions(none)


def test_a_hit_is_printed_with_its_metadata(capsys: pytest.CaptureFixture[str]) -> None:
    print_hits([Hit(1, 0.5, "a", 0, 0, 7, "a river", {"lang": "en", "year": 2020})])
    assert capsys.readouterr().out.splitlines() == [
        "  1. 0.500  a  [0:7]", "     a river", "     lang: en, year: 2020",
    ]  # fmt: skip
