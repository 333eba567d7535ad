"""What a path means: a local name, a URL, or a chain of URLs."""

import os
import tarfile
import uuid
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.runners.dataflow import check_reachable
from tests.support.raising import raises
from transforms.errors import BadInput
from transforms.storage import filesystem, input_files, output_files, urls


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Path.cwd()


@pytest.mark.parametrize(
    "name",
    ["12::30", "runs/12::45", "std::vector.parquet", "data:x.parquet", "file:x", "C:/x", "C:\\x",
     "s3:x", "zip::x", "simplecache::/x", "100%", "a%20b", "a[1]", "what?", " a b ", "~x",
     "a::b::c", "http::x", "é", "a\nb", "-x", "#x", "memory::x"],
)  # fmt: skip
def test_a_name_without_a_protocol_is_a_local_path_whatever_it_holds(here: Path, name: str) -> None:
    assert urls.is_local(name)
    path = os.path.join(here, name)
    assert filesystem.absolute(name) == path
    # A path that was listed is not parsed again.
    assert filesystem.absolute(path) == path
    assert filesystem.create_exclusively(filesystem.join(name, "deep", "x::y"), b"1")
    assert Path(path, "deep", "x::y").read_bytes() == b"1"
    assert filesystem.read_bytes(filesystem.join(path, "deep", "x::y")) == b"1"
    assert filesystem.list_names(filesystem.join(name, "deep")) == ["x::y"]
    assert [file.path for file in filesystem.list_files(name)] == ["deep/x::y"]
    with output_files.writing(filesystem.join(name, "out")) as target:
        Path(target).write_text("2")
    assert Path(path, "out").read_text() == "2"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///tmp/x", "/tmp/x"),
        ("file:/tmp/x", "/tmp/x"),
        ("local:///tmp/x/", "/tmp/x"),
        ("file://localhost/tmp/x", "/tmp/x"),
        ("file://rel/x", "HERE/rel/x"),
        ("file:///tmp/a%20b/c%5B1%5D", "/tmp/a b/c[1]"),
        ("file:///tmp/a%zz", "/tmp/a%zz"),
        ("file:///tmp/caf%C3%A9::1", "/tmp/café::1"),
        ("./s3:/x", "HERE/s3:/x"),
        ("~", "HOME"),
        ("~/x", "HOME/x"),
        ("file://~/x", "HOME/x"),
        (".", "HERE"),
        ("./a/", "HERE/a"),
        ("/a://b", "/a:/b"),
        ("/", "/"),
    ],
)
def test_a_file_url_is_decoded_and_a_tilde_is_the_home(here: Path, url: str, path: str) -> None:
    wanted = path.replace("HERE", str(here)).replace("HOME", os.path.expanduser("~"))
    assert urls.is_local(url)
    assert os.path.normpath(urls.local_name(url)) == wanted


def test_a_file_url_keeps_the_escapes_of_a_name_that_exists(here: Path) -> None:
    (here / "a%20b").mkdir()
    for tail in ("", "/x", "/new/y", "/*.parquet"):
        assert urls.local_name(f"file://{here}/a%20b{tail}") == f"{here}/a%20b{tail}"
    assert urls.local_name(f"file://{here}/a%20b/%20") == f"{here}/a b/ "


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("s3:/bucket/store", "has one slash"),
        ("gs:/bucket", "has one slash"),
        ("nosuch://a", "can't be opened"),
        ("S3://a", "can't be opened"),
        ("caf\udce9", "is not UTF-8"),
        ("file:///caf%E9", "is not UTF-8"),
        ("s3://b/caf\udce9", "is not UTF-8"),
        ("a\0b", "null character"),
        ("zip://a.parquet::nothing.zip", "can't be opened: FileNotFoundError"),
        ("zip://a.parquet::file:///etc/passwd", "can't be opened: BadZipFile"),
        ("tar://a.parquet::file:///etc/passwd", "can't be opened: ReadError"),
        ("zip://a.parquet::nosuch://x", "can't be opened: ValueError"),
    ],
)
def test_a_path_that_means_nothing_is_refused_by_name(here: Path, url: str, problem: str) -> None:
    with pytest.raises(BadInput) as caught:
        filesystem.open_filesystem(url)
    assert caught.value.option == "path"
    assert problem in caught.value.problem
    str(caught.value).encode()


def test_a_name_like_a_misspelt_url_is_taken_if_it_exists(here: Path) -> None:
    (here / "s3:").mkdir()
    assert filesystem.absolute("s3:/x") == f"{here}/s3:/x"


def test_objects_with_colons_are_no_chains() -> None:
    root = f"memory://{uuid.uuid4().hex}"
    url = f"{root}/12::30/std::vector.parquet"
    assert not urls.is_chain(url)
    assert filesystem.create_exclusively(url, b"x")
    assert filesystem.read_bytes(url) == b"x"
    assert not filesystem.exists(f"{root}/12")
    fs, path = filesystem.open_filesystem("s3://bucket/12::30/x")
    assert (type(fs).__name__, path) == ("S3FileSystem", "bucket/12::30/x")


@pytest.fixture
def archives(here: Path) -> Path:
    """A zip file and a tar file of the same files, in a folder with a space."""
    (here / "my files").mkdir()
    names = ("a.parquet", "sub/b.parquet", "_hidden/c.parquet", "note.txt")
    for name in names:
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text(name)
    with zipfile.ZipFile(here / "my files" / "x.zip", "w") as archive:
        for name in names:
            archive.write(here / name, name)
    with tarfile.open(here / "my files" / "x.tar", "w") as tar:
        for name in names:
            tar.add(here / name, name)
    return here / "my files"


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("place", ["file://{}/x.{}", "{}/x.{}", "my files/x.{1}"])
def test_an_archive_is_an_input_like_a_folder(archives: Path, kind: str, place: str) -> None:
    end = place.format(archives, kind)
    for pattern, wanted in (
        ("", ["a.parquet", "sub/b.parquet"]),
        ("a.parquet", ["a.parquet"]),
        ("*.parquet", ["a.parquet"]),
        ("**/*.parquet", ["a.parquet", "sub/b.parquet"]),
        ("sub", ["sub/b.parquet"]),
    ):
        found = input_files.list_inputs((f"{kind}://{pattern}::{end}",))
        assert [file.url for file in found] == [
            f"{kind}://{name}::file://{archives}/x.{kind}" for name in wanted
        ]
        for file, name in zip(found, wanted, strict=True):
            assert filesystem.read_bytes(file.url).decode() == name
            input_files.check_unchanged(file)
            assert file.version


def test_a_file_in_an_archive_that_is_written_again_has_changed(archives: Path) -> None:
    url = f"zip://a.parquet::{archives}/x.zip"
    [before] = input_files.list_inputs((url,))
    with zipfile.ZipFile(archives / "x.zip", "w") as archive:
        archive.writestr("a.parquet", "A.parquet")
    [after] = input_files.list_inputs((url,))
    assert (after.url, after.size) == (before.url, before.size)
    assert after != before
    with raises(BadInput, "input", problem="changed"):
        input_files.check_unchanged(before)


def test_a_cached_filesystem_is_an_input(here: Path) -> None:
    root = f"{uuid.uuid4().hex}"
    for name in ("a.parquet", "sub/b.parquet"):
        filesystem.create_exclusively(f"memory://{root}/{name}", name.encode())
    for pattern in ("", "/**/*.parquet"):
        found = input_files.list_inputs((f"simplecache::memory://{root}{pattern}",))
        contents = [filesystem.read_bytes(file.url) for file in found]
        assert contents == [b"a.parquet", b"sub/b.parquet"]
        assert all(file.url.startswith("simplecache::memory://") for file in found)


def test_a_file_that_a_chain_cannot_name_is_refused() -> None:
    root = uuid.uuid4().hex
    fsspec.filesystem("memory").pipe(f"/{root}/std::v.parquet", b"x")
    with raises(BadInput, "input", problem="'::'") as caught:
        input_files.list_inputs((f"simplecache::memory://{root}",))
    assert "std::v.parquet" in caught.value.value


@pytest.mark.parametrize("url", ["zip://x.parquet::x.zip", "simplecache::memory://x/y.parquet"])
def test_a_chain_is_no_place_to_write_to(archives: Path, url: str) -> None:
    with raises(BadInput, "output", problem="chain"):
        output_files.check_writable("output", url, "")
    if url.startswith("zip"):
        url = f"zip://::{archives}/x.zip"
    with raises(BadInput, "store", problem="exclusive creation"):
        filesystem.check_exclusive(url)


class HostFileSystem(MemoryFileSystem):
    """A filesystem of which each URL names the host, as those of SFTP and HDFS do."""

    protocol = "hosted"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    def __init__(self, host: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.host = host

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.partition("://")[2].partition("/")[2] if "://" in path else path

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, Any]:
        return {"host": path.partition("://")[2].partition("/")[0]} if "://" in path else {}


def test_a_listed_file_keeps_the_host_of_its_url() -> None:
    fsspec.register_implementation("hosted", HostFileSystem, clobber=True)
    fs = HostFileSystem("one:22")
    fs.pipe_file("/in/sub/a.parquet", b"x")
    for pattern in ("in", "in/*/*.parquet", "in/sub/a.parquet", "in/**"):
        [file] = input_files.list_inputs((f"hosted://one:22/{pattern}",))
        assert file.url == "hosted://one:22/in/sub/a.parquet"
        assert filesystem.open_filesystem(file.url)[0].host == "one:22"
        assert filesystem.read_bytes(file.url) == b"x"


def test_workers_elsewhere_reach_no_local_name_and_no_local_archive() -> None:
    check_reachable(("gs://bucket/12::30", "zip://a.parquet::gs://bucket/x.zip"))
    for url in ("12::30", "file:/x", "zip://a.parquet::x.zip", "zip://a.parquet::file:///x.zip"):
        with raises(BadInput, "path"):
            check_reachable((url,))
