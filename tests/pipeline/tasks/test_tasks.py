"""``albeam classify``, ``evaluate-task`` and ``predict``, from the command line to the files."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from pipeline.ingest.embed import run as embed
from pipeline.tasks import prediction_job
from pipeline.tasks.options import EvaluateTaskOptions, PredictOptions
from tests.support.commands import printed
from tests.support.models import make_model
from tests.support.options import embed_options
from tests.support.raising import raises
from tests.support.stores import overtake
from transforms import Store
from transforms.catalog.options import ColumnOptions
from transforms.errors import BadInput
from transforms.storage import filesystem
from transforms.tasks.prediction.predict import CLASSES_KEY
from transforms.tasks.prediction.prediction_files import PredictionPaths
from transforms.tasks.vector_heads.head_files import read_head, write_head

#: Words of one topic stand in no text of the other.
TOPICS = {
    "water": ["river", "ocean", "stone", "valley", "island"],
    "words": ["letter", "paper", "number", "history", "memory"],
}


def corpus(count: int, seed: int) -> tuple[list[str], list[str]]:
    """Texts and topics; every seventh text is longer than a passage."""
    rng = np.random.default_rng(seed)
    topics = [list(TOPICS)[number % 2] for number in range(count)]
    texts = [
        " ".join(rng.choice(TOPICS[topic], 70 if number % 7 == 0 else 6))
        for number, topic in enumerate(topics)
    ]
    return texts, topics


def write(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, albert: Path) -> Path:
    """Folder with a store, labels of its documents, other texts with labels, and a head."""
    folder = tmp_path_factory.mktemp("tasks")
    texts, topics = corpus(60, seed=1)
    ids = [f"d{number}" for number in range(60)]
    write(folder / "input.parquet", id=ids, text=texts, year=list(range(60)))
    write(folder / "labels.parquet", id=[*ids, "gone"], label=[*topics, "water"])
    others, theirs = corpus(30, seed=2)
    blank = [*others[:-1], " "]
    write(folder / "other.parquet", id=list(range(30)), text=blank, label=theirs)
    embed(
        embed_options(
            folder / "store", albert, folder / "input.parquet",
            columns=ColumnOptions(metadata=(("year", "year"),)), rows_per_part=25,
        )
    )  # fmt: skip
    words = ("classify", str(folder / "store"), str(folder / "labels.parquet"))
    assert main([*words, "--output", str(folder / "head")]) == 0
    return folder


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    """A store of its own."""
    return Path(shutil.copytree(made / "store", tmp_path / "store"))


def predictions(folder: Path) -> pa.Table:
    return pq.read_table(folder)


def test_a_head_is_fitted_and_measured(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "classify", str(made / "store"), str(made / "labels.parquet")
    found = printed(capsys, *words, "--output", str(tmp_path / "head"))
    assert (found["documents"], found["missing"], found["classes"]) == (60, 1, 2)
    assert found["metrics"]["values"]["accuracy"] > 0.9
    assert found["metrics"]["rows"] == found["held_out"] == 12
    assert found["notice"].startswith("1 ")
    stored = json.loads((tmp_path / "head" / "head.json").read_text())
    assert stored["classes"]["names"] == ["water", "words"]
    assert stored["encoder"]["dim"] == 48
    assert sorted(p.name for p in (tmp_path / "head").iterdir()) == [
        "README.md", "head.json", "head.safetensors",
    ]  # fmt: skip
    card = (tmp_path / "head" / "README.md").read_text()
    for part in (
        "# head\n", "| store | store |", "| labels | labels.parquet |", "| documents | 60 |",
        "| classes | water, words |", f"| strength | {found['strength']:g}, by cross-validation |",
        f"| accuracy | {found['metrics']['values']['accuracy']:.4f} |", "fitted on all",
    ):  # fmt: skip
        assert part in card
    assert main([*words, "--output", str(tmp_path / "head"), "--strength", "1"]) == 0
    assert "12 documents held out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ids", "labels", "problem"),
    [
        (["d1", "d2"], ["x", "x"], "one class only"),
        (["d1", "d2"], ["x", None], "no label"),
        (["d1", "d1"], ["x", "y"], "two labels"),
        (["e1", "e2"], ["x", "y"], "no id"),
        # One class only is in the store.
        (["d1", "e2"], ["x", "y"], "one class only, 'x', among the ids that the store has. Give"),
        (["d1", "e2", "e3"], ["x", "y", "y"], "2 are not in the store"),
    ],
)
def test_labels_that_fit_no_head_are_refused(
    made: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    ids: list[str],
    labels: list[str],
    problem: str,
) -> None:
    file = write(tmp_path / "labels.parquet", id=ids, label=labels)
    words = "classify", str(made / "store"), str(file), "--output", str(tmp_path / "head")
    assert main(list(words)) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "head" / "head.json").exists()


def test_a_head_is_measured_on_texts_and_on_stored_documents(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.html"
    words = "evaluate-task", str(made / "head")
    exact = "--device", "cpu", "--dtype", "float32"
    texts = printed(capsys, *words, str(made / "other.parquet"), *exact, "--report", str(report))
    assert (texts["documents"], texts["left_out"]) == (29, 1)
    assert texts["metrics"]["values"]["accuracy"] > 0.9
    assert texts["metrics"]["values"]["roc_auc"] > 0.9
    page = report.read_text(encoding="utf-8")
    assert "Confusion matrix" in page
    assert "Calibration" in page
    assert "The worst examples" in page
    stored = printed(capsys, *words, str(made / "labels.parquet"), "--store", str(made / "store"))
    assert (stored["documents"], stored["left_out"]) == (60, 1)
    # The texts of the store give the same scores as its vectors.
    again = write(
        tmp_path / "same.parquet",
        **{name: pq.read_table(made / "input.parquet")[name] for name in ("id", "text")},
        label=pq.read_table(made / "labels.parquet")["label"][:60],
    )
    embedded = printed(capsys, *words, str(again), *exact, "--stride", "8")
    ours, theirs = (each["metrics"]["values"] for each in (embedded, stored))
    assert ours["accuracy"] == theirs["accuracy"]
    assert ours["log_loss"] == pytest.approx(theirs["log_loss"], rel=1e-3)


def test_a_class_that_training_lacks_is_refused(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "data.parquet", text=["river"], label=["fire"])
    assert main(["evaluate-task", str(made / "head"), str(file)]) == 2
    assert "'fire'" in capsys.readouterr().err


def test_the_report_escapes_what_the_data_says(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["<script>river</script> ocean", "letter paper"]
    file = write(tmp_path / "data.parquet", text=texts, label=["words", "water"])
    report = tmp_path / "report.html"
    words = "evaluate-task", str(made / "head"), str(file), "--report", str(report)
    printed(capsys, *words)
    assert "<script>" not in report.read_text(encoding="utf-8")


def test_an_input_and_a_store_are_predicted_alike(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exact = "--device", "cpu", "--dtype", "float32", "--rows-per-part", "25", "--stride", "8"
    head = str(made / "head")
    texts = printed(
        capsys, "predict", head, str(made / "input.parquet"), *exact,
        "--output", str(tmp_path / "texts"),
    )  # fmt: skip
    stored = printed(
        capsys, "predict", head, "--store", str(made / "store"),
        "--output", str(tmp_path / "stored"),
    )  # fmt: skip
    assert texts["documents"] == stored["documents"] == 60
    assert texts["parts"] == 3
    assert texts["labels"] == stored["labels"]
    one, other = predictions(tmp_path / "texts"), predictions(tmp_path / "stored")
    assert one.schema.names == ["document_id", "label", "score", "scores"]
    assert json.loads(one.schema.metadata[CLASSES_KEY]) == ["water", "words"]
    for name in ("document_id", "label"):
        assert one.column(name).to_pylist() == other.column(name).to_pylist()
    scores = np.array(one.column("scores").to_pylist())
    assert np.allclose(scores, np.array(other.column("scores").to_pylist()), atol=1e-4)
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert np.allclose(scores.max(axis=1), one.column("score").to_numpy())
    topics = pq.read_table(made / "labels.parquet").column("label").to_pylist()[:60]
    assert np.mean([a == b for a, b in zip(one["label"].to_pylist(), topics, strict=True)]) > 0.95


def test_rejects_are_counted(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = printed(
        capsys, "predict", str(made / "head"), str(made / "other.parquet"),
        "--output", str(tmp_path / "out"),
    )  # fmt: skip
    assert (found["documents"], found["rejects"]) == (29, {"blank text": 1})
    [rejects] = (tmp_path / "out" / "_albeam" / "rejects").iterdir()
    assert pq.read_table(rejects)["document_id"].to_pylist() == ["29"]


def test_a_text_of_100_000_characters_is_predicted(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = " ".join(TOPICS["water"] * 4000)[:100_000]
    file = write(tmp_path / "long.parquet", id=["long", "short"], text=[long, "letter paper"])
    out = str(tmp_path / "out")
    found = printed(capsys, "predict", str(made / "head"), str(file), "--output", out)
    assert found["labels"] == {"water": 1, "words": 1}


def test_a_run_resumes_by_part(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "predict", str(made / "head"), str(made / "input.parquet"), "--rows-per-part", "20",
        "--output", str(tmp_path / "out"),
    )  # fmt: skip
    assert printed(capsys, *words)["parts_found_done"] == 0
    before = predictions(tmp_path / "out")
    lost = next((tmp_path / "out").glob("part-00001-*.parquet"))
    lost.write_bytes(lost.read_bytes()[:-1])
    again = printed(capsys, *words)
    assert (again["parts"], again["parts_found_done"]) == (3, 2)
    assert predictions(tmp_path / "out").equals(before)
    assert printed(capsys, *words)["parts_found_done"] == 3


def test_a_stored_plan_reads_what_the_run_was_given(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = write(tmp_path / "secret.parquet", id=["s"], text=["river"])
    for source in ([str(made / "input.parquet")], ["--store", str(made / "store")]):
        words = "predict", str(made / "head"), *source, "--output", str(tmp_path / "out")
        printed(capsys, *words)
        paths = PredictionPaths(str(tmp_path / "out"), "run")
        plan = paths.read_plan()
        assert plan is not None
        other = replace(plan.files[0], url=str(secret))
        Path(paths.plan).write_bytes(replace(plan, files=(other,)).to_json())
        assert main(list(words)) == 1
        assert "plan.json" in capsys.readouterr().err
        shutil.rmtree(tmp_path / "out")


def test_a_folder_with_other_files_is_refused(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = "predict", str(made / "head"), "--output", str(out)
    assert main([*words, "--store", str(made / "store")]) == 0
    assert main([*words, str(made / "input.parquet")]) == 2
    assert "another" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    full = "predict", str(made / "head"), "--output", str(tmp_path / "full")
    assert main([*full, "--store", str(made / "store")]) == 2
    assert "letter.txt" in capsys.readouterr().err


def test_labels_become_a_column_of_the_store(
    made: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = pa.concat_tables(Store.open(str(store)).documents())
    words = "predict", str(made / "head"), "--store", str(store), "--as", "topic"
    found = printed(capsys, *words, "--output", str(tmp_path / "out"))
    assert (found["snapshot"], found["column"], found["documents"]) == (2, "topic", 60)
    opened = Store.open(str(store))
    after = pa.concat_tables(opened.documents())
    kept = [name for name in after.column_names if name != "topic"]
    assert (
        after.select(kept).sort_by("document_id").equals(before.select(kept).sort_by("document_id"))
    )
    by_id = dict(
        zip(*predictions(tmp_path / "out").select([0, 1]).to_pydict().values(), strict=True)
    )
    pairs = after.select(["document_id", "topic"]).to_pylist()
    assert all(by_id[each["document_id"]] == each["topic"] for each in pairs)
    [hits] = opened.search(["river"], k=60, where="topic = 'words'")
    assert {hit.document_id for hit in hits} == {
        i for i, topic in by_id.items() if topic == "words"
    }
    assert main(["verify", str(store), "--deep"]) == 0
    capsys.readouterr()
    # The column is there now.
    assert main(list(words)) == 2
    assert "--as topic" in capsys.readouterr().err


def test_live_documents_of_all_segments_get_labels(
    made: Path, store: Path, albert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(
        store.parent / "more.parquet",
        id=["d0", "new", "blank"], text=["letter paper letter", "river ocean", " "],
        year=[1, 2, 3],
    )  # fmt: skip
    columns = ColumnOptions(metadata=(("year", "year"),))
    embed(embed_options(store, albert, file, columns=columns))
    assert main(["delete", str(store), "d1"]) == 0
    capsys.readouterr()
    words = "predict", str(made / "head"), "--store", str(store), "--as", "topic"
    found = printed(capsys, *words)
    assert (found["documents"], found["rejects"]) == (60, {"blank text": 1})
    opened = Store.open(str(store))
    assert (opened.snapshot.command, len(opened.segments)) == ("predict", 1)
    rows = pa.concat_tables(opened.documents(["document_id", "topic", "year"])).to_pylist()
    by_id = {row["document_id"]: row for row in rows}
    assert by_id.keys() == {f"d{n}" for n in range(60)} - {"d1"} | {"new"}
    assert (by_id["d0"]["topic"], by_id["d0"]["year"]) == ("words", 1)
    assert by_id["new"]["topic"] == "water"


def test_another_writer_is_kept_and_an_unfinished_run_continues(
    made: Path,
    store: Path,
    albert: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = "predict", str(made / "head"), "--store", str(store), "--as", "topic"
    real = filesystem.create_exclusively

    def fail(url: str, content: bytes) -> bool:
        if "/snapshots/" in url:
            raise OSError("the disk is gone")
        return real(url, content)

    monkeypatch.setattr(filesystem, "create_exclusively", fail)
    assert main(list(words)) == 1
    monkeypatch.setattr(filesystem, "create_exclusively", real)
    assert "the disk is gone" in capsys.readouterr().err
    assert Store.open(str(store)).snapshot.number == 1
    written = {file.name: file.stat().st_mtime_ns for file in store.rglob("part-*.parquet")}
    file = write(store.parent / "more.parquet", id=["new"], text=["river ocean"], year=[2])
    columns = ColumnOptions(metadata=(("year", "year"),))
    more = embed_options(store, albert, file, columns=columns)
    overtake(monkeypatch, lambda: embed(more))
    assert printed(capsys, *words)["snapshot"] == 3
    again = {file.name: file.stat().st_mtime_ns for file in store.rglob("part-*.parquet")}
    assert written.items() <= again.items()
    rows = pa.concat_tables(Store.open(str(store)).documents(["document_id"]))
    assert set(rows.column(0).to_pylist()) == {f"d{n}" for n in range(60)} | {"new"}
    [hits] = Store.open(str(store)).search(["river"], k=70, where="topic IS NULL")
    assert [hit.document_id for hit in hits] == ["new"]


def test_a_sync_leaves_the_labels(
    made: Path, store: Path, albert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed(capsys, "predict", str(made / "head"), "--store", str(store), "--as", "topic")
    changed = pq.read_table(made / "input.parquet").slice(0, 59)
    file = store.parent / "changed.parquet"
    pq.write_table(changed, file)
    columns = ColumnOptions(metadata=(("year", "year"),))
    done = embed(embed_options(store, albert, file, columns=columns, mode="sync"))
    assert (done.unchanged, done.removed, done.new, done.changed) == (59, 1, 0, 0)
    table = pa.concat_tables(Store.open(str(store)).documents(["document_id", "topic"]))
    assert table.column("topic").null_count == 0


def test_bad_columns_of_labels_are_refused(
    made: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("year", "text", "_x", " "):
        words = ["predict", str(made / "head"), "--store", str(store), "--as", name]
        assert main(words) == 2
        assert "--as" in capsys.readouterr().err
    assert Store.open(str(store)).snapshot.number == 1


def test_without_scikit_learn_the_error_names_the_extra_to_install(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "sklearn"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    words = "classify", str(made / "store"), str(made / "labels.parquet")
    assert main([*words, "--output", str(tmp_path / "head")]) == 2
    assert "albeam[tasks]" in capsys.readouterr().err


def test_a_head_of_another_encoder_is_refused_by_name(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_model(tmp_path / "other", seed=9)
    embed(embed_options(tmp_path / "store", other, made / "input.parquet"))
    outputs = {"predict": ["--output", str(tmp_path / "out")], "evaluate-task": []}
    for command, rest in outputs.items():
        data = [str(made / "labels.parquet")] if command == "evaluate-task" else []
        words = [command, str(made / "head"), *data, "--store", str(tmp_path / "store"), *rest]
        assert main(words) == 2
        assert str(other) in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--store", "{store}"], ["{made}/input.parquet"], ["--store", "{store}", "--as", "x"]]
)
def test_a_head_that_changes_meanwhile_labels_nothing(
    made: Path, store: Path, tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(shutil.copytree(made / "head", tmp_path / "head"))
    head = read_head(folder)
    real = filesystem.create_exclusively

    def change(url: str, content: bytes) -> bool:
        if url.endswith("plan.json"):
            write_head(folder, replace(head, bias=head.bias + 1), "# Another head")
        return real(url, content)

    monkeypatch.setattr(filesystem, "create_exclusively", change)
    filled = [word.format(store=store, made=made) for word in words]
    output = [] if "--as" in words else ["--output", str(tmp_path / "out")]
    assert main(["predict", folder, *filled, *output]) == 2
    assert Store.open(str(store)).snapshot.number == 1
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_several_labels_a_document(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pq.read_table(made / "labels.parquet").slice(0, 60)
    labels = [["all", name] if name == "water" else ["all"] for name in table["label"].to_pylist()]
    file = write(tmp_path / "labels.parquet", id=table["id"], label=labels)
    words = "classify", str(made / "store"), str(file), "--output", str(tmp_path / "head")
    assert main(list(words)) == 2
    assert "--multi-label" in capsys.readouterr().err
    found = printed(capsys, *words, "--multi-label")
    assert found["metrics"]["confusion"] is None
    measured = printed(
        capsys, "evaluate-task", str(tmp_path / "head"), str(file), "--store", str(made / "store"),
        "--report", str(tmp_path / "report.html"),
    )  # fmt: skip
    assert measured["metrics"]["values"]["accuracy"] > 0.9
    done = printed(
        capsys, "predict", str(tmp_path / "head"), "--store", str(made / "store"),
        "--output", str(tmp_path / "out"),
    )  # fmt: skip
    assert done["labels"]["all"] == 60
    assert predictions(tmp_path / "out").schema.field("label").type == pa.list_(pa.string())


def test_numbers_stay_numbers(
    made: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pq.read_table(made / "labels.parquet").slice(0, 60)
    labels = [7 if name == "water" else -1 for name in table["label"].to_pylist()]
    file = write(tmp_path / "labels.parquet", id=table["id"], label=labels)
    head = str(tmp_path / "head")
    printed(capsys, "classify", str(store), str(file), "--output", head)
    printed(capsys, "predict", head, "--store", str(store), "--as", "code")
    [hits] = Store.open(str(store)).search(["river"], k=60, where="code = 7")
    assert 20 < len(hits) < 40


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "input"),
        ({"inputs": ("a",), "store": "b", "output": "c"}, "input"),
        ({"inputs": ("a",)}, "output"),
        ({"inputs": ("a",), "output": "c", "column": "topic"}, "as"),
        ({"inputs": ("a",), "output": "c", "snapshot": 1}, "snapshot"),
        ({"store": "a", "column": "topic", "snapshot": 1}, "snapshot"),
        ({"store": "a", "output": "c", "rows_per_part": 0}, "rows_per_part"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], named: str) -> None:
    with raises(BadInput, named):
        PredictOptions("head", **options)


def test_a_snapshot_without_a_store_is_refused() -> None:
    with raises(BadInput, "snapshot", 1):
        EvaluateTaskOptions("head", (Path("data"),), snapshot=1)


def test_nothing_is_started_for_a_folder_that_is_no_head(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_job, "run_pipeline", None)
    words = "predict", str(tmp_path), "--store", str(made / "store"), "--output", str(tmp_path)
    assert main(list(words)) == 2
    assert "head.json" in capsys.readouterr().err
