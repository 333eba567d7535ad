"""``albeam index``: another index for a store, and what happens when one is damaged or missed."""

import contextlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.cli import main
from pipeline.maintenance import index, vacuum, verify
from pipeline.maintenance.options import IndexCommandOptions, VacuumOptions
from tests.support.raising import finds_damage, raises
from tests.support.stores import DIM, add_segment, live_ids
from tests.transforms.index.vector.stores import ROWS, few_candidates, make_store, recall_at_10
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.snapshot import read_segment, read_snapshot
from transforms.errors import RecallMissed
from transforms.index.build import build_index
from transforms.index.options import IndexOptions
from transforms.index.vector import faiss_files
from transforms.search.store import Store
from transforms.transactions.commit_job import _CommitFn
from transforms.transactions.removal import remove_documents

pytestmark = pytest.mark.usefixtures("small_shards")


def test_shards_can_be_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path, "Flat")
    capsys.readouterr()
    command = ["index", store, "--index", "IVF8,SQ8", "--recall-target", "0.9", "--shards", "2"]
    assert main([*command, "--json"]) == 0
    captured = capsys.readouterr()
    assert "segment one: IVF8,SQ8 for 1,200 × 8" in captured.err
    [info] = Store.open(store).segments
    assert info.index is not None
    assert [shard.rows for shard in info.index.shards] == [ROWS // 2, ROWS // 2]
    value = json.loads(captured.out)
    assert (value["reasons"], value["shards"]) == ({"one": info.index.why}, 2)


def test_a_target_that_is_missed_publishes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few_candidates(monkeypatch)
    store = make_store(tmp_path, "Flat")
    with raises(RecallMissed, "index", "PQ2x4", "0.99"):
        index.run(store, IndexCommandOptions(IndexOptions("PQ2x4", 0.99)))
    assert main(["index", store, "--index", "PQ2x4", "--recall-target", "0.99"]) == 3
    assert "Run again with a lower --recall-target" in capsys.readouterr().err
    assert read_snapshot(store).number == 1
    vacuum.run(store, VacuumOptions(keep=1, older_than=-60))
    verify.run(store)
    assert recall_at_10(store, np.ones(ROWS, bool)) == 1.0


def test_another_index_takes_the_place_of_the_first_and_the_first_is_kept_for_its_readers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(tmp_path, "Flat")
    add_segment(store, "two", {f"e{n}": 1 for n in range(40)}, seed=5)
    remove_documents(store, ["d0001", "e3"])
    before = live_ids(store)
    assert main(["index", store, "--index", "IVF8,SQ8", "--recall-target", "0.9", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["factories"] == {"one": "IVF8,SQ8", "two": "IVF8,SQ8"}
    assert (done["snapshot"], done["segments"], done["passages"]) == (4, 2, ROWS + 40)
    assert done["recall"] >= 0.9
    assert live_ids(store) == before
    kinds = [
        [read_segment(store, ref).index.factory for ref in read_snapshot(store, n).segments]
        for n in (3, 4)
    ]
    assert kinds == [["Flat", "Flat"], ["IVF8,SQ8", "IVF8,SQ8"]]
    verify.run(store)
    live = np.ones(ROWS + 40, bool)
    live[[1, ROWS + 3]] = False
    assert recall_at_10(store, live) >= 0.85
    # The index of the same options exists already.
    assert index.run(store, IndexCommandOptions(IndexOptions("IVF8,SQ8", 0.9))).snapshot == 4
    vacuum.run(store, VacuumOptions(keep=1, older_than=-60))
    verify.run(store)
    assert recall_at_10(store, live) >= 0.85
    assert main(["index", store, "--index", "flat"]) == 0
    assert "Flat in 4 shards over 1,240 passages in 2 segments" in capsys.readouterr().out
    assert recall_at_10(store, live) == 1.0


def test_an_index_that_was_built_is_not_built_again_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path, "Flat")
    options = IndexOptions("IVF8,SQ8", 0.9)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(index, "commit_indexes", killed)
        with pytest.raises(KeyboardInterrupt):
            index.run(store, IndexCommandOptions(options))
    with monkeypatch.context() as patched:
        patched.setattr(index, "run_pipeline", killed)
        assert index.run(store, IndexCommandOptions(options)).snapshot == 2
    verify.run(store)


@pytest.mark.parametrize("file", ["shard", "raw", "trained", "index-"])
def test_a_damaged_file_of_an_index_is_named(tmp_path: Path, file: str) -> None:
    store = make_store(tmp_path, "Flat")
    index.run(store, IndexCommandOptions(IndexOptions("IVF8,SQ8", 0.9)))
    folder = Path(SegmentPaths(store, "one").index)
    current = read_segment(store, read_snapshot(store).segments[0]).index
    assert current is not None
    names = {each.name for each in current.files} | {p.name for p in folder.glob("index-*")}
    path = folder / min(name for name in names if name.startswith(file))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with finds_damage(store, path):
        verify.run(store)
    path.write_bytes(content[:-3])
    with finds_damage(store, path):
        verify.run(store)
    path.unlink()
    with finds_damage(store, path):
        verify.run(store)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("file", ["shard", "raw", "trained"])
def test_a_damaged_index_is_built_anew(
    tmp_path: Path, file: str, again: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(tmp_path, "IVF8,SQ8")
    command = ["index", store, "--index", "IVF8,SQ8", "--recall-target", "0.9"]
    if again:
        assert main(command) == 0
    [info] = Store.open(store).segments
    assert info.index is not None
    name = min(each.name for each in info.index.files if each.name.startswith(file))
    path = Path(SegmentPaths(store, "one").index) / name
    path.write_bytes(path.read_bytes()[:-3] + b"odd")
    assert main(["verify", store]) == 1
    said = capsys.readouterr().err
    assert str(path) in said
    assert "albeam index STORE" in said
    assert main(command) == 0
    verify.run(store)
    assert recall_at_10(store, np.ones(ROWS, bool)) >= 0.85


def test_a_graph_that_was_not_asked_for_and_misses_is_published_and_scanned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("transforms.index.vector.selection._EXACT_BYTES", 100)
    few_candidates(monkeypatch)
    monkeypatch.setattr("transforms.index.vector.faiss_factory._MAX_EF", 16)
    monkeypatch.setattr("transforms.index.vector.selection._GRAPH_LINKS", 2)
    store = make_store(tmp_path, "Flat")
    with raises(RecallMissed, "index", "HNSW2"):
        index.run(store, IndexCommandOptions(IndexOptions("hnsw", 0.9999)))
    assert main(["index", store, "--index", "auto", "--recall-target", "0.9999"]) == 0
    [info] = Store.open(store).segments
    assert info.index is not None
    assert info.index.factory == "HNSW2"
    assert [setting.value for setting in info.index.settings] == [0]
    assert info.index.why.endswith(": each search scans all float16 vectors")
    assert recall_at_10(store, np.ones(ROWS, bool)) >= 0.999
    assert recall_at_10(store, np.arange(ROWS) % 2 == 0, "year % 2 = 0") >= 0.999
    capsys.readouterr()
    assert main(["tune", store, "--queries", "9", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["setting"] for row in rows if row["chosen"]] == [0]
    assert rows[0]["recall_at_10"] == 1.0


def test_an_existing_manifest_gets_the_index_that_was_built_now(tmp_path: Path) -> None:
    store = make_store(tmp_path, "Flat")
    [info] = Store.open(store).segments
    index.run(store, IndexCommandOptions(IndexOptions("HNSW16", 0.8)))
    # The vacuum removes the first index, which nothing uses any more.
    vacuum.run(store, VacuumOptions(keep=1, older_than=-60))
    paths = SegmentPaths(store, "one")
    made = build_index(paths, info.parts, DIM, IndexOptions("IVF8,SQ8", 0.8))
    [_] = _CommitFn(store, "replace", "test").process(replace(info, index=made))
    [now] = Store.open(store).segments
    assert now.index == made
    verify.run(store)
    assert recall_at_10(store, np.ones(ROWS, bool)) >= 0.75


def test_all_segments_are_claimed_until_the_last_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path, "Flat")
    add_segment(store, "two", {f"e{n}": 1 for n in range(400)}, seed=5)
    claimed: list[str] = []

    def renew_claims(*segments: SegmentPaths) -> Any:
        claimed.extend(paths.name for paths in segments)
        return contextlib.nullcontext()

    monkeypatch.setattr(index, "renew_claims", renew_claims)
    index.run(store, IndexCommandOptions(IndexOptions("IVF8,SQ8", 0.8)))
    assert claimed == ["one", "two"]


def test_an_index_that_can_not_be_read_back_is_not_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path, "Flat")
    write = faiss_files.write_index

    def torn(made: Any, path: str) -> None:
        write(made, path)
        if made.ntotal:
            os.truncate(path, os.path.getsize(path) - 40)

    monkeypatch.setattr(faiss_files, "write_index", torn)
    assert main(["index", store, "--index", "IVF8,SQ8", "--recall-target", "0.5"]) == 2
    assert "IVF8,SQ8: FAISS can't read back the index" in capsys.readouterr().err
    assert read_snapshot(store).number == 1
