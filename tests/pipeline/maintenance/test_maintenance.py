"""The commands that change a store without a model: their output and their exit codes."""

import os
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.support.commands import printed
from tests.support.stores import add_segment, always_overtake, live_ids
from transforms.catalog.snapshot import snapshot_numbers
from transforms.transactions.commits import roll_back


@pytest.fixture
def store(tmp_path: Path) -> str:
    store = str(tmp_path / "store")
    add_segment(store, "one", {f"a{n}": 2 for n in range(6)}, parts=2, seed=1)
    add_segment(store, "two", {f"b{n}": 1 for n in range(4)}, seed=2)
    return store


def fails(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> str:
    assert main(list(words)) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("albeam: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_delete_takes_ids_as_words(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    value = printed(capsys, "delete", store, "a1", "b2", "nobody")
    assert value == {
        "store": store, "snapshot": 3, "documents": 2, "passages": 3, "missing": 1,
        "missing_ids": ["nobody"],
    }  # fmt: skip
    assert len(live_ids(store)) == 8
    assert main(["delete", store, "a2", "nobody"]) == 0
    out = capsys.readouterr().out
    assert "1 document deleted (2 passages); snapshot 4" in out
    assert "1 id not in the store: 'nobody'" in out
    assert main(["delete", store, "nobody"]) == 0
    assert (
        "0 documents deleted (0 passages); snapshot 4 stays the newest" in capsys.readouterr().out
    )


def test_delete_takes_ids_from_a_file(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ids.txt"
    path.write_text("a1\r\n\n  \nb2\nä é\n", encoding="utf-8")
    value = printed(capsys, "delete", store, "--ids", str(path))
    assert (value["documents"], value["missing_ids"]) == (2, ["ä é"])


def test_an_id_may_start_with_a_dash_or_hold_spaces(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(tmp_path / "store")
    # Python ends a line at U+2028 and U+0085, but an id may contain them.
    names = ["-x", " a b ", "p\u2028q", "r\x85s", "t\x0cu", "v"]
    add_segment(store, "one", dict.fromkeys(names, 1))
    (tmp_path / "ids").write_text("\n".join(names[:-1]), encoding="utf-8")
    assert printed(capsys, "delete", store, "--ids", str(tmp_path / "ids"))["documents"] == 5
    assert live_ids(store) == ["v"]


def test_delete_refuses_wrong_ids(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ids").write_text("a1\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "Give IDs, or --ids FILE" in fails(capsys, 2, "delete", store)
    both = fails(capsys, 2, "delete", store, "a1", "--ids", str(tmp_path / "ids"))
    assert "Give IDs, or --ids FILE" in both
    empty = fails(capsys, 2, "delete", store, "--ids", str(tmp_path / "empty"))
    assert "ids: are missing" in empty
    for name in ("binary", "missing"):
        assert name in fails(capsys, 2, "delete", store, "--ids", str(tmp_path / name))
    assert "is not a store" in fails(capsys, 2, "delete", str(tmp_path / "x"), "a1")
    assert snapshot_numbers(store) == [1, 2]


def test_delete_ends_with_exit_code_4_if_other_writers_are_always_faster(
    store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    always_overtake(monkeypatch, store)
    assert "Run again" in fails(capsys, 4, "delete", store, "a1")


def test_rollback_makes_a_new_snapshot(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "rollback", store, "1") == {
        "store": store, "snapshot": 3, "documents": 6,
    }  # fmt: skip
    assert main(["rollback", store, "2"]) == 0
    assert "snapshot 4 has the content of 2: 10 documents" in capsys.readouterr().out
    assert "snapshot 9: is not in" in fails(capsys, 2, "rollback", store, "9")
    os.remove(Path(store, "segments", "two", "segment.json"))
    assert "is missing" in fails(capsys, 1, "rollback", store, "2")


def test_vacuum_prints_what_it_removed(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    roll_back(store, 1)
    # Two of the files are claims: of the index and of the rollback.
    wanted = {
        "store": store, "snapshots": [1, 2], "files": 7, "bytes": 0, "dry_run": True,
    }  # fmt: skip
    said = printed(capsys, "vacuum", store, "--older-than", "0", "--dry-run")
    names = said.pop("names")
    assert said | {"bytes": 0} == wanted
    assert said["bytes"] > 0
    assert len(names) == 7
    assert main(["vacuum", store, "--older-than", "0", "--dry-run"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert listed[:-1] == ["snapshot 1", "snapshot 2", *names]
    assert listed[-1].startswith(f"{store}: 2 snapshots, 7 files, ")
    assert printed(capsys, "vacuum", store)["snapshots"] == []
    done = printed(capsys, "vacuum", store, "--older-than", "0s")
    assert done == said | {"dry_run": False, "names": []}
    assert main(["vacuum", store, "--older-than", "1h"]) == 0
    assert capsys.readouterr().out == f"{store}: 0 snapshots, 0 files, 0 bytes removed\n"
    assert "--keep 0: must be at least 1" in fails(capsys, 2, "vacuum", store, "--keep", "0")


@pytest.mark.parametrize("value", ["", "x", "1w", "-1d", "nan", "inf", "1e999", "d"])
def test_a_wrong_age_is_refused(store: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["vacuum", store, f"--older-than={value}"])
    assert caught.value.code == 2
    assert "is not an age such as 7d, 12h, 30m, 45s or 0" in capsys.readouterr().err
