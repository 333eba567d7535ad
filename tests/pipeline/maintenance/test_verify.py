"""``albeam verify`` finds damage and names the file; a search of damaged files fails."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.ingest import embed
from pipeline.maintenance import verify
from tests.support.damage import (
    cut_short,
    flip_bit,
    flip_bit_of_text,
    reverse_bytes,
    rewrite_manifest,
    rewrite_part,
    rewrite_snapshot,
    segment_file,
)
from tests.support.models import make_texts, write_corpus
from tests.support.options import embed_options
from tests.support.raising import finds_damage, raises
from transforms.catalog.options import ColumnOptions
from transforms.errors import AlbeamError, BadInput, Damaged
from transforms.index.options import IndexOptions
from transforms.search.store import Store

TEXTS = [*make_texts(60, seed=3, longest=90), None, ""]


def embedded(albert: Path, folder: Path, index: str) -> Path:
    """Return a store of two parts, of which the second has rejects."""
    corpus = write_corpus(folder / "corpus", list(TEXTS))
    options = embed_options(
        folder / "store", albert, corpus,
        columns=ColumnOptions(), index=IndexOptions(index), rows_per_part=40,
    )  # fmt: skip
    embed.run(options)
    return folder / "store"


@pytest.fixture(scope="session")
def pristine(albert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return embedded(albert, tmp_path_factory.mktemp("flat"), "flat")


@pytest.fixture(scope="session")
def pristine_without_index(albert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return embedded(albert, tmp_path_factory.mktemp("none"), "none")


@pytest.fixture
def store(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "store"))


@pytest.fixture
def plain_store(pristine_without_index: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine_without_index, tmp_path / "plain"))


def search(store: Path) -> list[list[tuple[str, str, float]]]:
    """What ten seeded questions find: ids, texts and scores."""
    opened = Store.open(str(store), device="cpu", dtype="float32")
    dim = opened.snapshot.identity.dim
    vectors = np.random.default_rng(0).normal(size=(10, dim)).astype(np.float32)
    return [
        [(hit.document_id, hit.text, hit.score) for hit in hits]
        for hits in opened.search(vectors, 60)
    ]


def test_a_sound_store_is_verified_with_its_counts(store: Path) -> None:
    report = verify.run(str(store))
    passages = Store.open(str(store)).rows
    # The snapshot, segment.json, two parts, one file of rejects, one index file, six lexical ones.
    assert report == verify.VerifyReport(
        store=str(store), snapshot=1, segments=1, files=12, passages=passages
    )
    assert passages > 60
    assert len({hit[0] for hit in search(store)[0]}) == 60


def test_a_store_without_index_is_verified_and_finds_the_same(
    store: Path, plain_store: Path
) -> None:
    assert verify.run(str(plain_store)).files == 11
    for ours, theirs in zip(search(plain_store), search(store), strict=True):
        assert [hit[:2] for hit in ours] == [hit[:2] for hit in theirs]
        assert [hit[2] for hit in ours] == pytest.approx([hit[2] for hit in theirs], abs=1e-5)


def test_a_folder_that_is_not_a_store_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        verify.run(str(tmp_path))
    assert (caught.value.option, caught.value.value) == ("store", str(tmp_path))


DAMAGES = [cut_short, flip_bit, Path.unlink, reverse_bytes, lambda path: path.write_bytes(b"")]
DAMAGE_NAMES = ["cut short", "bit flipped", "gone", "other bytes", "empty"]


@pytest.mark.parametrize("damage", DAMAGES, ids=DAMAGE_NAMES)
@pytest.mark.parametrize(
    "pattern",
    [
        "vectors/part-00000-*",
        "vectors/part-00001-*",
        "index/*",
        "lexical/*.idx",
        "rejects/*",
        "segment.json",
    ],
)
def test_verify_names_the_damaged_file(
    store: Path, pattern: str, damage: Callable[[Path], None]
) -> None:
    path = segment_file(store, pattern)
    damage(path)
    with pytest.raises(Damaged) as caught:
        verify.run(str(store))
    assert str(path) in str(caught.value)
    assert "has 1 damage:" in caught.value.problem


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        *[
            (f"vectors/part-0000{n}-*", d)
            for n in (0, 1)
            for d in (*DAMAGES, flip_bit_of_text)
            if d != flip_bit
        ],
        *[(pattern, damage) for pattern in ("index/*", "segment.json") for damage in DAMAGES],
    ],
)
def test_search_raises_damaged_and_gives_no_answer(
    store: Path, pattern: str, damage: Callable[[Path], None]
) -> None:
    path = segment_file(store, pattern)
    damage(path)
    with pytest.raises(Damaged) as caught:
        search(store)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("damage", DAMAGES, ids=DAMAGE_NAMES)
def test_exact_search_of_damaged_parts_raises_damaged(
    plain_store: Path, damage: Callable[[Path], None]
) -> None:
    path = segment_file(plain_store, "vectors/part-00000-*")
    damage(path)
    with pytest.raises(Damaged) as caught:
        search(plain_store)
    assert str(path) in str(caught.value)


def test_a_bit_flipped_in_any_column_of_a_part_gives_an_error_or_the_same_answer(
    plain_store: Path,
) -> None:
    path = segment_file(plain_store, "vectors/part-00000-*")
    whole = path.read_bytes()
    expected = search(plain_store)
    noticed = 0
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    for place in np.linspace(4, len(whole) - footer - 1, 60):
        path.write_bytes(whole)
        flip_bit(path, place / len(whole))
        with finds_damage(plain_store, path, damages=1):
            verify.run(str(plain_store))
        try:
            assert search(plain_store) == expected
        except AlbeamError:
            noticed += 1
    # The others are in hashes and in what only people read.
    assert noticed > 30


def test_every_damage_is_named_in_one_error(store: Path) -> None:
    paths = [
        segment_file(store, pattern)
        for pattern in ("vectors/part-*.parquet", "index/*", "rejects/*")
    ]
    for path in paths:
        path.unlink()
    with finds_damage(store, *paths, damages=3):
        verify.run(str(store))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_broken_snapshot_is_named(store: Path, content: bytes) -> None:
    path = store / "snapshots" / "00000001.json"
    path.write_bytes(content)
    for use in (verify.run, Store.open):
        with raises(Damaged, "file", path):
            use(str(store))


@pytest.mark.parametrize("name", ["../../elsewhere", "/etc", ".."])
def test_a_snapshot_that_points_outside_the_store_is_refused(store: Path, name: str) -> None:
    path = rewrite_snapshot(store, lambda value: value["segments"][0].update(name=name))
    for use in (verify.run, Store.open):
        with raises(Damaged, "file", path, repr(name)):
            use(str(store))


@pytest.mark.parametrize("place", ["parts", "index"])
def test_a_segment_that_points_outside_the_store_is_refused(store: Path, place: str) -> None:
    def change(value: dict) -> None:
        file = value["parts"][0] if place == "parts" else value["index"]["shards"][0]["file"]
        file["name"] = "../../../secret"

    rewrite_manifest(store, change)
    manifest = segment_file(store, "segment.json")
    with finds_damage(store, manifest, "'../../../secret'"):
        verify.run(str(store))
    with raises(Damaged, "file", manifest, "'../../../secret'"):
        Store.open(str(store))


def test_changed_row_counts_of_a_part_are_found(store: Path) -> None:
    rewrite_manifest(store, lambda value: value["parts"][0].update(rows=7))
    path = segment_file(store, "segment.json")
    with finds_damage(store, path, "passages"):
        verify.run(str(store))
    with raises(Damaged, "file", path, "passages"):
        search(store)


def test_changed_row_counts_of_an_index_are_found(store: Path) -> None:
    rewrite_manifest(store, lambda value: value["index"]["shards"][0].update(rows=7))
    path = segment_file(store, "segment.json")
    with finds_damage(store, path, "rows", "7"):
        verify.run(str(store))
    with raises(Damaged, "file", path, "7"):
        search(store)


def test_changed_counts_of_a_snapshot_are_found(store: Path) -> None:
    rewrite_snapshot(store, lambda value: value["segments"][0].update(documents=1))
    with finds_damage(store, "segment", "documents", "records 1 and"):
        verify.run(str(store))


def test_a_part_with_other_columns_is_found(store: Path) -> None:
    table = pq.read_table(segment_file(store, "vectors/part-00001-*"))
    path = rewrite_part(store, 1, table.drop_columns(["text"]))
    with finds_damage(store, path, "columns"):
        verify.run(str(store))


def test_a_part_of_another_model_is_found(store: Path) -> None:
    table = pq.read_table(segment_file(store, "vectors/part-00001-*"))
    path = rewrite_part(store, 1, table.replace_schema_metadata({"albeam.model": "{}"}))
    with finds_damage(store, path, "model"):
        verify.run(str(store))


def test_a_passage_twice_in_a_part_is_found(store: Path) -> None:
    table = pq.read_table(segment_file(store, "vectors/part-00001-*"))
    same = table.take([0, 0, *range(2, table.num_rows)])
    path = rewrite_part(store, 1, same.replace_schema_metadata(table.schema.metadata))
    with finds_damage(store, path, "passage", "twice"):
        verify.run(str(store))


def test_a_document_in_two_parts_is_found(store: Path) -> None:
    first, second = (pq.read_table(segment_file(store, f"vectors/part-0000{n}-*")) for n in (0, 1))
    count = second.num_rows
    ids = pa.array(first.column("document_id").slice(0, 1).to_pylist() * count)
    mixed = second.set_column(0, second.schema.field(0), ids)
    mixed = mixed.set_column(1, second.schema.field(1), pa.array(range(count), pa.int32()))
    path = rewrite_part(store, 1, mixed)
    with finds_damage(store, path, "'doc-00000'"):
        verify.run(str(store))


def test_an_index_file_of_another_segment_is_found(store: Path) -> None:
    path = segment_file(store, "index/*")
    content = bytearray(path.read_bytes())
    content[-4:] = np.float32(0.5).tobytes()
    path.write_bytes(content)
    with finds_damage(store, path, "SHA-256"):
        verify.run(str(store))
    with raises(Damaged, "file", path, "SHA-256"):
        search(store)
