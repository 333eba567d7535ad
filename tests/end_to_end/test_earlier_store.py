"""A store that albeam 0.1.0 made still opens, searches, syncs, compacts and verifies.

``tests/data/store-0.1`` has two segments with tombstones, a delete, an HNSW index that replaced an
exact one, lexical indexes, and four snapshots. ``store-0.1-hits.json`` holds what 0.1.0 found.
"""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.commands import printed
from transforms import Store

DATA = Path(__file__).resolve().parents[1] / "data"
LIVE = frozenset(
    (
        *("river", "bridge", "bread", "cheese", "moon", "train"),
        *("piano", "violin", "glacier", "oven", "tower", "long"),
    )
)


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A copy of the earlier store."""
    return str(shutil.copytree(DATA / "store-0.1", tmp_path / "store"))


def check_hits(store: str, modes: tuple[str, ...] = ("dense", "lexical", "hybrid")) -> None:
    """Compare the searches in these modes with what the earlier version found."""
    opened = Store.open(store, dtype="float32")
    expected = json.loads((DATA / "store-0.1-hits.json").read_text(encoding="utf-8"))
    assert len(expected) == 36
    for each in expected:
        if each["mode"] not in modes:
            continue
        [hits] = opened.search([each["question"]], 3, mode=each["mode"], where=each["where"])
        if each["mode"] == "hybrid":
            # The earlier version had other units, so other scores and another order of the rest.
            assert hits[0].document_id == each["hits"][0][0]
            continue
        assert [hit.document_id for hit in hits] == [name for name, _, _ in each["hits"]]
        for hit, (_, passage, score) in zip(hits, each["hits"], strict=True):
            assert hit.passage == passage
            assert hit.score == pytest.approx(score, abs=2e-3)


def test_it_answers_as_before_and_after_a_compaction(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    check_hits(store)
    assert printed(capsys, "verify", store)["passages"] == 22
    compacted = printed(capsys, "compact", store)
    assert compacted["snapshot"] == 5
    # BM25 counts dead passages until a compaction drops them, so its scores change.
    check_hits(store, ("dense",))
    assert printed(capsys, "verify", store, "--deep")["passages"] == 22


def test_a_sync_embeds_only_what_changed(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pa.concat_tables(Store.open(store).documents(["document_id", "text"])).to_pylist()
    texts = {row["document_id"]: row["text"] for row in rows}
    assert set(texts) == LIVE
    # The long document has several passages: its whole text is not in one of them.
    del texts["long"], texts["moon"]
    texts["river"] += " It is long."
    folder = tmp_path / "input"
    folder.mkdir()
    topics = pa.array(["other"] * len(texts))
    years = pa.array([2026] * len(texts), pa.int32())
    table = {"id": list(texts), "text": list(texts.values()), "topic": topics, "year": years}
    pq.write_table(pa.table(table), folder / "documents.parquet")
    summary = printed(
        capsys, "embed", str(folder), "--store", store, "--mode", "sync", "--max-tokens", "64",
        "--stride", "8", "--dtype", "float32", "--metadata-columns", "topic,year",
    )  # fmt: skip
    assert summary["snapshot"] == 5
    assert (summary["changed"], summary["metadata"], summary["removed"]) == (1, 9, 2)
    assert (summary["new"], summary["unchanged"]) == (0, 0)
    [hits] = Store.open(store).search(["long river"], 1)
    assert hits[0].document_id == "river"


def test_old_snapshots_open_and_roll_back(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    first = Store.open(store, snapshot=1)
    assert first.search(["return a ticket"], 1)[0][0].document_id == "ticket"
    assert printed(capsys, "rollback", store, "1")["documents"] == 10
    assert printed(capsys, "vacuum", store, "--older-than", "0")["snapshots"] == [1, 2, 3, 4]
