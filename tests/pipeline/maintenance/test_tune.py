"""``albeam tune``: the recall and time of every setting."""

import json
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli import main
from tests.support.stores import add_segment
from tests.transforms.index.vector.stores import ROWS, make_store, recall_at_10, shards_of
from transforms.evaluation.plots import best_rows
from transforms.search.store import Store
from transforms.transactions.removal import remove_documents

pytestmark = pytest.mark.usefixtures("small_shards")


def test_every_setting_is_measured_and_the_used_one_is_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(tmp_path, "IVF8,SQ8")
    remove_documents(store, ["d0003"])
    plot = tmp_path / "tune.svg"
    assert main(["tune", store, "--queries", "50", "--plot", str(plot), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    rows = said["rows"]
    assert [row["setting"] for row in rows] == [1, 2, 4, 8]
    assert (said["queries"], said["factories"]) == (50, ["IVF8,SQ8"])
    recalls = [row["recall_at_10"] for row in rows]
    assert recalls == sorted(recalls)
    assert recalls[0] < recalls[-1] == 1.0
    assert all(row["milliseconds"] > 0 for row in rows)
    settings = Store.open(store).segments[0].index.settings
    assert [row["setting"] for row in rows if row["chosen"]] == [settings[0].value]
    circles = ElementTree.parse(plot).getroot().findall(".//{http://www.w3.org/2000/svg}circle")
    kinds = [circle.get("class") for circle in circles]
    assert sorted(kinds) == ["dot", "dot", "dot", "dot chosen"]
    assert main(["tune", store, "--queries", "5"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[1].split() == ["setting", "recall@10", "recall@100", "ms", "a", "query"]
    assert sum("<- used" in line for line in table) == 1


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8))
def test_the_line_joins_what_no_quicker_setting_equals(pairs: list[tuple[int, int]]) -> None:
    rows = [{"milliseconds": float(ms), "recall_at_10": recall / 10} for ms, recall in pairs]
    best = [pairs[n] for n in best_rows(rows)]
    for ms, recall in pairs:
        assert any(theirs <= ms and found >= recall for theirs, found in best)
    assert all(one[0] < two[0] and one[1] < two[1] for one, two in pairwise(best))


def test_what_can_not_be_tuned_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = make_store(tmp_path, "Flat")
    assert main(["tune", exact, "--queries", "5", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)["rows"]
    assert (row["setting"], row["recall_at_10"], row["chosen"]) == (0, 1.0, True)
    assert main(["tune", exact, "--queries", "0"]) == 2
    assert "--queries 0: must be at least 1" in capsys.readouterr().err
    monkeypatch.setattr(
        "transforms.search.dense.Dense.exact_nearest", lambda *_: pytest.fail("it measures")
    )
    (tmp_path / "folder.svg").mkdir()
    for name, why in (
        ("tune.png", "Give a file name that ends in .svg"),
        ("tune", "Give a file name that ends in .svg"),
        ("none/tune.svg", "is in a folder that does not exist"),
        ("folder.svg", "is a folder"),
    ):
        assert main(["tune", exact, "--plot", str(tmp_path / name)]) == 2
        assert why in capsys.readouterr().err
    bare = str(tmp_path / "bare")
    add_segment(bare, "one", {"a": 1}, index=None)
    assert main(["tune", bare]) == 2
    assert "Build one with albeam index" in capsys.readouterr().err
    remove_documents(bare, ["a"])
    assert main(["tune", bare]) == 2
    assert "has no passage" in capsys.readouterr().err


def test_an_index_that_can_not_skip_rows_is_scanned_where_some_are_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shards_of(monkeypatch, ROWS)
    store = make_store(tmp_path, "Flat")
    command = ["index", store, "--index", "IVF8,RQ2x4", "--recall-target", "0.1"]
    assert main(command) == 0
    said = "a search that excludes rows scans the float16 vectors instead"
    assert said in capsys.readouterr().err
    remove_documents(store, ["d0003"])
    assert main(["tune", store, "--queries", "20", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["recall_at_10"] for row in rows} == {1.0}
    # Bare rows have half the bits.
    assert recall_at_10(store, np.arange(ROWS) != 3) > 0.99
