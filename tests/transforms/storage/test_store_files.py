"""Files of a store are regular files inside it, whatever the store's author put there."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from transforms.errors import Damaged
from transforms.storage import filesystem

FILE = "segments/abc/tombstones/rows-1.roaring"
FILES = [
    "snapshots/newest",
    "snapshots/00000001.json",
    "segments/abc/segment.json",
    "segments/abc/plan.json",
    "segments/abc/changes.json",
    "segments/abc/heartbeat.json",
    "segments/abc/vectors/part-00000.json",
    "segments/abc/vectors/part-00000-01234567.parquet",
    "segments/abc/index/shard-0.faiss",
    "segments/abc/index/index-1.json",
    "segments/abc/lexical/shard-0.term",
    "segments/abc/changes/bucket-0.parquet",
    FILE,
    "watch/0123456789abcdef/00000001.json",
    "watch/0123456789abcdef/files-1.parquet",
]


def _store(folder: Path, name: str) -> Path:
    path = folder / "store" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"content")
    return path


@pytest.mark.parametrize("name", FILES)
def test_no_link_is_followed(tmp_path: Path, name: str) -> None:
    path = _store(tmp_path, name)
    assert filesystem.read_bytes(str(path)) == b"content"
    outside = tmp_path / "outside"
    path.rename(outside)
    path.symlink_to(outside)
    for read in (filesystem.read_bytes, filesystem.sha256, filesystem.open_input):
        with pytest.raises(Damaged) as caught:
            read(str(path))
        assert caught.value.value == str(path)


@pytest.mark.parametrize("folder", ["segments", "segments/abc", "segments/abc/tombstones"])
def test_no_folder_is_a_link(tmp_path: Path, folder: str) -> None:
    path = _store(tmp_path, FILE)
    inside, outside = tmp_path / "store" / folder, tmp_path / "outside"
    shutil.move(inside, outside)
    inside.symlink_to(outside)
    kept = {file: file.stat().st_mtime_ns for file in outside.rglob("*")}
    with pytest.raises(Damaged) as caught:
        filesystem.read_bytes(str(path))
    assert caught.value.value == str(inside)
    with pytest.raises(Damaged):
        filesystem.create_exclusively(str(path.with_name("rows-2.roaring")), b"")
    with pytest.raises(Damaged):
        filesystem.remove(str(path))
    with pytest.raises(Damaged), filesystem.put_by_content(str(path.parent), "rows", ".roaring"):
        pass
    assert {file: file.stat().st_mtime_ns for file in outside.rglob("*")} == kept


@pytest.mark.parametrize("name", FILES)
def test_nothing_blocks(tmp_path: Path, name: str) -> None:
    path = _store(tmp_path, name)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(Damaged) as caught:
        filesystem.read_bytes(str(path))
    assert "pipe" in caught.value.problem


def test_sockets_and_folders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _store(tmp_path, FILE)
    path.unlink()
    monkeypatch.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
        with pytest.raises(Damaged, match="socket"):
            filesystem.read_bytes(str(path))
    path.unlink()
    path.mkdir()
    with pytest.raises(Damaged, match="folder"):
        filesystem.read_bytes(str(path))


def test_a_store_may_lie_behind_links(tmp_path: Path) -> None:
    path = _store(tmp_path, FILE)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "store")
    assert filesystem.read_bytes(f"{link}/{FILE}") == b"content"
    assert filesystem.create_exclusively(f"{link}/segments/abc/plan.json", b"{}")
    filesystem.remove(f"{link}/{FILE}")
    assert not path.exists()


def test_missing_files_stay_missing_files(tmp_path: Path) -> None:
    path = _store(tmp_path, FILE)
    with pytest.raises(FileNotFoundError):
        filesystem.read_bytes(str(path.with_name("rows-2.roaring")))
    with pytest.raises(FileNotFoundError):
        filesystem.read_bytes(str(tmp_path / "none" / FILE))


@pytest.mark.parametrize("root", ["", "memory://large"])
def test_small_files_are_small(tmp_path: Path, root: str) -> None:
    url = f"{root or tmp_path}/snapshots/newest"
    filesystem.create_exclusively(url, b"1")
    assert filesystem.read_bytes(url) == b"1"
    filesystem.remove(url)
    filesystem.create_exclusively(url, b"1" * 2_000)
    with pytest.raises(Damaged) as caught:
        filesystem.read_bytes(url)
    assert "1024" in caught.value.problem


def test_listings_do_not_follow_links(tmp_path: Path) -> None:
    _store(tmp_path, FILE)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("x")
    (tmp_path / "store" / "segments" / "linked").symlink_to(tmp_path / "outside")
    listed = [file.path for file in filesystem.list_files(str(tmp_path / "store"))]
    assert listed == [FILE, "segments/linked"]
