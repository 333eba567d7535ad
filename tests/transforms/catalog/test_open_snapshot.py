"""A snapshot whose manifests and tombstones are read once."""

import pickle
from collections import Counter
from pathlib import Path

import pytest

from tests.support.stores import add_segment
from transforms.catalog.open_snapshot import OpenSnapshot
from transforms.catalog.snapshot import read_segment, read_snapshot
from transforms.storage import filesystem
from transforms.transactions.removal import remove_documents


@pytest.fixture
def store(tmp_path: Path) -> str:
    store = str(tmp_path / "store")
    add_segment(store, "one", {"a": 2, "b": 1})
    add_segment(store, "two", {"c": 1})
    remove_documents(store, ["b"])
    return store


def test_each_file_is_read_once_and_again_by_a_pickled_copy(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = OpenSnapshot(store, read_snapshot(store))
    reads: Counter[str] = Counter()
    real = filesystem.read_bytes

    def read(url: str) -> bytes:
        reads[url] += 1
        return real(url)

    monkeypatch.setattr(filesystem, "read_bytes", read)
    size = len(pickle.dumps(opened))
    for _ in range(2):
        assert [info.name for info in opened.infos()] == ["one", "two"]
        assert opened.info(1).rows == 1
        assert list(opened.tombstones(0)) == [2]
        assert not opened.tombstones(1)
    # Two manifests and one file of tombstones.
    assert list(reads.values()) == [1, 1, 1]
    assert len(pickle.dumps(opened)) == size
    copy = pickle.loads(pickle.dumps(opened))
    assert copy.infos() == opened.infos()
    assert list(reads.values()) == [2, 2, 1]


def test_it_gives_what_the_snapshot_holds(store: str) -> None:
    snapshot = read_snapshot(store)
    opened = OpenSnapshot(store, snapshot)
    assert (opened.number, opened.passages) == (snapshot.number, snapshot.passages) == (3, 3)
    assert opened.infos() == [read_segment(store, ref) for ref in snapshot.segments]
    assert opened.paths(1).name == "two"


def test_an_empty_store_has_no_segments(store: str) -> None:
    opened = OpenSnapshot(store)
    assert (opened.number, opened.passages, opened.segments, opened.infos()) == (0, 0, (), [])
