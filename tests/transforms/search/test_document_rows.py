"""Rows of documents by their ids: against a look at all rows, over segments and snapshots."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from pipeline.ingest.embed import run as embed
from tests.support.models import make_texts, write_corpus
from tests.support.options import embed_options
from transforms.search.row_reader import RowReader
from transforms.search.store import Store
from transforms.transactions.removal import remove_documents

ODD = ["", "no such id", "doc-0000", "doc-000000", "\ud800", "é", "\U0001f600"]


@pytest.fixture
def url(tmp_path: Path, albert: Path) -> str:
    """A store of two segments, with documents of several passages; some were replaced."""
    texts = make_texts(20, seed=5, longest=200)
    corpus = write_corpus(tmp_path / "corpus", texts)
    embed(embed_options(tmp_path / "store", albert, corpus))
    newer = write_corpus(tmp_path / "newer", [*make_texts(4, seed=6), *texts[4:6]])
    embed(embed_options(tmp_path / "store", albert, newer, mode="append"))
    return str(tmp_path / "store")


def scanned(store: Store, ids: list[str]) -> list[int]:
    names = store.names(np.arange(store.rows)).column("document_id").to_pylist()
    live = set(store.live.numbers().tolist())
    return [row for row, name in enumerate(names) if name in ids and row in live]


def test_rows_are_those_that_a_look_at_all_rows_finds(url: str) -> None:
    store = Store.open(url)
    assert len(store.segments) == 2
    every = store.names(store.live.numbers()).column("document_id")
    names = pc.unique(every).to_pylist()
    assert len(every) > len(names)
    for name in [*names, *ODD]:
        assert store.rows_of([name]).tolist() == scanned(store, [name]), name
    some = [names[7], "other", names[2], names[7]]
    assert store.rows_of(some).tolist() == scanned(store, some)
    assert store.rows_of(names).tolist() == store.live.numbers().tolist()
    assert store.rows_of([]).tolist() == []
    none = ("document_id <> $id", {"id": names[7]})
    assert store.rows_of(some, none).tolist() == scanned(store, [names[2]])


def test_a_new_snapshot_reads_the_ids_of_new_segments_alone(
    url: str, tmp_path: Path, albert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = RowReader.read_part

    def counted(self: RowReader, place: int, columns: list[str] | None = None) -> object:
        read.append(place)
        return real(self, place, columns)

    monkeypatch.setattr(RowReader, "read_part", counted)
    store = Store.open(url)
    assert len(store.rows_of(["doc-00003"])) > 0
    first = len(read)
    assert first == sum(len(each.parts) for each in store.segments)
    store.rows_of(["doc-00004"])
    remove_documents(url, ["doc-00003"])
    read.clear()
    assert store.refresh() is True
    assert store.rows_of(["doc-00003"]).tolist() == []
    assert store.rows_of(["doc-00004"]).tolist() == scanned(store, ["doc-00004"])
    assert read == []
    corpus = write_corpus(tmp_path / "third", make_texts(1, seed=9))
    embed(embed_options(url, albert, corpus, mode="append"))
    read.clear()
    assert store.refresh() is True
    assert store.rows_of(["doc-00000"]).tolist() == scanned(store, ["doc-00000"])
    assert read == [first]


def test_a_store_without_rows_has_no_document(url: str) -> None:
    shutil.copytree(url, f"{url}-empty")
    store = Store.open(f"{url}-empty")
    names = pc.unique(store.names(store.live.numbers()).column("document_id")).to_pylist()
    remove_documents(f"{url}-empty", names)
    store.refresh()
    assert store.rows_of(names).tolist() == []
