"""Stores of int8 vectors: they are not mixed with others, and are checked bit for bit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.ingest import embed
from pipeline.ingest.options import EmbedOptions
from pipeline.maintenance import verify
from tests.support.damage import rewrite_part, segment_file
from tests.support.models import make_texts, write_corpus
from tests.support.options import embed_options
from tests.support.raising import finds_damage, raises
from transforms.errors import BadInput
from transforms.ingest.embed_passages import AlbertTableHandler
from transforms.models.identity import INT8
from transforms.models.options import Placement
from transforms.models.resolve import options_for
from transforms.runtime.devices import supports_int8
from transforms.search.store import Store
from transforms.storage.vectors import vectors_to_arrow, vectors_to_numpy

pytestmark = pytest.mark.skipif(not supports_int8(), reason="this CPU has no units for bytes")


@pytest.fixture
def options(albert: Path, tmp_path: Path) -> EmbedOptions:
    corpus = write_corpus(tmp_path / "corpus", list(make_texts(40, seed=5, longest=60)))
    return embed_options(
        tmp_path / "store", albert, corpus, placement=Placement("cpu", "int8"), rows_per_part=20
    )


@pytest.mark.parametrize("vector_dtype", ["float32", "float16"])
def test_a_store_of_int8_vectors_names_its_precision_and_is_verified_bit_for_bit(
    options: EmbedOptions, vector_dtype: str
) -> None:
    summary = embed.run(replace(options, vector_dtype=vector_dtype))
    assert summary.dtype == "int8"
    store = Store.open(options.store)
    assert store.snapshot.identity.precision == INT8
    # Questions need not be embedded in int8.
    assert len(store.search(["river stone"], k=3)[0]) == 3
    report = verify.run(options.store, deep=True)
    assert report.deep is not None
    assert report.deep.least_cosine > 0.999999
    table = pq.read_table(segment_file(Path(options.store), "vectors/part-00000-*"))
    vectors = vectors_to_numpy(table["vector"]).copy()
    # So little is within the bound of the cosine, but no other bit pattern is right.
    vectors[0, 0] = np.nextafter(np.float16(vectors[0, 0]), np.float16(1))
    place = table.schema.get_field_index("vector")
    column = vectors_to_arrow(vectors, table.schema.field(place).type.value_type)
    rewrite_part(Path(options.store), 0, table.set_column(place, table.schema.field(place), column))
    with finds_damage(options.store, "int8 vector of its text differs from the stored one"):
        verify.run(options.store, deep=True)


@pytest.mark.parametrize(
    ("first", "second", "remedy"),
    [("int8", "auto", "--dtype int8"), ("float32", "int8", "another --dtype, such as auto")],
)
def test_vectors_of_another_precision_are_not_added(
    options: EmbedOptions, albert: Path, tmp_path: Path, first: str, second: str, remedy: str
) -> None:
    embed.run(replace(options, placement=Placement("cpu", first)))
    more = write_corpus(tmp_path / "more", list(make_texts(5, seed=6)))
    added = embed_options(options.store, albert, more, placement=Placement("cpu", second))
    with raises(BadInput, option="dtype") as caught:
        embed.run(added)
    assert remedy in caught.value.remedy
    assert Store.open(options.store).snapshot.number == 1


def test_a_worker_whose_cpu_lacks_the_units_fails(
    options: EmbedOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed.run(options)
    pinned = options_for(Store.open(options.store).snapshot.identity)
    handler = AlbertTableHandler(pinned, Placement("cpu", "int8"))
    assert handler.load_model().dtype == "int8"
    monkeypatch.setattr("transforms.encoder.placement.supports_int8", lambda: False)
    with raises(BadInput, option="dtype", value="float32"):
        handler.load_model()
