"""Indexes of segments, built in shards: what they find, and what stops a build."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.maintenance import index, verify
from pipeline.maintenance.options import IndexCommandOptions
from tests.support.stores import DIM, add_segment, live_ids, make_vectors
from tests.transforms.index.vector.stores import ROWS, make_store, recall_at_10, with_vectors
from transforms.catalog.layout import SegmentPaths
from transforms.errors import BadInput, Damaged, RecallMissed
from transforms.index.build import build_index
from transforms.index.options import IndexOptions
from transforms.index.shard_layout import ShardPlan
from transforms.index.vector import plan as plan_module
from transforms.index.vector.build import build_shard, train
from transforms.index.vector.index_files import write_questions
from transforms.index.vector.plan import IndexContext, IndexPlan, plan_index
from transforms.index.vector.recall import LIVE_SHARES, measure
from transforms.index.vector.sampling import sample_shard
from transforms.search.store import Store
from transforms.storage import filesystem
from transforms.transactions.removal import remove_documents

pytestmark = pytest.mark.usefixtures("small_shards")
FACTORIES = [
    "Flat",
    "IVF8,Flat",
    "IVF8,SQ8",
    "IVF8,PQ4x4",
    "HNSW16",
    "SQ8",
    "OPQ4,IVF8,PQ4x4",
    "RR8,IVF8,PQ4x4fsr",
]


@pytest.mark.parametrize("factory", FACTORIES)
def test_an_index_in_shards_finds_what_was_asked_for_whatever_lives(
    tmp_path: Path, factory: str
) -> None:
    store = make_store(tmp_path, factory)
    [info] = Store.open(store).segments
    assert info.index is not None
    assert info.index.factory == factory
    assert len(info.index.shards) == 3
    assert (info.index.trained is not None) == (factory not in ("Flat", "HNSW16"))
    assert {s.live for s in info.index.settings} <= set(LIVE_SHARES)
    assert 0.9 <= info.index.recall <= 1
    assert recall_at_10(store, np.ones(ROWS, bool)) >= 0.85
    verify.run(store)
    for keep in (600, 60, 3):
        names = live_ids(store)
        dice = np.random.default_rng(keep)
        gone = dice.permutation(names)[keep:].tolist()
        remove_documents(store, gone)
        live = np.isin([f"d{n:04d}" for n in range(ROWS)], live_ids(store))
        assert live.sum() == keep
        if keep >= 10:
            assert recall_at_10(store, live) >= 0.85
        hits = Store.open(store).search(make_vectors(5, seed=78), 10)
        assert [len(line) for line in hits] == [min(keep, 10)] * 5
    left = filesystem.list_names(SegmentPaths(store, "one").index)
    assert not [name for name in left if name.startswith("sample")]


def test_the_same_rows_give_the_same_files(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        [info] = Store.open(make_store(tmp_path / name, "IVF8,SQ8")).segments
        made.append(info.index)
    assert made[0] == made[1]


def built(vectors: np.ndarray, factory: str, folder: Path, target: float = 1e-9) -> Any:
    """An index of these very vectors, of one shard."""
    store = str(folder / "store")
    add_segment(store, "one", {f"d{n}": 1 for n in range(len(vectors))}, index=None)
    [info] = Store.open(store).segments
    paths = SegmentPaths(store, "one")
    plan = plan_index(info.parts, DIM, IndexOptions(factory, target))
    assert isinstance(plan, IndexPlan)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("transforms.index.vector.sampling.read_vectors", lambda *_: iter([vectors]))
        samples = [sample_shard(paths, plan, shard) for shard in plan.shards]
        trained = train(paths, plan, samples)
        return [build_shard(paths, plan, shard, samples, trained) for shard in plan.shards]


@pytest.mark.parametrize("factory", ["IVF8,SQ8", "IVF8,Flat", "HNSW16"])
def test_equal_vectors_and_duplicates_are_found(tmp_path: Path, factory: str) -> None:
    equal = np.tile(make_vectors(1, 1), (400, 1))
    [shard] = built(equal, factory, tmp_path)
    assert shard.report is not None
    assert (shard.report.exact[1.0][1][:, 0] >= 0).all()


def test_a_vector_that_is_not_finite_is_damage(tmp_path: Path) -> None:
    wrong = make_vectors(400, 1)
    wrong[123, 2] = np.nan
    with pytest.raises(Damaged) as caught:
        built(wrong, "IVF8,SQ8", tmp_path)
    assert (caught.value.option, caught.value.value) == (
        "segment", SegmentPaths(str(tmp_path / "store"), "one").root,
    )  # fmt: skip
    assert "row 123" in caught.value.problem


def test_parts_with_other_rows_than_they_said_are_damage(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    add_segment(store, "one", {f"d{n}": 1 for n in range(400)}, index=None)
    [info] = Store.open(store).segments
    with pytest.MonkeyPatch.context() as patched:
        short = make_vectors(399, 1)
        patched.setattr("transforms.index.vector.sampling.read_vectors", lambda *_: iter([short]))
        paths = SegmentPaths(store, "one")
        with pytest.raises(Damaged) as caught:
            build_index(paths, info.parts, DIM, IndexOptions("IVF8,SQ8"))
    assert (caught.value.option, caught.value.value) == ("segment", paths.root)
    assert {"399", "400"} <= set(caught.value.problem.replace(",", " ").split())


def test_too_few_rows_for_what_was_asked_are_searched_exactly(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    add_segment(store, "one", {"a": 3, "b": 2}, index="IVF8,SQ8")
    [info] = Store.open(store).segments
    assert info.index is not None
    assert info.index.factory == "Flat"
    plan = plan_index(info.parts, DIM, IndexOptions("IVF8,SQ8"))
    assert plan is not None
    assert plan.why == "too few rows (5) for IVF8,SQ8: exact search"
    for option in ("IVF64,Flat", "none"):
        with pytest.raises(BadInput) as caught:
            index.run(store, IndexCommandOptions(IndexOptions(option)))
        assert (caught.value.option, caught.value.value) == ("index", option)


def test_questions_that_are_given_must_reach_the_target_too(tmp_path: Path) -> None:
    store = make_store(tmp_path, "Flat")
    [info] = Store.open(store).segments
    paths, options = SegmentPaths(store, "one"), IndexOptions("IVF8,SQ8", 0.9)
    questions = write_questions(paths, make_vectors(40, seed=12))
    made = build_index(paths, info.parts, DIM, options, IndexContext((), questions))
    assert made is not None
    asked = [setting.questions_at_10 for setting in made.settings]
    assert all(value is not None and value >= 0.9 for value in asked)
    plain = build_index(paths, info.parts, DIM, options)
    assert plain is not None
    # Where none are given, some are made, and held to the same.
    asked = [setting.questions_at_10 for setting in plain.settings]
    assert all(value is not None and value >= 0.9 for value in asked)
    assert asked != [setting.questions_at_10 for setting in made.settings]


def test_shards_of_unequal_size_share_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In the small one a scan costs less than the least setting, where few rows live.
    monkeypatch.setattr(
        plan_module,
        "plan_shards",
        lambda parts, _: [
            ShardPlan(0, 0, parts[:5]),
            ShardPlan(1, 1_000, parts[5:]),
        ],
    )
    store = make_store(tmp_path, "HNSW16")
    [info] = Store.open(store).segments
    assert info.index is not None
    assert [shard.rows for shard in info.index.shards] == [1_000, 200]
    assert recall_at_10(store, np.ones(ROWS, bool)) >= 0.9
    remove_documents(store, [f"d{n:04d}" for n in range(ROWS) if n % 2])
    assert recall_at_10(store, np.arange(ROWS) % 2 == 0) >= 0.85


@pytest.mark.parametrize("scale", [1e-3, 30.0])
def test_recall_does_not_depend_on_the_length_of_vectors(tmp_path: Path, scale: float) -> None:
    vectors = np.repeat(make_vectors(300, 5), 4, axis=0) * np.float32(scale)
    [shard] = built(vectors, "IVF16,Flat", tmp_path, 1.0)
    assert shard.report is not None
    own = np.full(len(shard.report.exact[1.0][0]), -1)
    figures = [
        measure([shard.report], own, 1.0, value).at_10
        for share, value in shard.report.found
        if share == 1.0
    ]
    assert figures == sorted(figures)
    assert figures[0] < 1.0
    assert figures[-1] == 1.0


def test_numbers_that_float16_can_not_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        built(make_vectors(400, 1) * np.float32(1e6), "IVF8,SQ8", tmp_path)
    assert caught.value.option == "vector"
    assert "65504" in caught.value.problem


def test_a_graph_of_rows_doubled_by_the_hundred_is_not_published(tmp_path: Path) -> None:
    # It falls apart: the links of a row all lead to its equals.
    vectors = np.repeat(make_vectors(3, 4), 400, axis=0)
    with pytest.MonkeyPatch.context() as patched:
        with_vectors(patched, vectors)
        documents = {f"d{n}": 1 for n in range(len(vectors))}
        with pytest.raises(RecallMissed) as caught:
            add_segment(str(tmp_path / "s"), "one", documents, index="HNSW16", recall_target=1.0)
    assert (caught.value.option, caught.value.value) == ("index", "HNSW16")
    assert "recall@10 is 0." in caught.value.problem


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("factory", ["IVF8,SQ8", "RR8,IVF8,PQ4x4fsr", "IVF8,Flat"])
def test_rows_that_are_all_equal_or_doubled_by_the_hundred_are_found(
    tmp_path: Path, factory: str, rows: int
) -> None:
    store = str(tmp_path / "store")
    vectors = np.repeat(make_vectors(rows, 4), 1_200 // rows, axis=0)
    with pytest.MonkeyPatch.context() as patched:
        with_vectors(patched, vectors)
        documents = {f"d{n}": 1 for n in range(len(vectors))}
        add_segment(store, "one", documents, index=factory, recall_target=1 - 1e-9)
        [info] = Store.open(store).segments
        assert info.index is not None
        assert info.index.factory == factory
        assert info.index.settings[0].recall_at_10 == 1.0
        scores, found = Store.open(store).nearest(vectors[:1], 10)
    assert set((found[0] // (1_200 // rows)).tolist()) == {0}
    np.testing.assert_allclose(scores, float(vectors[0] @ vectors[0]), rtol=2e-3)
