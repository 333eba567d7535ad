"""``albeam predict`` and ``evaluate-task`` with a network that ``finetune read`` wrote."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from pipeline.training.finetune_read import finetune_read
from pipeline.training.task_options import ReadOptions
from tests.support.commands import printed
from tests.support.heads import change, without_weights
from tests.support.models import WORDS, make_model
from tests.support.raising import raises
from transforms.errors import BadInput
from transforms.models.options import Placement
from transforms.search.reader import Reader
from transforms.tasks.networks.network_files import read_task
from transforms.tasks.networks.text_reader import TextReader

EXACT = ("--device", "cpu", "--dtype", "float32")
PLACES = ("river", "village", "island")


def sample(count: int, seed: int, none: float = 0.0, longest: int = 8) -> dict[str, list[Any]]:
    """Questions for the place in a passage; a share of the passages has none."""
    dice = random.Random(seed)
    others = [word for word in WORDS if word not in PLACES]
    made: dict[str, list[Any]] = {"question": [], "context": [], "answers": []}
    for _ in range(count):
        words = dice.choices(others, k=dice.randint(3, longest))
        answer = [] if dice.random() < none else [dice.choice(PLACES)]
        words[len(words) // 2 : len(words) // 2] = answer
        made["question"].append(dice.choice(["music letter", "history"]))
        made["context"].append(" ".join(words))
        made["answers"].append(answer)
    return made


def write(path: Path, columns: dict[str, Any]) -> Path:
    kinds = {"answers": pa.list_(pa.string())}
    pq.write_table(
        pa.table({name: pa.array(each, kinds.get(name)) for name, each in columns.items()}), path
    )
    return path


def train(folder: Path, none: float) -> Path:
    finetune_read(
        ReadOptions(
            model=make_model(folder / "model"),
            data=(write(folder / "train.parquet", sample(240, 0, none)),),
            validation=(write(folder / "dev.parquet", sample(40, 9, none)),),
            output=folder / "reader",
            work=folder / "work",
            steps=120,
            rate=3e-3,
            batch_tokens=512,
            evaluate_every=120,
            precision="float32",
            max_tokens=40,
            no_answer=none > 0,
        ),
        lambda _: None,
    )
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a reader, and its rows."""
    return train(tmp_path_factory.mktemp("reader"), 0.0)


@pytest.fixture(scope="module")
def doubting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a reader that may find no answer, and its rows."""
    return train(tmp_path_factory.mktemp("doubting"), 0.4)


def test_a_reader_answers_as_a_search_does(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = sample(30, 5, longest=60)
    file = write(
        tmp_path / "questions.parquet",
        {**rows, "question_id": list(range(100, 130)), "document_id": [f"d{n}" for n in range(30)]},
    )
    words = "predict", str(made / "reader"), str(file), *EXACT, "--rows-per-part", "12"
    out = "--output", str(tmp_path / "out")
    found = printed(capsys, *words, *out)
    assert (found["documents"], found["empty"], found["labels"], found["parts"]) == (30, 0, {}, 3)
    table = pq.read_table(tmp_path / "out")
    assert table.schema.names == [
        "question_id", "answer", "score", "document_id", "start", "end",
    ]  # fmt: skip
    assert table["question_id"].to_pylist() == [str(n) for n in range(100, 130)]
    assert table["document_id"].to_pylist() == [f"d{n}" for n in range(30)]
    pairs = list(zip(rows["question"], rows["context"], strict=True))
    theirs = Reader(str(made / "reader"), Placement("cpu", "float32")).spans(pairs)
    for row, answer, (_, passage) in zip(table.to_pylist(), theirs, pairs, strict=True):
        assert answer is not None
        assert (row["answer"], row["start"], row["end"]) == (answer.text, answer.start, answer.end)
        assert row["score"] == pytest.approx(answer.score, abs=1e-3)
        assert passage[row["start"] : row["end"]] == row["answer"]
    assert printed(capsys, *words, *out)["parts_found_done"] == 3
    assert main([*words, *out]) == 0
    said = capsys.readouterr().out
    assert "questions" in said
    assert "without answers" in said


def test_questions_without_ids_have_those_of_their_rows(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = sample(3, 5)
    file = write(tmp_path / "q.parquet", {"q": rows["question"], "c": rows["context"]})
    out = "--output", str(tmp_path / "out")
    columns = "--question-column", "q", "--context-column", "c"
    printed(capsys, "predict", str(made / "reader"), str(file), *columns, *out)
    table = pq.read_table(tmp_path / "out")
    assert table["question_id"].to_pylist() == [f"q.parquet:{row}" for row in range(3)]
    assert table["document_id"].null_count == 3


def test_questions_without_an_answer_have_none(
    doubting: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = sample(40, 7, none=0.5)
    file = write(tmp_path / "questions.parquet", {**rows, "id": list(range(40))})
    out = "--output", str(tmp_path / "out")
    found = printed(capsys, "predict", str(doubting / "reader"), str(file), *out, *EXACT)
    table = pq.read_table(tmp_path / "out")
    assert table["answer"].null_count == found["empty"] > 5
    assert table["score"].null_count == table["start"].null_count == found["empty"]
    assert table["question_id"].to_pylist() == [str(n) for n in range(40)]
    pairs = list(zip(rows["question"], rows["context"], strict=True))
    reader = Reader(str(doubting / "reader"), Placement("cpu", "float32"))
    theirs = [each and each.text for each in reader.spans(pairs, no_answer=True)]
    assert table["answer"].to_pylist() == theirs


def test_bad_rows_are_rejects_and_long_passages_are_read(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = " ".join(["music paper"] * 10_000)[:99_900] + " island music"
    columns = {
        "question_id": ["a", "b", "c", "d", "e", None],
        "question": ["history", None, " ", "history", "history", "history"],
        "context": [long, "river", "river", None, " ", "river"],
    }
    file = write(tmp_path / "questions.parquet", columns)
    out = "--output", str(tmp_path / "out")
    found = printed(capsys, "predict", str(made / "reader"), str(file), *out, *EXACT)
    assert found["documents"] == 1
    assert found["rejects"] == {
        "blank passage": 1, "blank question": 1, "null id": 1, "null passage": 1,
        "null question": 1,
    }  # fmt: skip
    [row] = pq.read_table(tmp_path / "out").to_pylist()
    assert long[row["start"] : row["end"]] == row["answer"]
    [rejects] = (tmp_path / "out" / "_albeam" / "rejects").iterdir()
    assert pq.read_table(rejects)["document_id"].to_pylist() == ["b", "c", "d", "e", None]


@pytest.mark.parametrize(
    ("columns", "options", "named"),
    [
        ({"question": ["a"]}, (), "--context-column"),
        ({"context": ["a"]}, (), "--question-column"),
        ({"question": ["a"], "context": ["b"]}, ("--id-column", "gone"), "'gone'"),
        ({"question": ["a"], "context": [1]}, (), "--context-column"),
        ({"question": ["a"], "context": ["b"], "document_id": [0.5]}, (), "document_id"),
    ],
)
def test_columns_that_do_not_fit_are_refused(
    made: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    columns: dict[str, Any],
    options: tuple[str, ...],
    named: str,
) -> None:
    file = write(tmp_path / "questions.parquet", columns)
    out = "--output", str(tmp_path / "out")
    assert main(["predict", str(made / "reader"), str(file), *out, *options]) == 2
    assert named in capsys.readouterr().err


def test_a_reader_is_measured_by_the_rules_of_squad(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.html"
    words = "evaluate-task", str(made / "reader")
    found = printed(capsys, *words, str(made / "dev.parquet"), *EXACT, "--report", str(report))
    head = json.loads((made / "reader" / "head.json").read_text())
    values = found["metrics"]["values"]
    assert (found["task"], found["documents"], found["left_out"]) == ("read", 40, 0)
    assert values["f1"] == pytest.approx(head["metrics"]["score"])
    assert values["exact_match"] == pytest.approx(head["metrics"]["exact_match"])
    page = report.read_text(encoding="utf-8")
    for shown in ("Kinds of answers", "F1 by score", "F1 by question word", "finetune read"):
        assert shown in page
    # The same questions, which name their passages.
    table = pq.read_table(made / "dev.parquet").to_pydict()
    ids = [f"p{n}" for n in range(40)]
    questions = write(
        tmp_path / "questions.parquet",
        {"question": table["question"], "relevant": [[i] for i in ids],
         "answers": table["answers"]},
    )  # fmt: skip
    passages = write(tmp_path / "passages.parquet", {"id": ids, "text": table["context"]})
    again = printed(capsys, *words, str(questions), *EXACT, "--passages", str(passages))
    assert again["metrics"] == found["metrics"]


def test_questions_without_answers_are_measured_and_counted(
    doubting: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(doubting / "dev.parquet")
    found = printed(capsys, "evaluate-task", str(doubting / "reader"), data, *EXACT)
    head = json.loads((doubting / "reader" / "head.json").read_text())
    values, counts = found["metrics"]["values"], found["metrics"]["counts"]
    assert values["f1"] == pytest.approx(head["metrics"]["score"])
    assert values["answerable"] == pytest.approx(head["metrics"]["answerable"])
    assert counts["answerable"] + counts["unanswerable"] == 40
    assert counts["unanswerable"] > 5
    assert main(["evaluate-task", str(doubting / "reader"), data, *EXACT]) == 0
    assert "wrongly answered" in capsys.readouterr().out
    # A reader that always answers is measured on the other questions.
    other = printed(capsys, "evaluate-task", str(made / "reader"), data, *EXACT)
    assert other["documents"] == counts["answerable"]
    assert other["left_out"] == counts["unanswerable"]
    assert "no answer" in other["notice"]


def test_a_reader_works_on_no_store(
    made: Path, embedded_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head, store = str(made / "reader"), ("--store", str(embedded_store))
    assert main(["predict", head, *store, "--output", str(tmp_path / "out")]) == 2
    assert main(["predict", head, *store, "--as", "answer"]) == 2
    assert main(["evaluate-task", head, str(made / "dev.parquet"), *store]) == 2
    assert capsys.readouterr().err.count("--store") == 3


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (without_weights("qa_outputs"), "head of shape None"),
        (change(task="tag"), "'tag'"),
        (change(max_tokens=1 << 20), "positions"),
        (change(threshold="high"), ""),
        (change(threshold=None), ""),
        (lambda folder: (folder / "tokenizer_config.json").write_text("{"), ""),
    ],
)
def test_a_folder_without_a_fitting_head_is_refused(
    made: Path, tmp_path: Path, damage: Callable[[Path], Any], problem: str
) -> None:
    folder = tmp_path / "reader"
    shutil.copytree(made / "reader", folder)
    damage(folder)
    with raises(BadInput, "head", folder, problem):
        TextReader(str(folder), Placement("cpu", "float32"))


def test_a_reader_is_loaded_for_its_own_task(made: Path) -> None:
    folder = str(made / "reader")
    assert read_task(folder) == "read"
    reader = TextReader(folder, Placement("cpu", "float32"))
    assert reader.answers([], []) == []
    assert reader.answers(["history"], ["\u0301"]) in ([None], reader.answers(["x"], ["\u0301"]))
    assert np.isfinite(reader.settings.threshold)
