"""Files known by their digests: checked once, copied once, and never taken for another."""

import multiprocessing
import os
from pathlib import Path

import fsspec
import pytest

from transforms.errors import AlbeamError, Damaged
from transforms.storage import file_cache, filesystem
from transforms.storage.file_cache import FileCache

CONTENT = b"vectors" * 100


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
    return FileCache(tmp_path / "cache")


@pytest.fixture
def remote() -> str:
    fsspec.filesystem("memory").pipe_file("/cached/shard.faiss", CONTENT)
    return "memory://cached/shard.faiss"


def fetch(cache: FileCache, url: str, content: bytes = CONTENT) -> Path:
    return cache.fetch(url, len(content), filesystem.digest(content))


def damage(cache: FileCache, url: str) -> str:
    """The problem of a file that can't be fetched."""
    with pytest.raises(Damaged) as caught:
        fetch(cache, url)
    assert (caught.value.option, caught.value.value) == ("file", url)
    return caught.value.problem


def test_a_local_file_is_read_once_and_again_when_it_changes(
    tmp_path: Path, cache: FileCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "shard.faiss"
    path.write_bytes(CONTENT)
    read: list[str] = []
    real = filesystem.sha256

    def counted(url: str) -> str:
        read.append(url)
        return real(url)

    monkeypatch.setattr(filesystem, "sha256", counted)
    assert fetch(cache, str(path)) == fetch(cache, str(path)) == path
    assert fetch(FileCache(cache.folder), str(path)) == path
    assert len(read) == 1
    os.utime(path, (1, 1))
    fetch(cache, str(path))
    assert len(read) == 2
    other = bytearray(CONTENT)
    other[7] ^= 1
    path.write_bytes(other)
    assert "SHA-256" in damage(cache, str(path))
    # A check against the new digest does not make the old one right.
    fetch(cache, str(path), bytes(other))
    assert "SHA-256" in damage(cache, str(path))
    path.write_bytes(CONTENT[:-1])
    assert "699 bytes" in damage(cache, str(path))
    path.unlink()
    assert "missing" in damage(cache, str(path))


def test_a_folder_that_can_not_be_written_to_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "shard.faiss"
    path.write_bytes(CONTENT)
    (tmp_path / "file").write_text("no folder")
    assert fetch(FileCache(tmp_path / "file" / "cache"), str(path)) == path


def test_a_remote_file_is_copied_once(cache: FileCache, remote: str) -> None:
    copy = fetch(cache, remote)
    assert copy.read_bytes() == CONTENT
    fsspec.filesystem("memory").rm("/cached/shard.faiss")
    assert fetch(FileCache(cache.folder), remote) == copy
    copy.unlink()
    assert "missing" in damage(cache, remote)


def test_a_copy_that_was_changed_or_can_not_be_read_is_fetched_again(
    cache: FileCache, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = fetch(cache, remote)
    # As a crash of the machine leaves it, and a bit that flips.
    for content in (b"", bytes(len(CONTENT)), CONTENT[:-1] + b"x"):
        copy.unlink()
        copy.write_bytes(content)
        assert fetch(FileCache(cache.folder), remote).read_bytes() == CONTENT
    read: list[str] = []
    real = filesystem.sha256

    def counted(url: str) -> str:
        read.append(url)
        if len(read) == 2:
            raise PermissionError(url)
        return real(url)

    monkeypatch.setattr(filesystem, "sha256", counted)
    for _ in range(3):
        assert fetch(FileCache(cache.folder), remote) == copy
    assert read == []
    # Another process of another time has no marks: it is read once more, and then known.
    for old in (cache.folder / "checked").iterdir():
        old.unlink()
    for _ in range(3):
        assert fetch(cache, remote) == copy
    assert read == [str(copy)]
    os.utime(copy, (1, 1))
    fetch(cache, remote)
    assert len(read) == 2
    assert fetch(cache, remote).read_bytes() == CONTENT


def test_a_cache_that_can_not_be_made_is_not_a_missing_file(tmp_path: Path, remote: str) -> None:
    (tmp_path / "file").write_text("no folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "cache", Path("/dev/null/cache")):
        with pytest.raises(AlbeamError) as caught:
            fetch(FileCache(folder), remote)
        assert not isinstance(caught.value, Damaged)
        assert (caught.value.option, caught.value.value) == ("cache folder", str(folder))
        assert remote in caught.value.problem
        assert "missing" not in caught.value.problem


def test_a_remote_file_with_other_bytes_is_not_kept(cache: FileCache, remote: str) -> None:
    with pytest.raises(Damaged) as caught:
        cache.fetch(remote, len(CONTENT), "0" * 64)
    assert "SHA-256" in caught.value.problem
    with pytest.raises(Damaged) as caught:
        cache.fetch(remote, 7, filesystem.digest(CONTENT))
    assert "700 bytes" in caught.value.problem
    assert list((cache.folder / "files").iterdir()) == []


def test_the_least_used_copies_go_when_they_grow_too_many(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    cache = FileCache(tmp_path / "cache", most_bytes=250)
    contents = [bytes([n]) * 100 for n in range(3)]
    for number, content in enumerate(contents):
        memory.pipe_file(f"/cached/{number}", content)
    copies = []
    for number, content in enumerate(contents[:2]):
        copies.append(fetch(cache, f"memory://cached/{number}", content))
        os.utime(copies[-1], (number + 1, number + 1))
    fetch(cache, "memory://cached/0", contents[0])
    copies.append(fetch(cache, "memory://cached/2", contents[2]))
    assert [path.exists() for path in copies] == [True, False, True]
    large = bytes(1_000)
    memory.pipe_file("/cached/large", large)
    assert fetch(cache, "memory://cached/large", large).read_bytes() == large


def test_marks_do_not_grow_without_end(
    tmp_path: Path, cache: FileCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_cache, "_MOST_MARKS", 10)
    for number in range(30):
        path = tmp_path / f"{number}"
        path.write_bytes(CONTENT)
        fetch(cache, str(path))
    assert len(list((cache.folder / "checked").iterdir())) <= 10


def _fetch_many(folder: str) -> None:
    contents = [bytes([number]) * 1_000 for number in range(6)]
    for number, content in enumerate(contents):
        fsspec.filesystem("memory").pipe_file(f"/cached/p{number}", content)
    cache = FileCache(Path(folder), most_bytes=3_000)
    for turn in range(60):
        number = turn % len(contents)
        copy = fetch(cache, f"memory://cached/p{number}", contents[number])
        try:
            assert copy.read_bytes() == contents[number]
        except FileNotFoundError:
            # Another process took it between; whoever has it open keeps it.
            continue


def test_processes_share_a_folder(tmp_path: Path) -> None:
    # Not forked: a copy of a process whose other threads hold locks can stand still or crash.
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_fetch_many, args=(str(tmp_path / "cache"),)) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
