"""Stores on object stores: the real protocols, spoken with servers that the tests start."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import fsspec
import pytest

from pipeline.cli import main
from tests.support.servers import (
    BUCKET,
    forget_filesystems,
    gcs_server,
    gcs_settings,
    s3_server,
    s3_settings,
)
from tests.support.stores import add_segment, live_ids
from transforms.catalog.snapshot import read_snapshot, snapshot_numbers
from transforms.errors import BadInput
from transforms.storage import filesystem
from transforms.storage.probe import probe_exclusive
from transforms.transactions.removal import remove_documents

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", params=["s3", "gs"])
def bucket(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of a bucket on a server of its own, which the environment names."""
    protocol = request.param
    with pytest.MonkeyPatch.context() as patch:
        s3 = protocol == "s3"
        with s3_server(tmp_path_factory.mktemp("s3")) if s3 else gcs_server() as url:
            for name, value in (s3_settings(url) if s3 else gcs_settings(url)).items():
                patch.setenv(name, value)
            pytest.importorskip("s3fs" if s3 else "gcsfs")
            forget_filesystems(protocol)
            if not s3:
                fsspec.filesystem("gs").mkdir(BUCKET)
            yield f"{protocol}://{BUCKET}"
    forget_filesystems(protocol)


@pytest.fixture
def folder(bucket: str, request: pytest.FixtureRequest) -> str:
    """A folder of a test's own."""
    return filesystem.join(bucket, request.node.originalname)


def test_of_racing_creates_exactly_one_wins_and_listings_are_fresh(folder: str) -> None:
    for turn in range(5):
        url = filesystem.join(folder, f"{turn}.json")
        contents = [bytes([65 + number]) * 10_000 for number in range(6)]
        start = Barrier(6)

        def attempt(content: bytes, url: str = url, start: Barrier = start) -> bytes | None:
            start.wait()
            return content if filesystem.create_exclusively(url, content) else None

        with ThreadPoolExecutor(6) as pool:
            won = [content for content in pool.map(attempt, contents) if content is not None]
        assert len(won) == 1
        assert filesystem.read_bytes(url) == won[0]
        assert len(filesystem.list_names(folder)) == turn + 1
    filesystem.remove(url)
    assert not filesystem.exists(url)
    assert len(filesystem.list_files(folder)) == 4


def test_another_process_is_seen_at_once(folder: str) -> None:
    assert filesystem.list_names(folder) == []
    theirs = filesystem.join(folder, "theirs")
    code = (
        f"from transforms.storage import filesystem; filesystem.create_exclusively({theirs!r}, b'')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=_ROOT)
    assert filesystem.list_names(folder) == ["theirs"]
    assert not filesystem.create_exclusively(theirs, b"")


def test_a_large_file_goes_up_in_pieces_and_comes_back_whole(folder: str) -> None:
    size = (100 << 20) + 7  # s3fs uploads in pieces of 50 MiB from two of them on
    block = os.urandom(1 << 20)
    with filesystem.put_atomically(folder, lambda digest: f"{digest}.bin") as path:
        Path(path).write_bytes(block * 100 + block[:7])
    [name] = filesystem.list_names(folder)
    url = filesystem.join(folder, name)
    assert filesystem.size(url) == size
    assert filesystem.sha256(url) == name.removesuffix(".bin")
    filesystem.remove(url)


def test_two_writers_at_once_lose_nothing(folder: str) -> None:
    add_segment(folder, "first", {f"a{n}": 1 for n in range(20)})
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(add_segment, folder, f"s{n}", {f"s{n}-{i}": 1 for i in range(3)}, seed=n)
            for n in (1, 2)
        ]
        jobs += [pool.submit(remove_documents, folder, [f"a{n}", f"a{n + 1}"]) for n in (4, 8)]
        for job in jobs:
            job.result()
    assert snapshot_numbers(folder) == [1, 2, 3, 4, 5]
    gone = {"a4", "a5", "a8", "a9"}
    wanted = {f"a{n}" for n in range(20)} - gone | {f"s{n}-{i}" for n in (1, 2) for i in range(3)}
    assert set(live_ids(folder)) == wanted


def test_a_server_that_ignores_the_condition_is_refused_at_once(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs, _ = filesystem.open_filesystem(folder)
    real = fs.pipe_file

    def careless(path: str, value: bytes, mode: str) -> Any:
        return real(path, value)

    probe_exclusive(folder)
    probe_exclusive(folder)
    monkeypatch.setattr(fs, "pipe_file", careless)
    for store in (folder, filesystem.join(folder, "another")):
        with pytest.raises(BadInput) as caught:
            probe_exclusive(store)
        assert (caught.value.option, caught.value.value) == ("store", store)
        assert "ignores the condition of a put" in caught.value.problem


def test_a_bucket_that_is_not_there_is_named(
    bucket: str, corpus: Path, albert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = bucket.replace(BUCKET, "no-such-bucket") + "/store"
    assert main(["embed", str(corpus), "--store", store, "--model", str(albert)]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert f"--store {store}: can't be written to" in said
    assert main(["search", store, "river"]) == 2
    assert "\n" not in capsys.readouterr().err.strip()


def test_every_command_works_there(
    folder: str, corpus: Path, albert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fs, path = filesystem.open_filesystem(folder)
    fs.put(str(corpus) + "/", f"{path}/in/", recursive=True)
    store = filesystem.join(folder, "store")

    def run(*arguments: str) -> Any:
        assert main([*arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    embed = ["embed", f"{folder}/in/*.parquet", "--store", store, "--model", str(albert)]
    first = run(*embed, "--rows-per-part", "80")
    assert (first["documents"], first["parts"], first["snapshot"]) == (200, 3, 1)
    assert "Nothing to do" in run(*embed)["notice"]
    before = run("search", store, "river stone", "-k", "3")
    assert run("delete", store, before[0]["document_id"])["documents"] == 1
    after = run("search", store, "river stone", "-k", "2")
    assert [h["document_id"] for h in after] == [h["document_id"] for h in before[1:]]
    assert run("compact", store)["documents"] == 199
    assert run("index", store, "--index", "HNSW8", "--recall-target", "0.5")["snapshot"] == 4
    assert run("vacuum", store, "--older-than", "0")["snapshots"] == [1, 2, 3]
    assert run("verify", store, "--deep")["snapshot"] == 4
    assert [h["document_id"] for h in run("search", store, "river stone", "-k", "2")] == [
        h["document_id"] for h in after
    ]
    assert read_snapshot(store).number == 4
