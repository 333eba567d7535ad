"""What a run leaves out of its input: it is counted, and a sync removes nothing because of it."""

import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.ingest.embed import run
from pipeline.ingest.options import EmbedOptions
from tests.pipeline.ingest.test_sync import TEXTS, make_options, rows_of, write
from transforms.errors import BadInput
from transforms.transactions.removal import remove_documents


@pytest.fixture
def options(tmp_path: Path, albert: Path) -> EmbedOptions:
    return replace(make_options(tmp_path, albert), inputs=(str(tmp_path / "in"),))


def put(folder: Path, name: str, *ids: str) -> Path:
    """A file with these documents."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, list(ids), [(TEXTS[sum(map(ord, each)) % len(TEXTS)], 1) for each in ids])
    return path


def live(options: EmbedOptions) -> set[str]:
    return {document for document, _ in rows_of(options.store)}


def test_a_sync_keeps_the_documents_of_a_file_that_is_hidden_now(
    options: EmbedOptions, tmp_path: Path
) -> None:
    put(tmp_path / "in", "a.parquet", "a1", "a2")
    hidden = put(tmp_path / "in", "_old/h.parquet", "h1", "h2")
    run(replace(options, inputs=(*options.inputs, str(hidden))))
    for inputs in (options.inputs, (f"{options.inputs[0]}/**/*.parquet",)):
        with pytest.raises(BadInput) as caught:
            run(replace(options, inputs=inputs, mode="sync"))
        assert (caught.value.option, caught.value.value) == ("input file", str(hidden))
        assert "2 documents" in caught.value.problem
    assert live(options) == {"a1", "a2", "h1", "h2"}
    assert {path.name for path in (tmp_path / "store" / "segments").iterdir()} == {
        run(replace(options, inputs=(*options.inputs, str(hidden)))).segment
    }
    # An append removes nothing, and a sync that names the file keeps what it has.
    assert run(options).left_out == {"hidden name": 1}
    both = replace(options, inputs=(*options.inputs, str(hidden)), mode="sync")
    put(tmp_path / "in", "a.parquet", "a1", "a3")
    assert run(both).removed == 1
    assert live(options) == {"a1", "a3", "h1", "h2"}


def test_a_sync_removes_what_is_gone_whatever_lies_hidden(
    options: EmbedOptions, tmp_path: Path
) -> None:
    first = put(tmp_path / "in", "a.parquet", "a1", "a2")
    put(tmp_path / "in", "b.parquet", "b1")
    hidden = put(tmp_path / "in", "_old/h.parquet", "h1")
    # The store has nothing of this copy.
    put(tmp_path / "in", ".checkpoints/a.parquet", "a1", "a2")
    run(replace(options, inputs=(*options.inputs, str(hidden))))
    sync = replace(options, mode="sync")
    remove_documents(options.store, ["h1"])
    first.rename(first.with_name("_a.parquet"))
    assert run(sync).removed == 2
    assert live(options) == {"b1"}
    run(replace(options, inputs=(str(hidden),)))
    hidden.unlink()
    assert run(sync).removed == 1
    assert live(options) == {"b1"}


def test_what_was_left_out_is_counted_in_the_summary_and_in_the_plan(
    options: EmbedOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "in", "a.parquet", "a1", "a2")
    put(tmp_path / "in", ".ipynb_checkpoints/a.parquet", "a1")
    (tmp_path / "in" / "_SUCCESS").touch()
    (tmp_path / "in" / "README").touch()
    (tmp_path / "in" / "again").symlink_to(".")
    counts = {"another suffix": 1, "hidden name": 2, "listed already": 1}
    words = ("--model", str(options.model.model), "--device", "cpu", "--dtype", "float32")
    folder = options.inputs[0]
    assert main(["plan", folder, *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == counts
    assert main(["embed", folder, "--store", options.store, *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == counts
    for line in (["plan", folder], ["embed", folder, "--store", options.store]):
        assert main([*line, *words]) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "left out 1 another suffix, 2 hidden name, 1 listed already" in shown
    assert main(["plan", f"{folder}/a.parquet", *words]) == 0
    assert "left out" not in capsys.readouterr().out


def test_a_store_inside_its_input_can_be_synced(
    options: EmbedOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "in", "a.parquet", "a1", "a2")
    monkeypatch.chdir(tmp_path / "in")
    inside = replace(options, inputs=(".",), store="store", mode="sync")
    assert run(inside).new == 2
    again = run(inside)
    assert (again.unchanged, again.left_out) == (2, {"in a store": 1})
    put(tmp_path / "in", "b.parquet", "b1")
    assert (run(inside).new, run(replace(inside, store=".")).new) == (1, 3)
    assert run(replace(inside, store=".", inputs=("*.parquet",))).unchanged == 3


def test_links_are_the_files_that_they_lead_to(options: EmbedOptions, tmp_path: Path) -> None:
    put(tmp_path / "in", "a.parquet", "a1")
    put(tmp_path, "blobs/b.parquet", "b1").rename(tmp_path / "blobs" / "9c0e")
    put(tmp_path, "more/c.parquet", "c1")
    put(tmp_path, "other/c.parquet", "d1")
    (tmp_path / "in" / "b.parquet").symlink_to("../blobs/9c0e")
    (tmp_path / "in" / "linked").symlink_to("../more")
    assert run(options).new == 3
    assert run(replace(options, inputs=(f"{options.inputs[0]}/**/*.parquet",))).unchanged == 3
    (tmp_path / "in" / "linked").unlink()
    (tmp_path / "in" / "linked").symlink_to("../other")
    changed = run(replace(options, mode="sync"))
    assert (changed.new, changed.removed, changed.unchanged) == (1, 1, 2)
    assert live(options) == {"a1", "b1", "d1"}


@pytest.mark.parametrize(
    "name",
    ["std::vector.parquet", "data:x.parquet", "100%.parquet", "a%20b.parquet", "C:x.parquet",
     "a[1].parquet", "what?.parquet", "s*r.parquet", " sp ace .parquet", "file:x.parquet",
     "naïve 日本.parquet", "~x.parquet", "a'b\"c.parquet", "a#b.parquet", "zip::x.parquet"],
)  # fmt: skip
def test_any_local_name_is_an_input(
    options: EmbedOptions, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "in", name, "a1")
    monkeypatch.chdir(tmp_path / "in")
    assert run(replace(options, inputs=(name,))).new == 1
    assert run(options).unchanged == 1
    assert run(replace(options, inputs=(f"./{name}",), mode="sync")).unchanged == 1


@pytest.mark.parametrize(
    "names",
    [("runs/12::30", "runs/12::45"), ("data:s", "data:t"), ("a%20b", "a b"), ("s[1]", "s1"),
     ("C:s", "C:t"), ("s#1", "s?1"), ("file:s", "s"), ("zip::s", "zip::t")],
)  # fmt: skip
def test_stores_of_two_names_are_two_stores(
    options: EmbedOptions, tmp_path: Path, names: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(names):
        put(tmp_path / f"in{number}", "a.parquet", f"a{number}")
        done = run(replace(options, inputs=(f"in{number}",), store=name))
        assert (done.snapshot, done.store) == (1, os.path.join(tmp_path.resolve(), name))
    for number, name in enumerate(names):
        assert live(replace(options, store=name)) == {f"a{number}"}
    assert main(["verify", names[0]]) == 0


def test_files_of_an_archive_are_an_input(options: EmbedOptions, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a", "b", "_c"):
            archive.write(
                put(tmp_path, f"{name}.parquet", f"{name}1", f"{name}2"), f"in/{name}.parquet"
            )
    packed = replace(options, inputs=(f"zip://in::{tmp_path}/x.zip",), mode="sync")
    assert (run(packed).new, run(packed).unchanged) == (4, 4)
    packed = replace(packed, inputs=(f"simplecache::zip://in/a*::file://{tmp_path}/x.zip",))
    assert (run(packed).unchanged, live(options)) == (2, {"a1", "a2"})
