"""``albeam predict`` and ``evaluate-task`` with a network that ``finetune tag`` wrote."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from pipeline.training.finetune_tag import finetune_tag
from pipeline.training.task_options import TagOptions
from tests.support.commands import printed
from tests.support.heads import change, without_weights
from tests.support.raising import raises
from transforms.errors import BadInput
from transforms.models.options import Placement
from transforms.tasks.data.bio import entities, join_words
from transforms.tasks.networks.network_files import read_network, read_task
from transforms.tasks.networks.text_tagger import TextTagger

EXACT = ("--device", "cpu", "--dtype", "float32")
PLACES, OTHERS = ("river", "valley", "island"), ("music", "paper", "engine", "station", "window")


def sentences(count: int, seed: int) -> tuple[list[list[str]], list[list[str]]]:
    """Words with tags: a place may have two words, and is one entity then."""
    rng = np.random.default_rng(seed)
    tokens, tags = [], []
    for _ in range(count):
        words: list[str] = []
        known: list[str] = []
        for _ in range(int(rng.integers(1, 6))):
            if rng.random() < 0.4:
                size = int(rng.integers(1, 3))
                words += rng.choice(PLACES, size).tolist()
                known += ["B-place", "I-place"][:size]
            words.append(str(rng.choice(OTHERS)))
            known.append("O")
        tokens.append(words)
        tags.append(known)
    return tokens, tags


def train(model: Path, folder: Path) -> Path:
    tokens, tags = sentences(60, seed=1)
    pq.write_table(pa.table({"tokens": tokens, "tags": tags}), folder / "data.parquet")
    finetune_tag(
        TagOptions(
            model=model, data=(folder / "data.parquet",), output=folder / "tagger",
            validation=(folder / "data.parquet",), work=folder / "work", steps=120,
            rate=5e-3, optimizer="adamw", dropout=0.0,
            batch_tokens=256, precision="float32", evaluate_every=60, max_tokens=48,
        ),
        lambda _: None,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, albert: Path) -> Path:
    """Folder with a tagger, and its rows."""
    return train(albert, tmp_path_factory.mktemp("tagger"))


def texts_of(count: int, seed: int) -> list[str]:
    return [" ".join(words) for words in sentences(count, seed)[0]]


def write_texts(path: Path, texts: list[str | None]) -> Path:
    pq.write_table(pa.table({"id": list(range(len(texts))), "text": texts}), path)
    return path


@pytest.mark.parametrize("family", ["albert", "bert"])
def test_a_tagger_finds_the_entities_that_transformers_does(
    made: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], family: str
) -> None:
    from transformers import pipeline

    folder = made if family == "albert" else train(teacher, tmp_path)
    texts = [*texts_of(30, seed=2), "music"]
    file = write_texts(tmp_path / "texts.parquet", list(texts))
    words = "predict", str(folder / "tagger"), str(file), *EXACT, "--rows-per-part", "12"
    out = "--output", str(tmp_path / "out")
    found = printed(capsys, *words, *out)
    table = pq.read_table(tmp_path / "out")
    assert table.schema.names == ["document_id", "start", "end", "type", "text", "score"]
    tag = pipeline(
        "token-classification", str(folder / "tagger"), aggregation_strategy="first", device="cpu"
    )
    theirs = [
        (str(row), each["start"] + text[each["start"]].isspace(), each["end"],
         each["entity_group"], each["score"])
        for row, text in enumerate(texts)
        for each in tag(text)
    ]  # fmt: skip
    ours = [tuple(row[name] for name in ("document_id", "start", "end", "type", "score"))
            for row in table.to_pylist()]  # fmt: skip
    assert len(ours) > 20
    assert [row[:4] for row in ours] == [row[:4] for row in theirs]
    assert np.allclose([row[4] for row in ours], [row[4] for row in theirs], atol=1e-4)
    for row in table.to_pylist():
        assert texts[int(row["document_id"])][row["start"] : row["end"]] == row["text"]
    without = len(texts) - len({row[0] for row in ours})
    assert without > 0
    assert (found["documents"], found["empty"], found["parts"]) == (31, without, 3)
    assert found["labels"] == {"place": len(ours)}
    again = printed(capsys, *words, *out)
    assert (again["parts_found_done"], again["empty"]) == (3, without)
    assert main([*words, *out]) == 0
    assert "without entities" in capsys.readouterr().out


def test_a_long_text_is_read_in_windows_and_bad_ones_are_rejects(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = texts_of(400, seed=3)
    long = " music ".join(some * 20)[:100_000]
    file = write_texts(tmp_path / "texts.parquet", [long, " ", None, "", *some])
    out = "--output", str(tmp_path / "out")
    found = printed(capsys, "predict", str(made / "tagger"), str(file), *out, *EXACT)
    assert found["documents"] == 401
    assert found["rejects"] == {"blank text": 1, "empty text": 1, "null text": 1}
    rows = pq.read_table(tmp_path / "out").to_pylist()
    mine = [row for row in rows if row["document_id"] == "0"]
    # As many in the long text as in its sentences, but for the edges of windows.
    alone = sum(row["document_id"] != "0" for row in rows)
    assert 0.9 < len(mine) * len(" music ".join(some)) / 100_000 / alone < 1.1
    assert all(long[row["start"] : row["end"]] == row["text"] for row in mine)
    assert [row["start"] for row in mine] == sorted(row["start"] for row in mine)


def test_a_part_of_documents_without_entities_is_written_and_counted(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_texts(tmp_path / "texts.parquet", ["music", "paper", "engine music"])
    out = "--output", str(tmp_path / "out")
    words = "predict", str(made / "tagger"), str(file), *out, *EXACT
    found = printed(capsys, *words)
    assert (found["documents"], found["empty"], found["labels"]) == (3, 3, {})
    assert pq.read_table(tmp_path / "out").num_rows == 0


def test_a_tagger_is_measured_on_words_and_on_spans(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.html"
    words = "evaluate-task", str(made / "tagger")
    found = printed(capsys, *words, str(made / "data.parquet"), *EXACT, "--report", str(report))
    head = json.loads((made / "tagger" / "head.json").read_text())
    values = found["metrics"]["values"]
    assert (found["task"], found["documents"]) == ("tag", 60)
    assert values["micro_f1"] == pytest.approx(head["metrics"]["score"])
    assert values["macro_f1"] == values["micro_f1"]
    low, high = found["metrics"]["intervals"]["micro_f1"]
    assert low < values["micro_f1"] < high
    assert found["metrics"]["types"]["place"]["support"] > 20
    page = report.read_text(encoding="utf-8")
    for shown in ("Kinds of errors", "F1 by type", "Calibration", "albeam finetune tag"):
        assert shown in page
    rows = pq.read_table(made / "data.parquet").to_pylist()
    texts, spans = [], []
    for row in rows:
        text, places = join_words(row["tokens"])
        texts.append(text)
        spans.append(
            [
                {"start": int(places[each.start, 0]), "end": int(places[each.end - 1, 1]),
                 "type": each.type}
                for each in entities(row["tags"])
            ]
        )  # fmt: skip
    # An entity of white space alone has no word, and is none.
    texts[0] += "  "
    spans[0].append({"start": len(texts[0]) - 2, "end": len(texts[0]), "type": "place"})
    other = tmp_path / "spans.parquet"
    pq.write_table(pa.table({"body": texts, "places": spans}), other)
    columns = "--text-column", "body", "--spans-column", "places"
    again = printed(capsys, *words, str(other), *columns, *EXACT)
    assert again["metrics"] == found["metrics"]
    assert "1 entities of white space alone are left out" in again["notice"]
    assert main([*words, str(made / "data.parquet")]) == 0
    said = capsys.readouterr().out
    assert "60 texts" in said
    assert "place" in said


def test_a_text_of_100_000_characters_is_measured(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens, tags = sentences(4_000, seed=4)
    words = [word for some in tokens for word in some][:14_500]
    known = [tag for some in tags for tag in some][:14_500]
    assert len(" ".join(words)) > 90_000
    file = tmp_path / "data.parquet"
    pq.write_table(pa.table({"tokens": [words], "tags": [known]}), file)
    found = printed(capsys, "evaluate-task", str(made / "tagger"), str(file), *EXACT)
    assert found["metrics"]["values"]["micro_f1"] > 0.25


def test_rows_that_a_tagger_can_not_be_measured_on_are_refused(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "data.parquet"
    for tokens, tags, problem in (
        ([["river"]], [["B-person"]], "'person'"),
        ([["river"]], [["place"]], "'place'"),
        ([["river"], None], [["O"], ["O"]], "row 1"),
        ([["river", "music"]], [["O"]], "2 tokens and 1 tags"),
    ):
        pq.write_table(pa.table({"tokens": tokens, "tags": tags}), file)
        assert main(["evaluate-task", str(made / "tagger"), str(file)]) == 2
        assert problem in capsys.readouterr().err
    words = "evaluate-task", str(made / "tagger"), str(file)
    for option in ("--tokens-column", "--tags-column"):
        assert main([*words, option, "gone"]) == 2
        assert "'gone'" in capsys.readouterr().err
    assert main([*words, "--spans-column", "tags", "--text-column", "gone"]) == 2
    assert "'gone'" in capsys.readouterr().err


def test_a_tagger_works_on_no_store(
    made: Path, embedded_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head, store = str(made / "tagger"), str(embedded_store)
    words = "predict", head, "--store", store
    assert main([*words, "--output", str(tmp_path / "out")]) == 2
    assert main([*words, "--as", "place"]) == 2
    assert main(["evaluate-task", head, str(made / "data.parquet"), "--store", store]) == 2
    assert capsys.readouterr().err.count("--store") == 3
    texts = str(write_texts(tmp_path / "texts.parquet", ["river"]))
    assert main(["predict", head, texts, "--as", "place"]) == 2
    assert "--as place" in capsys.readouterr().err


def test_an_unknown_column_is_refused(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = str(write_texts(tmp_path / "texts.parquet", ["river"]))
    out = "--output", str(tmp_path / "out")
    for option in ("--text-column", "--id-column"):
        assert main(["predict", str(made / "tagger"), texts, *out, option, "gone"]) == 2
        assert "'gone'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (without_weights("classifier"), "head of shape None"),
        (change(task="classify"), "'classify'"),
        (
            change(classes={"names": ["B-x", "I-x", "B-y"], "integers": False, "several": False}),
            "no BIO tags",
        ),
        (change(overlap=47), "share 47"),
        (lambda folder: (folder / "model.safetensors").unlink(), ""),
    ],
)
def test_a_folder_without_a_fitting_head_is_refused(
    made: Path, tmp_path: Path, damage: Callable[[Path], Any], problem: str
) -> None:
    folder = tmp_path / "tagger"
    shutil.copytree(made / "tagger", folder)
    damage(folder)
    with raises(BadInput, "head", folder, problem):
        read_network(str(folder), "tag")


def test_a_tagger_is_loaded_for_its_own_task_and_dtypes(made: Path) -> None:
    folder = str(made / "tagger")
    assert read_task(folder) == "tag"
    with raises(BadInput, "head", folder, "'tag'"):
        read_network(folder, "classify")
    with raises(BadInput, "dtype", "float16"):
        TextTagger(folder, Placement("cpu", "float16"))
    assert TextTagger(folder, Placement("cpu", "float32")).entities([]) == []
