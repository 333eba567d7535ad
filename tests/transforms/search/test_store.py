"""An open store: refreshed, vacuumed, pickled, shared by threads."""

import pickle
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.maintenance import compact, vacuum
from pipeline.maintenance.options import VacuumOptions
from tests.support import stores
from tests.support.stores import add_segment, live_ids, make_identity, make_vectors
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.snapshot import SegmentRef
from transforms.errors import BadInput, Conflict, Damaged, Vacuumed
from transforms.search import snapshot_reader
from transforms.search.options import RankOptions
from transforms.search.store import Store
from transforms.transactions.commits import commit_segment
from transforms.transactions.removal import remove_documents

QUESTIONS = ["moon river", "stone"]


class FixedEncoder:
    """An encoder that gives seeded vectors, whatever the texts are."""

    def encode_texts(self, texts: list[str], prompt: str) -> np.ndarray:
        return make_vectors(len(texts), seed=77)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The digests of the models that were loaded."""
    loaded: list[str] = []

    def load(url: str, identity: Any, model: str | None, placement: Any) -> FixedEncoder:
        threading.Event().wait(0.05)
        loaded.append(identity.weights_sha256)
        return FixedEncoder()

    monkeypatch.setattr("transforms.search.store.load_store_model", load)
    return loaded


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Two segments of one snapshot each: of an approximate index, and of none."""
    url = str(tmp_path / "store")
    first = {f"moon {n}": 1 + n % 2 for n in range(60)}
    add_segment(url, "one", first, parts=2, index="IVF4,SQ8", language="none")
    add_segment(url, "two", {f"river {n}": 1 for n in range(20)}, index=None, language="none")
    return url


def found(store: Store, mode: str = "hybrid", where: str | None = None) -> list[list[str]]:
    hits = store.search(QUESTIONS, 200, mode, where)
    return [[hit.document_id for hit in line] for line in hits]


def test_a_refresh_finds_what_was_added_and_loads_no_model_again(
    url: str, loads: list[str]
) -> None:
    store = Store.open(url)
    before, index = found(store), store.dense.index(0)
    assert store.refresh() is False
    add_segment(url, "three", {"stone": 1}, language="none")
    assert found(store) == before
    assert store.snapshot.number == 2
    assert store.refresh() is True
    assert store.snapshot.number == 3
    assert "stone" in found(store)[1]
    assert store.refresh() is False
    # Not opened again: that index did not change.
    assert store.dense.index(0) is index
    assert len(loads) == 1
    remove_documents(url, ["stone", "moon 3"])
    assert store.refresh()
    assert not {"stone", "moon 3"} & set(found(store)[0])


def test_a_store_at_another_snapshot_leaves_the_first_as_it_is(url: str, loads: list[str]) -> None:
    store = Store.open(url)
    before = found(store)
    add_segment(url, "three", {"moon river": 1}, index="Flat", language="none", seed=7)
    newest, first = store.at(), store.at(store.snapshot.number - 1)
    assert found(store) == before
    assert [each.snapshot.number for each in (first, store, newest)] == [1, 2, 3]
    assert "moon river" in found(newest)[0]
    assert newest.dense.index(0) is store.dense.index(0) is first.dense.index(0)
    assert len(loads) == 1
    options = RankOptions(5, "hybrid", offset=2)
    ranked = newest.rank(QUESTIONS, options)
    assert newest.fetch(ranked, 2) == list(newest.search(QUESTIONS, 5, "hybrid", offset=2))
    with pytest.raises(BadInput):
        store.at(9)


def test_a_refresh_reads_only_new_manifests(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, read = Store.open(url), []
    real = snapshot_reader.read_segment

    def count(place: str, ref: SegmentRef) -> Any:
        read.append(ref.name)
        return real(place, ref)

    monkeypatch.setattr(snapshot_reader, "read_segment", count)
    remove_documents(url, ["moon 3"])
    add_segment(url, "three", {"stone": 1}, language="none")
    assert store.refresh()
    assert read == ["three"]


def test_another_model_is_loaded_after_a_refresh(
    url: str, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(url)
    found(store)

    def commit(store: str, info: Any, digest: str, _: str, command: str) -> Any:
        return commit_segment(store, info, digest, "replace", command)

    other = make_identity(weights_sha256="c" * 64)
    monkeypatch.setattr(stores, "make_identity", lambda: other)
    monkeypatch.setattr(stores, "commit_segment", commit)
    add_segment(url, "other", {"stone": 1}, language="none")
    found(store)
    assert loads == ["a" * 64]
    assert store.refresh()
    assert found(store)[1] == ["stone"]
    assert loads == ["a" * 64, "c" * 64]


def test_a_refresh_that_fails_changes_nothing(url: str, loads: list[str]) -> None:
    store = Store.open(url)
    before = found(store)
    add_segment(url, "three", {"stone": 1}, language="none")
    manifest = Path(SegmentPaths(url, "three").manifest)
    content = manifest.read_bytes()
    manifest.write_bytes(content[:-5])
    with pytest.raises(Damaged, match="three"):
        store.refresh()
    assert found(store) == before
    assert store.snapshot.number == 2
    manifest.write_bytes(content)
    assert store.refresh()
    assert "stone" in found(store)[1]


def test_each_search_sees_one_snapshot_while_others_refresh_and_write(
    url: str, loads: list[str]
) -> None:
    store, states, ended = Store.open(url), [set(live_ids(url))], threading.Event()

    def write() -> None:
        for number in range(4):
            if number % 2:
                remove_documents(url, [f"moon {number}", f"new {number - 1}"])
            else:
                add_segment(url, f"new{number}", {f"new {number}": 2}, language="none")
            states.append(set(live_ids(url)))
        ended.set()

    def read(number: int) -> list[set[str]]:
        seen = []
        while not ended.is_set() or not seen:
            if number % 2:
                store.refresh()
            seen.append(set(found(store, "dense")[0]))
        return seen

    with ThreadPoolExecutor(5) as pool:
        writing = pool.submit(write)
        seen = [each for some in pool.map(read, range(4)) for each in some]
        writing.result()
    assert all(each in states for each in seen)
    store.refresh()
    assert set(found(store, "dense")[0]) == states[-1]
    assert len(loads) == 1


USES: dict[str, Callable[[Store], object]] = {
    "search dense": lambda store: found(store, "dense"),
    "search lexical": lambda store: found(store, "lexical"),
    "search hybrid": found,
    "search where": lambda store: found(store, "lexical", "year < 5"),
    "nearest": lambda store: store.nearest(make_vectors(1), 5),
    "exact": lambda store: store.dense.exact_nearest(make_vectors(1), 5),
    "vectors": lambda store: store.dense.vectors(np.arange(store.rows)),
    "documents": lambda store: list(store.documents()),
    "names": lambda store: store.names(np.arange(5)),
    "rows": lambda store: store.read_rows(np.arange(5), ["text"]),
    "condition": lambda store: store.live.count("year = 1"),
    "lexical": lambda store: store.lexical,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_store_that_was_vacuumed_meanwhile_says_so(
    url: str, loads: list[str], use: Callable[[Store], object]
) -> None:
    remove_documents(url, ["moon 2"])
    store = Store.open(url)
    compact.run(url)
    add_segment(url, "three", {"stone": 1}, language="none")
    vacuum.run(url, VacuumOptions(keep=1, older_than=0))
    with pytest.raises(Vacuumed) as caught:
        use(store)
    assert (caught.value.option, caught.value.value) == ("snapshot", 3)
    assert str(caught.value).startswith(f"snapshot 3: was vacuumed. Open the store {url} again")
    assert isinstance(caught.value, Conflict)
    assert not isinstance(caught.value, Damaged)
    assert store.refresh()
    use(store)
    assert "stone" in found(store)[1]


def test_tombstones_that_were_vacuumed_are_no_damage(url: str) -> None:
    remove_documents(url, ["moon 2"])
    store = Store.open(url)
    remove_documents(url, ["moon 3"])
    vacuum.run(url, VacuumOptions(keep=1, older_than=0))
    with pytest.raises(Vacuumed):
        store.live.count()


def test_a_store_that_read_its_files_goes_on_after_a_vacuum(url: str, loads: list[str]) -> None:
    store = Store.open(url)
    before = found(store), found(store, "lexical", "year < 5")
    compact.run(url)
    vacuum.run(url, VacuumOptions(keep=1, older_than=0))
    assert found(store, "lexical", "year < 5") == before[1]


def test_a_file_that_is_missing_without_a_vacuum_is_damage(url: str) -> None:
    store = Store.open(url)
    add_segment(url, "three", {"stone": 1}, language="none")
    shutil.rmtree(SegmentPaths(url, "one").vectors)
    with pytest.raises(Damaged):
        list(store.documents())
    shutil.rmtree(url)
    with pytest.raises(Damaged):
        list(store.documents())
    with pytest.raises(BadInput):
        store.refresh()


def test_a_vacuum_while_a_store_is_opened_opens_the_newer_snapshot(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, waiting = snapshot_reader.read_segment, [True]

    def read(place: str, ref: SegmentRef) -> Any:
        if waiting:
            waiting.clear()
            compact.run(url)
            vacuum.run(url, VacuumOptions(keep=1, older_than=0))
        return real(place, ref)

    monkeypatch.setattr(snapshot_reader, "read_segment", read)
    assert Store.open(url).snapshot.number == 3
    add_segment(url, "three", {"stone": 1}, language="none")
    waiting.append(True)
    # The one that was asked for can't be replaced.
    with pytest.raises(Vacuumed):
        Store.open(url, 4)


def test_a_pickled_store_is_opened_at_the_same_snapshot(
    url: str, tmp_path: Path, loads: list[str]
) -> None:
    store = Store.open(url, device="cpu", dtype="float32", cache=tmp_path / "cache")
    sent = pickle.dumps(store)
    assert len(sent) < 1_000
    add_segment(url, "three", {"stone": 1}, language="none")
    again = pickle.loads(sent)
    assert (again.url, again.snapshot) == (store.url, store.snapshot)
    assert (again._placement, again._cache) == (store._placement, tmp_path / "cache")
    assert found(again) == found(store)
    assert again.refresh()


@pytest.fixture
def hidden(url: str) -> Callable[[], None]:
    """A function that brings the files of the first segment back; they are hidden until then."""
    folders = [Path(getattr(SegmentPaths(url, "one"), n)) for n in ("vectors", "index", "lexical")]
    for folder in folders:
        folder.rename(folder.with_name(f"{folder.name}-hidden"))

    def restore() -> None:
        for folder in folders:
            folder.with_name(f"{folder.name}-hidden").rename(folder)

    return restore


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_a_file_that_could_not_be_opened_is_tried_again_by_all_threads(
    url: str, hidden: Callable[[], None], loads: list[str], mode: str
) -> None:
    store, together = Store.open(url), threading.Barrier(8)

    def fail(_: int) -> None:
        together.wait()
        with pytest.raises(Damaged):
            found(store, mode, "year < 5")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fail, range(8)))
        hidden()
        answers = list(pool.map(lambda _: found(store, mode, "year < 5"), range(8)))
    assert answers == [found(Store.open(url), mode, "year < 5")] * 8


def test_a_model_that_could_not_be_loaded_is_tried_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, errors = Store.open(url), [OSError("down")] * 2

    def load(*_: Any) -> FixedEncoder:
        if errors:
            raise errors.pop()
        return FixedEncoder()

    monkeypatch.setattr("transforms.search.store.load_store_model", load)
    other = Store.open(url)
    for _ in range(2):
        with pytest.raises(OSError, match="down"):
            found(other)
    assert found(other)
    with pytest.raises(BadInput):
        # This one was opened before, and its model does not exist.
        found(store)
