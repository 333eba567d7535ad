"""Files through fsspec, on a local disk and in memory."""

import hashlib
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from transforms.errors import BadInput
from transforms.storage import filesystem, input_files, retries


class PlainFileSystem(MemoryFileSystem):
    """A filesystem that promises nothing about exclusive creation."""

    protocol = "plain"
    store = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "local":
        yield str(tmp_path / "store")
        return
    url = f"memory://{uuid.uuid4().hex}/store"
    yield url
    fs = fsspec.filesystem("memory")
    if fs.exists(url):
        fs.rm(url, recursive=True)


@pytest.fixture
def eager_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)


def failing(times: int, error: Exception) -> tuple[Callable[[], str], list[int]]:
    """A call that raises ``error`` as often as asked and then succeeds, and its count of calls."""
    calls: list[int] = []

    def call() -> str:
        calls.append(len(calls))
        if len(calls) <= times:
            raise error
        return "done"

    return call, calls


def test_the_second_of_two_exclusive_creates_loses_and_changes_nothing(folder: str) -> None:
    url = filesystem.join(folder, "deep", "name.json")
    assert filesystem.create_exclusively(url, b"first")
    assert not filesystem.create_exclusively(url, b"second")
    assert filesystem.read_bytes(url) == b"first"
    assert filesystem.list_names(filesystem.join(folder, "deep")) == ["name.json"]


@pytest.mark.usefixtures("eager_threads")
def test_of_eight_racing_creates_exactly_one_wins_and_its_content_is_whole(folder: str) -> None:
    for turn in range(12):
        url = filesystem.join(folder, f"{turn}.json")
        contents = [bytes([65 + number]) * 100_000 for number in range(8)]
        start = threading.Barrier(8)

        def attempt(
            content: bytes, url: str = url, start: threading.Barrier = start
        ) -> bytes | None:
            start.wait()
            return content if filesystem.create_exclusively(url, content) else None

        with ThreadPoolExecutor(8) as pool:
            won = [content for content in pool.map(attempt, contents) if content is not None]
        assert len(won) == 1
        assert filesystem.read_bytes(url) == won[0]
    assert len(filesystem.list_names(folder)) == 12


def test_a_filesystem_without_exclusive_create_is_refused() -> None:
    fsspec.register_implementation("plain", PlainFileSystem, clobber=True)
    with pytest.raises(BadInput) as caught:
        filesystem.create_exclusively("plain://a/b", b"")
    assert (caught.value.option, caught.value.value) == ("store", "plain://a/b")
    assert "(plain)" in caught.value.problem
    assert not filesystem.exists("plain://a/b")


def test_an_unknown_protocol_is_refused_with_its_url() -> None:
    with pytest.raises(BadInput) as caught:
        filesystem.read_bytes("nosuch://a")
    assert (caught.value.option, caught.value.value) == ("path", "nosuch://a")


def test_a_file_put_atomically_is_named_by_its_content(folder: str) -> None:
    with filesystem.put_atomically(folder, lambda digest: f"a-{digest[:8]}.bin") as path:
        Path(path).write_bytes(b"content")
        assert [name for name in filesystem.list_names(folder) if name[0] != "."] == []
    name = f"a-{hashlib.sha256(b'content').hexdigest()[:8]}.bin"
    assert filesystem.list_names(folder) == [name]
    assert not Path(path).exists()
    url = filesystem.join(folder, name)
    assert filesystem.read_bytes(url) == b"content"
    assert filesystem.sha256(url) == hashlib.sha256(b"content").hexdigest()
    assert filesystem.size(url) == 7


def test_a_file_put_atomically_leaves_nothing_after_an_exception(folder: str) -> None:
    def put() -> None:
        with filesystem.put_atomically(folder, str) as path:
            Path(path).write_bytes(b"half")
            paths.append(path)
            raise KeyError("stop")

    paths: list[str] = []
    with pytest.raises(KeyError):
        put()
    assert not Path(paths[0]).exists()
    assert filesystem.list_names(folder) == []


def test_what_is_not_there_reads_as_absent(folder: str) -> None:
    url = filesystem.join(folder, "none")
    assert not filesystem.exists(url)
    assert filesystem.list_names(folder) == []
    filesystem.remove(url)
    with pytest.raises(FileNotFoundError):
        filesystem.read_bytes(url)
    with pytest.raises(FileNotFoundError):
        filesystem.size(url)


def test_a_removed_file_is_gone(folder: str) -> None:
    url = filesystem.join(folder, "x")
    filesystem.create_exclusively(url, b"")
    filesystem.remove(url)
    assert not filesystem.exists(url)
    assert filesystem.create_exclusively(url, b"again")


@pytest.fixture
def inputs(folder: str) -> str:
    for name in (
        "b.parquet", "a.parquet", "note.txt", "_SUCCESS", "_skip.parquet", ".hidden.parquet",
        "year=2024/c.parquet", "_temporary/d.parquet", "x/.crc/e.parquet", "x/y/f.parquet",
    ):  # fmt: skip
        filesystem.create_exclusively(filesystem.join(folder, name), name.encode())
    return folder


def names(folder: str, *patterns: str) -> list[str]:
    infos = input_files.list_inputs(tuple(filesystem.join(folder, each) for each in patterns))
    root = folder.rsplit("://", maxsplit=1)[-1]
    return [info.url.split(root)[-1].lstrip("/") for info in infos]


def test_a_folder_gives_its_parquet_files_at_any_depth_without_hidden_ones(inputs: str) -> None:
    wanted = ["a.parquet", "b.parquet", "x/y/f.parquet", "year=2024/c.parquet"]
    assert names(inputs, "") == wanted
    assert names(inputs, "x") == ["x/y/f.parquet"]


def test_a_file_is_taken_whatever_its_name_is(inputs: str) -> None:
    assert names(inputs, "note.txt", "_skip.parquet") == ["_skip.parquet", "note.txt"]


def test_a_glob_gives_what_it_matches_and_each_file_once(inputs: str) -> None:
    assert names(inputs, "[ab].parquet") == ["a.parquet", "b.parquet"]
    assert names(inputs, "*/c.parquet", "year=2024", "a.parquet", "a*") == [
        "a.parquet",
        "year=2024/c.parquet",
    ]


def test_an_existing_path_with_brackets_in_its_name_is_no_glob(tmp_path: Path) -> None:
    folder = tmp_path / "part[1]"
    folder.mkdir()
    (folder / "a.parquet").write_text("x")
    assert names(str(tmp_path), "part[1]") == ["part[1]/a.parquet"]


def test_a_pattern_without_a_match_is_named(inputs: str) -> None:
    for pattern in ("none*", "missing"):
        with pytest.raises(BadInput) as caught:
            names(inputs, "a.parquet", pattern)
        assert (caught.value.option, caught.value.value) == (
            "input",
            filesystem.join(inputs, pattern),
        )


def test_an_input_tells_its_size_and_a_version_that_changes_with_it(inputs: str) -> None:
    url = filesystem.join(inputs, "a.parquet")
    (before,) = input_files.list_inputs((url,))
    assert before.size == len("a.parquet")
    assert before.version
    filesystem.remove(url)
    filesystem.create_exclusively(url, b"other")
    (after,) = input_files.list_inputs((url,))
    assert after.url == before.url
    assert after != before
    assert filesystem.read_bytes(after.url) == b"other"


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("error", [TimeoutError("slow"), ConnectionResetError("cut")])
def test_a_call_that_fails_twice_is_tried_a_third_time(error: Exception) -> None:
    call, calls = failing(2, error)
    assert retries.retry(call) == "done"
    assert len(calls) == 3


@pytest.mark.usefixtures("no_pause")
def test_after_seven_failures_the_error_itself_is_raised() -> None:
    call, calls = failing(9, TimeoutError("slow"))
    with pytest.raises(TimeoutError, match="slow"):
        retries.retry(call)
    assert len(calls) == 7


def test_an_error_that_stays_is_not_tried_again() -> None:
    call, calls = failing(9, FileNotFoundError("none"))
    with pytest.raises(FileNotFoundError):
        retries.retry(call)
    assert len(calls) == 1


def test_a_local_path_becomes_absolute_and_a_url_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert filesystem.absolute("a/../b") == str(tmp_path.resolve() / "b")
    assert filesystem.absolute(f"file://{tmp_path}/b") == str(tmp_path.resolve() / "b")
    assert filesystem.absolute("memory://a/b/") == "memory://a/b"
