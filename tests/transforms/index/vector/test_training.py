"""Training of an index: reuse of older ones, drift, GPUs."""

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.stores import DIM, add_segment, make_vectors
from tests.transforms.index.vector.stores import few_candidates, make_store, with_vectors
from transforms.catalog.layout import SegmentPaths
from transforms.errors import RecallMissed
from transforms.index.build import build_index
from transforms.index.options import IndexOptions
from transforms.index.vector import faiss_search, faiss_training
from transforms.index.vector.plan import IndexContext, plan_index, reusable_indexes
from transforms.search.store import Store

pytestmark = pytest.mark.usefixtures("small_shards")


def test_new_rows_use_the_trained_index_of_older_ones_and_their_drift_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path, "IVF8,SQ8")
    add_segment(store, "two", {f"e{n}": 1 for n in range(400)}, seed=9, index=None)
    older, newer = Store.open(store).segments
    context = IndexContext(reusable_indexes([older, newer]))
    assert [each.segment for each in context.reusable] == ["one"]
    paths, options = SegmentPaths(store, "two"), IndexOptions("IVF8,SQ8", 0.8)
    made = build_index(paths, newer.parts, DIM, options, context)
    assert made is not None
    assert older.index is not None
    assert older.index.trained is not None
    assert made.trained is not None
    assert made.trained.sha256 == older.index.trained.sha256
    assert made.drift == pytest.approx(1, abs=0.3)
    assert "trained for segment one, and off these rows" in made.why
    assert "trained anew" not in made.why
    # A third segment measures against the rows of the first as well.
    again = reusable_indexes([older, replace(newer, index=made)])
    assert again[0].error == pytest.approx(older.index.error)
    # A factory that is chosen takes what there is; one that was given does not.
    for option, reused in (("ivf", True), ("IVF4,SQ8", False), ("hnsw", False)):
        plan = plan_index(newer.parts, DIM, IndexOptions(option), context)
        assert plan is not None
        assert (plan.reused is not None) == reused
    far = make_vectors(400, 3)
    far[:, 0] = np.abs(far[:, 0]) * 30
    with_vectors(monkeypatch, far)
    drifted = build_index(paths, newer.parts, DIM, IndexOptions("IVF8,SQ8", 0.1), context)
    assert drifted is not None
    # They are too far off, and get an index of their own.
    assert re.search(
        r", trained anew: its rows lie \d+\.\d\d times as far off .* one as those$", drifted.why
    )
    assert drifted.drift is None
    assert drifted.trained is not None
    assert drifted.trained.sha256 != older.index.trained.sha256
    alone = build_index(paths, newer.parts, DIM, IndexOptions("IVF8,SQ8", 0.1))
    assert alone is not None
    assert (drifted.trained, drifted.error) == (alone.trained, alone.error)


def test_a_miss_of_a_reused_index_names_the_way_to_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_candidates(monkeypatch)
    store = make_store(tmp_path, "PQ2x4", 0.01)
    add_segment(store, "two", {f"e{n}": 1 for n in range(400)}, seed=9, index=None)
    older, newer = Store.open(store).segments
    paths, options = SegmentPaths(store, "two"), IndexOptions("PQ2x4", 0.99)
    context = IndexContext(reusable_indexes([older, newer]))
    with pytest.raises(RecallMissed) as caught:
        build_index(paths, newer.parts, DIM, options, context)
    assert (caught.value.option, caught.value.value) == ("index", "PQ2x4")
    assert "segment one" in caught.value.problem
    assert "--index flat" in caught.value.remedy


@pytest.mark.parametrize("factory", ["IVF4,Flat", "PCA4,IVF4,Flat", "OPQ2_4,IVF4,PQ2x4"])
def test_centres_are_trained_where_faiss_sees_a_gpu_by_their_own_width(
    factory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths = []

    def to_gpus(index: Any) -> Any:
        widths.append(index.d)
        return index

    monkeypatch.setattr(faiss_training, "gpus", lambda: 1)
    monkeypatch.setattr(faiss_training.faiss, "index_cpu_to_all_gpus", to_gpus, raising=False)
    made = faiss_training.train_index(factory, DIM, make_vectors(400, 1), gpu=True)
    assert made.is_trained
    assert widths == [DIM if factory.startswith("IVF") else 4]


def test_memory_on_the_gpus_is_freed_after_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def to_gpus(index: Any) -> Any:
        made.append(index)
        return index

    monkeypatch.setattr(faiss_training, "gpus", lambda: 1)
    monkeypatch.setattr(faiss_training.faiss, "index_cpu_to_all_gpus", to_gpus, raising=False)
    index = faiss_training.train_index("IVF4,Flat", DIM, make_vectors(400, 1), gpu=True)
    assert made[0].thisown
    assert index.clustering_index is None


@pytest.mark.parametrize("late", [False, True])
def test_an_index_is_trained_on_the_cpu_if_the_gpu_fails(
    late: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def to_gpus(index: Any) -> Any:
        if late:
            # Vectors of another width can't be searched, as on a GPU without memory.
            return faiss_training.faiss.IndexFlatIP(index.d + 1)
        raise RuntimeError("Error in somewhere: GPU out of memory")

    monkeypatch.setattr(faiss_training, "gpus", lambda: 1)
    monkeypatch.setattr(faiss_training.faiss, "index_cpu_to_all_gpus", to_gpus, raising=False)
    with caplog.at_level(logging.WARNING):
        made = faiss_training.train_index("IVF4,Flat", DIM, make_vectors(400, 1), gpu=True)
    assert made.is_trained
    assert made.clustering_index is None
    assert "trained on the CPU" in caplog.text


def test_a_gpu_that_is_not_there_is_not_asked() -> None:
    assert faiss_search.gpus() >= 0
    made = faiss_training.train_index("IVF4,Flat", DIM, make_vectors(200, 1), gpu=True)
    assert made.is_trained
