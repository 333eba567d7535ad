"""``albeam embed --classify``: labels are a metadata column of what is embedded."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from pipeline.ingest.embed import run as embed
from pipeline.ingest.options import EmbedOptions
from tests.pipeline.tasks.test_tasks import corpus, write
from tests.support.commands import printed
from tests.support.models import make_model
from tests.support.options import embed_options
from tests.support.raising import raises
from transforms import Store
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.options import ColumnOptions, LabelColumn
from transforms.errors import BadInput, Damaged
from transforms.storage import filesystem

YEAR = ColumnOptions(metadata=(("year", "year"),))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, albert: Path) -> Path:
    """Folder with an input, a store of it without labels, and heads."""
    folder = tmp_path_factory.mktemp("labels")
    texts, topics = corpus(60, seed=1)
    ids = [f"d{number}" for number in range(60)]
    input_ = write(folder / "input.parquet", id=ids, text=texts, year=list(range(60)))
    embed(embed_options(folder / "store", albert, input_, columns=YEAR))
    other = {"water": "words", "words": "water"}
    numbers = {"water": 7, "words": -1}
    kinds: dict[str, list[Any]] = {
        "topics": topics,
        "swapped": [other[name] for name in topics],
        "numbers": [numbers[name] for name in topics],
        "several": [["all", name] if name == "water" else ["all"] for name in topics],
    }
    for name, labels in kinds.items():
        file = write(folder / f"{name}.parquet", id=ids, label=labels)
        words = ["classify", str(folder / "store"), str(file), "--output", str(folder / name)]
        assert main([*words, *(["--multi-label"] if name == "several" else [])]) == 0
    return folder


@pytest.fixture
def options(made: Path, tmp_path: Path, albert: Path) -> EmbedOptions:
    return labelling(made, tmp_path / "store", albert)


def labelling(
    made: Path, store: Path, albert: Path, head: str = "topics", **changes: Any
) -> EmbedOptions:
    values = {"columns": YEAR, "rows_per_part": 25, "label_column": "topic"} | changes
    return embed_options(store, albert, made / "input.parquet", classify=str(made / head), **values)


def labels_of(store: str, column: str = "topic") -> dict[str, Any]:
    """Return the label of each document, after a check that its passages agree."""
    found: dict[str, Any] = {}
    for table in Store.open(store).documents(["document_id", column]):
        for row in table.to_pylist():
            label = row.get(column)
            assert found.setdefault(row["document_id"], label) == label
    return found


def predicted(store: str, head: Path, output: Path) -> dict[str, Any]:
    """Return the label that ``albeam predict`` gives each document of a store."""
    assert main(["predict", str(head), "--store", store, "--output", str(output)]) == 0
    table = pq.read_table(output, columns=["document_id", "label"])
    return dict(zip(*(column.to_pylist() for column in table.columns), strict=True))


@pytest.mark.parametrize("vector_dtype", ["float32", "float16"])
def test_documents_have_the_labels_that_predict_gives_them(
    made: Path, albert: Path, tmp_path: Path, vector_dtype: str
) -> None:
    options = labelling(made, tmp_path / "store", albert, vector_dtype=vector_dtype)
    summary = embed(options)
    assert (summary.documents, summary.parts, summary.new) == (60, 3, 60)
    # Some documents have several passages.
    assert summary.passages > 60
    found = labels_of(options.store)
    assert found == predicted(options.store, made / "topics", tmp_path / "out")
    assert set(found.values()) == {"water", "words"}
    [hits] = Store.open(options.store).search(["river"], k=60, where="topic = 'words'")
    assert {hit.document_id for hit in hits} == {i for i, at in found.items() if at == "words"}
    assert main(["verify", options.store, "--deep"]) == 0
    assert "Nothing to do" in embed(options).notice


def test_the_command_takes_head_and_column(
    made: Path, albert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(tmp_path / "store")
    done = printed(
        capsys, "embed", str(made / "input.parquet"), "--store", store, "--model", str(albert),
        "--max-tokens", "48", "--classify", str(made / "topics"), "--as", "topic",
    )  # fmt: skip
    assert done["documents"] == 60
    words = "search", store, "letter", "-k", "60", "--where", "topic = 'words'"
    assert {hit["metadata"]["topic"] for hit in printed(capsys, *words)} == {"words"}


@pytest.mark.parametrize("mode", ["append", "sync"])
def test_documents_that_are_there_get_labels_and_keep_their_vectors(
    made: Path, albert: Path, tmp_path: Path, mode: str
) -> None:
    store = str(shutil.copytree(made / "store", tmp_path / "store"))
    columns = ["document_id", "passage", "vector", "year"]
    before = pa.concat_tables(Store.open(store).documents(columns))
    options = labelling(made, Path(store), albert, mode=mode)
    done = embed(options)
    assert (done.metadata, done.new, done.changed, done.unchanged) == (60, 0, 0, 0)
    assert done.model_loads == 0
    order = [("document_id", "ascending"), ("passage", "ascending")]
    after = pa.concat_tables(Store.open(store).documents(columns))
    assert after.sort_by(order).equals(before.sort_by(order))
    found = labels_of(store)
    assert found == predicted(store, made / "topics", tmp_path / "out")
    # Another head gives other labels, and the same vectors.
    swapped = labelling(made, Path(store), albert, "swapped", mode=mode)
    assert embed(swapped).metadata == 60
    assert labels_of(store) == predicted(store, made / "swapped", tmp_path / "out2")
    assert labels_of(store) != found
    assert main(["verify", store, "--deep"]) == 0


def test_new_and_changed_documents_are_labelled_and_others_stay(
    made: Path, albert: Path, tmp_path: Path, options: EmbedOptions
) -> None:
    embed(options)
    table = pq.read_table(made / "input.parquet").slice(0, 59)
    texts = ["paper letter paper", *table.column("text").to_pylist()[1:]]
    table = table.set_column(1, "text", pa.array(texts))
    more = pa.table({"id": ["new"], "text": ["ocean river ocean"], "year": [7]})
    file = write(tmp_path / "next.parquet", **pa.concat_tables([table, more]).to_pydict())
    store = Path(options.store)
    done = embed(labelling(made, store, albert, inputs=(str(file),), mode="sync"))
    assert (done.new, done.changed, done.metadata, done.removed) == (1, 1, 0, 1)
    assert done.unchanged == 58
    found = labels_of(options.store)
    assert (found["new"], found["d0"], len(found)) == ("water", "words", 60)
    assert found == predicted(options.store, made / "topics", tmp_path / "out")
    # Without a head, the label is a column that the input lacks.
    done = embed(embed_options(store, albert, file, columns=YEAR))
    assert (done.metadata, done.unchanged) == (60, 0)
    assert "topic" in done.notice
    assert set(labels_of(options.store).values()) == {None}


def test_replace_starts_anew(made: Path, albert: Path, options: EmbedOptions) -> None:
    embed(options)
    store = Path(options.store)
    done = embed(labelling(made, store, albert, "numbers", mode="replace"))
    assert done.new == 60
    assert Store.open(options.store).segments[0].metadata.field("topic").type == pa.int64()
    assert set(labels_of(options.store).values()) == {7, -1}


def test_compaction_index_and_delete_keep_labels(
    made: Path, options: EmbedOptions, albert: Path, tmp_path: Path
) -> None:
    embed(options)
    file = write(tmp_path / "more.parquet", id=["new"], text=["letter paper"], year=[1])
    embed(embed_options(options.store, albert, file, columns=YEAR))
    before = labels_of(options.store)
    assert before["new"] is None
    assert main(["delete", options.store, "d3"]) == 0
    assert main(["compact", options.store, "--max-segments", "1"]) == 0
    assert main(["index", options.store, "--index", "Flat"]) == 0
    del before["d3"]
    assert labels_of(options.store) == before
    assert main(["verify", options.store, "--deep"]) == 0
    # The same input with its labels changes nothing but what was deleted.
    done = embed(options)
    assert (done.new, done.metadata, done.unchanged) == (1, 0, 59)


def test_a_half_done_run_resumes_and_another_head_does_not(
    made: Path, albert: Path, options: EmbedOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = filesystem.create_exclusively

    def fail(url: str, content: bytes) -> bool:
        if url.endswith("part-00002.json"):
            raise OSError("the disk is gone")
        return real(url, content)

    monkeypatch.setattr(filesystem, "create_exclusively", fail)
    with pytest.raises(Exception, match="the disk is gone"):
        embed(options)
    monkeypatch.setattr(filesystem, "create_exclusively", real)
    other = labelling(made, Path(options.store), albert, "swapped")
    assert embed(other).parts_found_done == 0
    swapped = labels_of(options.store)
    shutil.rmtree(Path(options.store) / "snapshots")
    done = embed(options)
    assert done.parts_found_done == 2
    found = labels_of(options.store)
    assert {i: {"water", "words"} - {at} for i, at in swapped.items()} == {
        i: {at} for i, at in found.items()
    }


def test_a_stored_plan_must_have_the_column(
    options: EmbedOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(url: str, content: bytes) -> bool:
        if "/snapshots/" in url:
            raise OSError("the disk is gone")
        return real(url, content)

    real = filesystem.create_exclusively
    monkeypatch.setattr(filesystem, "create_exclusively", fail)
    with pytest.raises(Exception, match="the disk is gone"):
        embed(options)
    monkeypatch.setattr(filesystem, "create_exclusively", real)
    [root] = (Path(options.store) / "segments").iterdir()
    paths = SegmentPaths(options.store, root.name)
    plan = paths.read_plan()
    assert plan is not None
    assert plan.schema.names == ["year", "topic"]
    label = plan.columns.label
    assert label is not None
    for columns, schema in (
        (ColumnOptions(metadata=YEAR.metadata), plan.schema),
        (ColumnOptions(metadata=YEAR.metadata, label=LabelColumn("topic", "0" * 64)), plan.schema),
        (plan.columns, pa.schema([plan.schema.field("year")])),
    ):
        forged = type(plan)(plan.files, columns, schema, plan.parts)
        Path(paths.plan).write_bytes(forged.to_json())
        with raises(Damaged, "file") as caught:
            embed(options)
        assert "other columns" in caught.value.problem
    Path(paths.plan).write_bytes(plan.to_json())
    assert embed(options).documents == 60


def test_several_labels_are_a_column_of_lists(made: Path, albert: Path, tmp_path: Path) -> None:
    options = labelling(made, tmp_path / "store", albert, "several")
    embed(options)
    found = labels_of(options.store)
    assert found == predicted(options.store, made / "several", tmp_path / "out")
    assert {tuple(labels) for labels in found.values()} == {("all",), ("all", "water")}
    [hits] = Store.open(options.store).search(
        ["river"], k=60, where="list_contains(topic, 'water')"
    )
    assert {hit.document_id for hit in hits} == {i for i, at in found.items() if "water" in at}
    assert main(["verify", options.store, "--deep"]) == 0


def test_all_columns_and_labels(made: Path, albert: Path, tmp_path: Path) -> None:
    every = ColumnOptions(all_columns=True)
    options = labelling(made, tmp_path / "store", albert, columns=every)
    embed(options)
    assert Store.open(options.store).segments[0].metadata.names == ["year", "topic"]
    assert labels_of(options.store) == predicted(options.store, made / "topics", tmp_path / "out")


def test_rejects_are_counted_and_have_no_label(made: Path, albert: Path, tmp_path: Path) -> None:
    texts = ["river ocean", " ", None, "letter paper"]
    file = write(tmp_path / "input.parquet", id=list("abcd"), text=texts, year=[1, 2, 3, 4])
    options = labelling(made, tmp_path / "store", albert, inputs=(str(file),))
    done = embed(options)
    assert done.rejects == {"blank text": 1, "null text": 1}
    assert labels_of(options.store) == {"a": "water", "d": "words"}


@pytest.mark.parametrize(
    ("changes", "option", "problem"),
    [
        ({"label_column": "year"}, "as", "metadata column of the input"),
        ({"label_column": "id"}, "as", "is a column of"),
        ({"label_column": "year", "columns": ColumnOptions()}, "as", "is a column of"),
        ({"label_column": "text"}, "as", "no name"),
        ({"label_column": "_topic"}, "as", "no name"),
        ({"label_column": " "}, "as", "no name"),
        ({"classify": "nowhere"}, "classify", "not a folder"),
    ],
)
def test_columns_and_heads_that_do_not_fit_are_refused(
    made: Path, albert: Path, tmp_path: Path, changes: dict[str, Any], option: str, problem: str
) -> None:
    options = labelling(made, tmp_path / "store", albert)
    values = {**vars(options), **changes}
    with raises(BadInput, option) as caught:
        embed(EmbedOptions(**values))
    assert problem in caught.value.problem
    assert not (tmp_path / "store" / "snapshots").exists()


def test_a_column_of_folders_is_a_column_of_the_input(
    made: Path, albert: Path, tmp_path: Path
) -> None:
    (tmp_path / "in" / "topic=5").mkdir(parents=True)
    shutil.copy(made / "input.parquet", tmp_path / "in" / "topic=5")
    inputs = (str(tmp_path / "in"),)
    with raises(BadInput, "as", "topic"):
        embed(labelling(made, tmp_path / "store", albert, inputs=inputs))


def test_a_watch_takes_the_options(
    albert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["watch", str(tmp_path), "--store", str(tmp_path / "store"), "--model", str(albert)]
    more = ["--runner", "flink", "--classify", str(tmp_path / "nowhere"), "--as", "topic"]
    assert main([*words, *more]) == 2
    assert f"--classify {tmp_path / 'nowhere'}" in capsys.readouterr().err


def test_one_of_the_two_options_is_refused(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with raises(BadInput, "classify", str(made / "topics")):
        EmbedOptions(("a",), "b", embed_options("s", "m").model, classify=str(made / "topics"))
    with raises(BadInput, "as", "topic"):
        EmbedOptions(("a",), "b", embed_options("s", "m").model, label_column="topic")
    assert main(["embed", "a", "--store", "b", "--as", "topic"]) == 2
    assert "--classify HEAD" in capsys.readouterr().err


def test_a_head_of_another_encoder_or_of_a_whole_network_is_refused(
    made: Path, albert: Path, tmp_path: Path
) -> None:
    other = make_model(tmp_path / "other", seed=9)
    with raises(BadInput, "classify", str(made / "topics")) as caught:
        embed(labelling(made, tmp_path / "store", other))
    assert str(albert) in caught.value.problem
    network = tmp_path / "network"
    network.mkdir()
    (network / "head.json").write_text('{"version": 1, "kind": "network"}')
    with raises(BadInput, "classify", str(network)) as caught:
        embed(labelling(made, tmp_path / "store", albert, str(network)))
    assert "albeam predict" in caught.value.remedy


def test_a_store_whose_column_has_another_type_is_refused(
    made: Path, albert: Path, tmp_path: Path
) -> None:
    values = pq.read_table(made / "input.parquet").append_column("topic", pa.array(range(60)))
    file = write(tmp_path / "numbers.parquet", **values.to_pydict())
    embed(embed_options(tmp_path / "store", albert, file))
    options = labelling(made, tmp_path / "store", albert)
    with raises(BadInput, "as", "topic") as caught:
        embed(options)
    assert "int64" in caught.value.problem
    # Numbers fit.
    embed(labelling(made, tmp_path / "store", albert, "numbers"))
    assert set(labels_of(options.store).values()) == {7, -1}


def test_a_worker_with_another_head_fails(
    made: Path, albert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = Path(shutil.copytree(made / "topics", tmp_path / "head"))
    options = labelling(made, tmp_path / "store", albert, str(head))
    real = filesystem.create_exclusively

    def swap(url: str, content: bytes) -> bool:
        if url.endswith("plan.json"):
            shutil.copytree(made / "swapped", head, dirs_exist_ok=True)
        return real(url, content)

    monkeypatch.setattr(filesystem, "create_exclusively", swap)
    with pytest.raises(BadInput, match="another head"):
        embed(options)
    shutil.copytree(made / "topics", head, dirs_exist_ok=True)
    monkeypatch.setattr(filesystem, "create_exclusively", real)
    assert embed(options).documents == 60
    vectors = pa.concat_tables(Store.open(options.store).documents(["vector"]))
    assert pc.sum(pc.is_null(vectors.column(0))).as_py() == 0
    assert np.isin(list(labels_of(options.store).values()), ["water", "words"]).all()
