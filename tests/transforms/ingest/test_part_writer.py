"""Parts: written, read back by us and by others, retried and given up."""

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.stores import (
    DIM,
    make_chunk,
    make_format,
    make_identity,
    make_vectors,
    write_part,
)
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.parts import MODEL_KEY
from transforms.catalog.segment import PartInfo
from transforms.errors import BadInput, Damaged
from transforms.ingest.part_writer import ROWS_PER_GROUP, PartWriter
from transforms.storage import filesystem
from transforms.storage.parquet_files import open_parquet, reading
from transforms.storage.schema import EMPTY, PASSAGE_FIELDS, REJECT_SCHEMA
from transforms.storage.vectors import vectors_to_arrow, vectors_to_numpy

FORM = make_format(year=pa.int16())


@pytest.fixture
def paths(tmp_path: Path) -> SegmentPaths:
    return SegmentPaths(str(tmp_path), "s")


def files(paths: SegmentPaths) -> list[str]:
    """Everything below the segment's folder."""
    root = Path(paths.root)
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def write_chunks(paths: SegmentPaths, *chunks: pa.Table, part: int = 3) -> PartInfo:
    writer = PartWriter(paths, part, FORM)
    for chunk in chunks:
        writer.write(chunk)
    return writer.finish()


def test_a_part_is_read_back_as_it_was_written(paths: SegmentPaths) -> None:
    chunks = [make_chunk(3, 0, 10, last=False, seed=1), make_chunk(3, 1, 7, last=True, seed=2)]
    info = write_chunks(paths, *chunks)
    found = pq.read_table(Path(paths.vectors, info.name))
    assert found.schema.equals(FORM.schema)
    assert found.column_names == [*[f.name for f in PASSAGE_FIELDS], "year", "vector"]
    written = pa.concat_tables(chunk.replace_schema_metadata() for chunk in chunks)
    for name in found.column_names[:-1]:
        assert found.column(name).to_pylist() == written.column(name).to_pylist()
    vectors = np.concatenate([make_vectors(10, 1), make_vectors(7, 2)])
    np.testing.assert_array_equal(vectors_to_numpy(found.column("vector")), vectors)


def test_what_a_part_says_of_itself_is_so(paths: SegmentPaths) -> None:
    info = write_chunks(
        paths, make_chunk(3, 0, 10, last=False, rejects=2), make_chunk(3, 1, 7, last=True)
    )
    url = filesystem.join(paths.vectors, info.name)
    assert (info.number, info.rows, info.documents, info.tokens) == (3, 17, 5 + 4, 51)
    assert info.text_bytes == 17 * len("naïve".encode())
    assert (info.bytes, info.sha256) == (filesystem.size(url), filesystem.sha256(url))
    assert info.name == f"part-00003-{info.sha256[:8]}.parquet"
    assert paths.read_marker(3) == info
    assert paths.finished_parts() == {3}


def test_rows_that_stand_for_nothing_are_counted_and_not_written(paths: SegmentPaths) -> None:
    chunk = make_chunk(3, 0, 10, last=True)
    empty = pa.array([row >= 6 for row in range(10)])
    info = write_chunks(paths, chunk.append_column(EMPTY, empty))
    assert (info.rows, info.documents) == (6, 5)
    assert pq.read_table(Path(paths.vectors, info.name)).num_rows == 6


def test_rejected_rows_go_to_a_file_of_their_own(paths: SegmentPaths) -> None:
    info = write_chunks(
        paths,
        make_chunk(3, 0, 4, last=False, rejects=1),
        make_chunk(3, 1, 2, last=True, rejects=2),
    )
    assert info.rejects == {"empty text": 3}
    url = filesystem.join(paths.rejects, info.rejects_name)
    assert filesystem.sha256(url) == info.rejects_sha256
    table = pq.read_table(url)
    assert table.schema == REJECT_SCHEMA
    assert table.to_pylist() == [
        {
            "document_id": f"d3-{number}-{row}",
            "file": f"f{number}",
            "row": row,
            "reason": reason,
            "text_hash": bytes(16),
        }
        for number, row, reason in (
            (0, 4, "empty text"),
            (1, 2, "empty text"),
            (1, 3, "empty text"),
        )
    ]


def test_a_part_of_rejects_alone_is_a_part_without_rows(paths: SegmentPaths) -> None:
    info = write_part(paths, FORM, 3, rows=0, rejects=5)
    assert (info.rows, info.documents, info.tokens, info.rejects) == (0, 0, 0, {"empty text": 5})
    assert pq.read_table(Path(paths.vectors, info.name)).num_rows == 0


def test_a_part_without_rejects_has_no_rejects_file(paths: SegmentPaths) -> None:
    info = write_part(paths, FORM, 0)
    assert (info.rejects_name, info.rejects_sha256) == ("", "")
    assert files(paths) == sorted(["vectors/part-00000.json", f"vectors/{info.name}"])


@pytest.mark.parametrize(("part", "number"), [(3, 1), (2, 0)])
def test_a_chunk_out_of_order_is_refused_and_nothing_becomes_visible(
    paths: SegmentPaths, part: int, number: int
) -> None:
    writer = PartWriter(paths, 3, FORM)
    with pytest.raises(BadInput) as caught:
        writer.write(make_chunk(part, number, 2, last=True))
    assert (caught.value.option, caught.value.value) == ("part", 3)
    assert f"chunk {number} of part {part}" in caught.value.problem
    writer.abort()
    assert files(paths) == []


def test_a_chunk_twice_is_refused(paths: SegmentPaths) -> None:
    writer = PartWriter(paths, 3, FORM)
    writer.write(make_chunk(3, 0, 2, last=False))
    with pytest.raises(BadInput) as caught:
        writer.write(make_chunk(3, 0, 2, last=False))
    assert (caught.value.option, caught.value.value) == ("part", 3)
    writer.abort()
    assert files(paths) == []


def test_a_part_given_up_half_way_leaves_nothing(paths: SegmentPaths) -> None:
    writer = PartWriter(paths, 3, FORM)
    writer.write(make_chunk(3, 0, 1_000, last=False, rejects=3))
    assert [name for name in files(paths) if ".tmp-" not in name] == []
    writer.abort()
    assert files(paths) == []
    assert paths.finished_parts() == set()


def test_a_second_attempt_adopts_the_first_ones_marker_and_removes_its_own_files(
    paths: SegmentPaths,
) -> None:
    one, two = PartWriter(paths, 3, FORM), PartWriter(paths, 3, FORM)
    one.write(make_chunk(3, 0, 6, last=True, rejects=1, seed=1))
    two.write(make_chunk(3, 0, 6, last=True, rejects=2, seed=2))
    first = one.finish()
    assert two.finish() == first
    kept = [f"rejects/{first.rejects_name}", "vectors/part-00003.json", f"vectors/{first.name}"]
    assert files(paths) == sorted(kept)


def test_a_second_attempt_with_the_same_bytes_keeps_the_file(paths: SegmentPaths) -> None:
    first = write_part(paths, FORM, 3, rejects=1)
    before = files(paths)
    assert write_part(paths, FORM, 3, rejects=1) == first
    assert files(paths) == before
    assert filesystem.sha256(filesystem.join(paths.vectors, first.name)) == first.sha256


def test_the_models_identity_is_in_the_file(paths: SegmentPaths) -> None:
    info = write_part(paths, FORM, 0)
    metadata = pq.read_schema(Path(paths.vectors, info.name)).metadata
    assert json.loads(metadata[MODEL_KEY]) == make_identity().to_dict()


def test_float16_vectors_are_written_as_such(paths: SegmentPaths) -> None:
    info = write_part(paths, make_format("float16", year=pa.int16()), 0, rows=6)
    column = pq.read_table(Path(paths.vectors, info.name)).column("vector")
    assert column.type == pa.list_(pa.float16(), DIM)
    np.testing.assert_allclose(vectors_to_numpy(column), make_vectors(6), atol=1e-3)


def test_a_vector_that_does_not_fit_float16_is_rejected(paths: SegmentPaths) -> None:
    chunk = make_chunk(3, 0, 4, last=True)
    vectors = vectors_to_numpy(chunk.column("vector")).copy()
    vectors[2, 0] = 70_000
    place = chunk.schema.get_field_index("vector")
    chunk = chunk.set_column(
        place, chunk.schema.field(place), vectors_to_arrow(vectors, pa.float32())
    )
    writer = PartWriter(paths, 3, replace(FORM, vector_dtype="float16"))
    writer.write(chunk)
    info = writer.finish()
    assert (info.rows, info.rejects) == (3, {"vector does not fit float16": 1})


def test_row_groups_are_small(paths: SegmentPaths) -> None:
    info = write_part(paths, FORM, 0, rows=ROWS_PER_GROUP * 2 + 10)
    metadata = pq.read_metadata(Path(paths.vectors, info.name))
    groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert groups == [ROWS_PER_GROUP, ROWS_PER_GROUP, 10]


def test_duckdb_and_pandas_read_a_part(paths: SegmentPaths) -> None:
    info = write_part(paths, FORM, 0, rows=12)
    path = str(Path(paths.vectors, info.name))
    rows = duckdb.sql(f"select document_id, year, vector[1] from '{path}' order by year").fetchall()
    assert [row[:2] for row in rows] == [(f"d0-0-{n // 2}", n) for n in range(12)]
    assert [row[2] for row in rows] == pytest.approx(make_vectors(12)[:, 0].tolist())
    frame = pd.read_parquet(path)
    assert frame["text"].tolist() == ["naïve"] * 12
    np.testing.assert_array_equal(np.stack(frame["vector"].tolist()), make_vectors(12))


def test_a_flipped_bit_is_noticed_when_the_rows_are_read(paths: SegmentPaths) -> None:
    info = write_part(paths, FORM, 0, rows=200)
    url = filesystem.join(paths.vectors, info.name)
    content = Path(url).read_bytes()
    footer = int.from_bytes(content[-8:-4], "little") + 8
    expected = open_parquet(url).read()
    noticed = 0
    places = range(40, len(content) - footer, 151)
    for place in places:
        Path(url).write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        try:
            with reading(url):
                assert open_parquet(url).read().equals(expected)
        except Damaged:
            noticed += 1
    assert noticed > len(places) * 0.8


@pytest.mark.parametrize("error", [OSError("torn"), pa.ArrowInvalid("torn"), FileNotFoundError()])
def test_what_fails_while_a_part_is_read_names_the_file(error: Exception) -> None:
    with pytest.raises(Damaged) as caught, reading("store/part.parquet"):
        raise error
    assert caught.value.value == "store/part.parquet"


def test_a_network_that_fails_is_no_damage() -> None:
    with pytest.raises(TimeoutError), reading("store/part.parquet"):
        raise TimeoutError("slow")
