"""``albeam verify --deep`` finds damage that the digests of the manifests cannot show."""

import base64
import dataclasses
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from pipeline.ingest import embed
from pipeline.ingest.options import EmbedOptions
from pipeline.maintenance import compact, verify
from tests.support.damage import rewrite_manifest, rewrite_part, segment_file
from tests.support.models import make_texts, write_corpus
from tests.support.options import embed_options
from tests.support.raising import finds_damage, raises
from transforms.catalog.options import ColumnOptions
from transforms.errors import BadInput, Damaged
from transforms.index.options import IndexOptions
from transforms.index.vector.faiss_files import read_index, write_index
from transforms.models.options import ModelOptions
from transforms.search.store import Store
from transforms.storage import filesystem
from transforms.storage.vectors import vectors_to_arrow, vectors_to_numpy
from transforms.transactions.removal import remove_documents


@pytest.fixture(scope="session")
def options(albert: Path, tmp_path_factory: pytest.TempPathFactory) -> EmbedOptions:
    folder = tmp_path_factory.mktemp("deep")
    corpus = write_corpus(folder / "corpus", list(make_texts(60, seed=3, longest=90)))
    options = embed_options(
        folder / "store", albert, corpus,
        columns=ColumnOptions(), index=IndexOptions("flat"), rows_per_part=40,
    )  # fmt: skip
    embed.run(options)
    return options


@pytest.fixture
def store(options: EmbedOptions, tmp_path: Path) -> Path:
    return Path(shutil.copytree(options.store, tmp_path / "store"))


def test_a_sound_store_is_sound(store: Path) -> None:
    report = verify.run(str(store), deep=True)
    assert report.deep is not None
    assert report.deep.sampled == 64
    assert report.deep.least_cosine > 0.999
    assert report.deep.recall == 1.0


@pytest.mark.parametrize("index", ["none", "IVF4,Flat", "HNSW16"])
@pytest.mark.parametrize("vector_dtype", ["float32", "float16"])
def test_other_indexes_and_widths_are_sound_with_dead_rows_and_compacted(
    options: EmbedOptions, tmp_path: Path, index: str, vector_dtype: str
) -> None:
    store = str(tmp_path / "other")
    embed.run(
        dataclasses.replace(
            options, store=store, index=IndexOptions(index, 0.3), vector_dtype=vector_dtype
        )
    )
    assert verify.run(store, deep=True).deep.recall > 0.4
    remove_documents(store, ["doc-00001", "doc-00044"])
    assert verify.run(store, deep=True).deep.least_cosine > 0.999
    compact.run(store)
    assert verify.run(store, deep=True).passages == Store.open(store).rows


def test_a_store_of_two_widths_is_sound(options: EmbedOptions, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    embed.run(dataclasses.replace(options, store=store, vector_dtype="float16"))
    table = pa.table({"id": ["x", "y"], "text": ["river stone", "winter paper"]})
    pq.write_table(table, tmp_path / "more.parquet")
    embed.run(dataclasses.replace(options, store=store, inputs=(str(tmp_path / "more.parquet"),)))
    assert verify.run(store, deep=True).deep.sampled == 64


def test_a_store_without_rows_is_sound(store: Path) -> None:
    remove_documents(str(store), [f"doc-{n:05d}" for n in range(60)])
    assert verify.run(str(store), deep=True).deep.sampled == 0


def swapped(table: pa.Table) -> pa.Table:
    """The first two documents' vectors, each in the other's place."""
    vectors = vectors_to_numpy(table["vector"])
    order = np.arange(len(vectors))[::-1]
    place = table.schema.get_field_index("vector")
    column = vectors_to_arrow(vectors[order], pa.float32())
    return table.set_column(place, table.schema.field(place), column)


def test_vectors_that_are_not_their_texts_are_found_with_what_to_do(store: Path) -> None:
    table = pq.read_table(segment_file(store, "vectors/part-00000-*"))
    rewrite_part(store, 0, swapped(table))
    assert verify.run(str(store)).snapshot == 1
    with pytest.raises(Damaged) as caught:
        verify.run(str(store), deep=True)
    message = str(caught.value)
    assert re.search(r"cosine \S+ with the stored one, below 0\.99\. Embed again", message)
    assert "the index gives its nearest passages the scores" in message


def test_an_index_of_other_vectors_is_found(store: Path) -> None:
    path = segment_file(store, "index/*")
    import faiss

    other = faiss.IndexFlatIP(48)
    rows = Store.open(str(store)).rows
    other.add(np.random.default_rng(1).normal(size=(rows, 48)).astype(np.float32))
    write_index(other, str(path))

    def vouch(value: dict) -> None:
        shard = value["index"]["shards"][0]["file"]
        shard.update(sha256=filesystem.sha256(str(path)), bytes=path.stat().st_size)

    rewrite_manifest(store, vouch)
    assert read_index(path, "Flat", 48, rows).ntotal == rows
    assert verify.run(str(store)).snapshot == 1
    with finds_damage(store, "the index", "exact search"):
        verify.run(str(store), deep=True)


def test_a_model_that_is_gone_is_named_and_its_new_place_is_taken(
    options: EmbedOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Path(shutil.copytree(str(options.model.model), tmp_path / "model"))
    store = str(tmp_path / "store")
    moved = ModelOptions(str(model), max_tokens=48)
    embed.run(dataclasses.replace(options, store=store, model=moved))
    model.rename(tmp_path / "moved")
    assert verify.run(store).snapshot == 1
    with raises(BadInput, "model", model) as caught:
        verify.run(store, deep=True)
    assert "--model" in caught.value.remedy
    assert main(["verify", store, "--deep", "--model", str(tmp_path / "moved"), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert list(value) == ["store", "snapshot", "segments", "files", "passages", "deep"]
    assert list(value["deep"]) == ["sampled", "least_cosine", "recall", "recut"]
    assert main(["verify", store, "--deep", "--model", str(tmp_path / "moved")]) == 0
    assert "64 vectors computed again: lowest cosine" in capsys.readouterr().out


@pytest.fixture(params=[0, 8])
def pictures(options: EmbedOptions, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A store of documents with words that are longer than a passage."""
    random = np.random.default_rng(3)
    texts = [
        f"A picture {number}: data:image/png;base64,{base64.b64encode(random.bytes(700)).decode()}"
        for number in range(3)
    ]
    table = pa.table({"id": ["p0", "p1", "p2", "x"], "text": [*texts, "river stone"]})
    pq.write_table(table, tmp_path / "pictures.parquet")
    store = str(tmp_path / "store")
    inputs = (str(tmp_path / "pictures.parquet"),)
    embed.run(replace(options, store=store, inputs=inputs, stride=request.param))
    return store


def test_passages_that_are_cut_inside_a_word_are_sound(
    pictures: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report = verify.run(pictures, deep=True)
    assert report.deep is not None
    assert report.deep.sampled == min(report.passages, 64)
    assert report.deep.recut > 10
    assert report.deep.least_cosine > 0.99
    assert main(["verify", pictures, "--deep"]) == 0
    assert f"({report.deep.recut} by their whole documents)" in capsys.readouterr().out
    compact.run(pictures)
    remove_documents(pictures, ["p1"])
    assert verify.run(pictures, deep=True).deep.recut > 10


def test_damage_of_such_passages_is_found(pictures: str) -> None:
    table = pq.read_table(segment_file(Path(pictures), "vectors/part-00000-*"))
    rewrite_part(Path(pictures), 0, swapped(table))
    assert verify.run(pictures).snapshot == 1
    with raises(Damaged, "store", problem="cosine") as caught:
        verify.run(pictures, deep=True)
    # A vector in the middle may stay where it is, and some are alike.
    assert str(caught.value).count("passage") > table.num_rows // 2


def test_a_changed_text_of_such_a_passage_is_found(pictures: str) -> None:
    table = pq.read_table(segment_file(Path(pictures), "vectors/part-00000-*"))
    texts = table["text"].to_pylist()
    place = texts.index(next(text for text in texts[2:] if len(text) > 20))
    texts[place] = "river stone " * (len(texts[place]) // 12) + "x" * (len(texts[place]) % 12)
    column = table.schema.get_field_index("text")
    changed = table.set_column(column, table.schema.field(column), pa.array(texts, pa.string()))
    rewrite_part(Path(pictures), 0, changed)
    name = table["document_id"][place].as_py()
    number = table["passage"][place].as_py()
    with raises(Damaged, "store", problem=f"passage {number} of document '{name}'"):
        verify.run(pictures, deep=True)
