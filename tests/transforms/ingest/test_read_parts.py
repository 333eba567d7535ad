"""The rows of a part, chunk by chunk, and why some can't be embedded."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap64

from tests.support.damage import hide_page
from transforms.catalog.options import ColumnOptions
from transforms.catalog.plan import Part, Plan
from transforms.errors import BadInput, Damaged
from transforms.ingest import part_tables, read_parts
from transforms.ingest.part_tables import Chunk, chunk_of
from transforms.ingest.partitioning import plan_parts
from transforms.ingest.read_parts import read_chunks, read_ids, read_part, reject_reasons
from transforms.ingest.survey import slices_of, survey_input
from transforms.storage.hashing import metadata_hashes
from transforms.storage.input_files import list_inputs
from transforms.storage.schema import FILE, REJECT, ROW


def plan_of(folder: Path, rows: int | None = None, **columns: object) -> Plan:
    options = ColumnOptions(**columns)  # type: ignore[arg-type]
    return plan_parts(survey_input(list_inputs((str(folder),)), options), rows, 1_000)


def read(plan: Plan) -> pa.Table:
    """All rows of all parts."""
    tables = [table for part in plan.parts for table in read_part(plan, part)]
    return pa.concat_tables(table.replace_schema_metadata() for table in tables)


def one_file(folder: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), folder / "a.parquet")
    return folder


def not_utf8(*values: bytes) -> pa.Array:
    """A string array that holds any bytes, as careless writers make them."""
    offsets = np.cumsum([0, *map(len, values)]).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


@pytest.fixture(scope="module")
def three_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three")
    for name, rows, group in (("a", 23, 5), ("b", 1, 5), ("c", 40, 16)):
        table = pa.table(
            {
                "id": [f"{name}{row}" for row in range(rows)],
                "text": [f"text {name} {row}" for row in range(rows)],
                "year": pa.array(range(rows), pa.int16()),
            }
        )
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=group)
    return folder


@pytest.mark.parametrize("rows", [1, 3, 7, 16, 64])
def test_parts_over_files_and_row_groups_give_the_right_rows_with_their_places(
    three_files: Path, rows: int
) -> None:
    found = read(plan_of(three_files, rows, all_columns=True)).to_pylist()
    expected = [(name, row) for name, n in (("a", 23), ("b", 1), ("c", 40)) for row in range(n)]
    assert [(Path(r[FILE]).stem, r[ROW]) for r in found] == expected
    assert [r["document_id"] for r in found] == [f"{name}{row}" for name, row in expected]
    assert [r["text"] for r in found] == [f"text {name} {row}" for name, row in expected]
    assert [r["year"] for r in found] == [row for _, row in expected]
    assert {r[REJECT] for r in found} == {None}


@pytest.mark.parametrize(("rows", "size"), [(4, 1 << 20), (2_048, 300), (1, 1), (5, 600)])
def test_chunks_are_marked_in_order_and_bounded_and_the_last_one_says_so(
    three_files: Path, monkeypatch: pytest.MonkeyPatch, rows: int, size: int
) -> None:
    plan = plan_of(three_files, 30)
    whole = read(plan)
    for module in (read_parts, part_tables):
        monkeypatch.setattr(module, "ROWS_PER_CHUNK", rows)
        monkeypatch.setattr(module, "BYTES_PER_CHUNK", size)
    assert len(plan.parts) == 3
    for part in plan.parts:
        tables = list(read_part(plan, part))
        assert [chunk_of(table) for table in tables] == [
            Chunk(part.number, number, last=number == len(tables) - 1)
            for number in range(len(tables))
        ]
        assert sum(table.num_rows for table in tables) == part.rows
        assert all(0 < table.num_rows <= rows for table in tables)
        assert len(tables) >= part.rows / rows
        assert all(table.num_rows == 1 or table.nbytes <= size for table in tables)
    assert len(list(read_part(plan, plan.parts[0]))) > 2
    assert read(plan).equals(whole)


def test_a_part_without_rows_is_damage(three_files: Path) -> None:
    with pytest.raises(Damaged) as caught:
        next(read_part(plan_of(three_files), Part(9, ())))
    assert (caught.value.option, caught.value.value) == ("part", 9)


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint32()], ids=str)
def test_integer_ids_become_decimal_strings(tmp_path: Path, kind: pa.DataType) -> None:
    found = read(plan_of(one_file(tmp_path, id=pa.array([7, None], kind), text=["x", "y"])))
    assert found.column("document_id").to_pylist() == ["7", None]
    assert found.schema.field("document_id").type == pa.string()


@pytest.mark.parametrize(
    "kind",
    [
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.dictionary(pa.int8(), pa.large_string()),
    ],
    ids=str,
)
def test_every_kind_of_string_is_read(tmp_path: Path, kind: pa.DataType) -> None:
    ids, texts = pa.array(["a", "b", "a2"]).cast(kind), pa.array(["x", None, "x"]).cast(kind)
    plan = plan_of(one_file(tmp_path, id=ids, text=texts, m=texts), all_columns=True)
    found = read(plan)
    assert found.column("document_id").to_pylist() == ["a", "b", "a2"]
    assert found.column("text").to_pylist() == ["x", None, "x"]
    assert found.column("m").to_pylist() == ["x", None, "x"]
    # What the writer does with it.
    assert found.filter(pa.array([True, False, True])).num_rows == 2
    assert found.schema.field("text").type == pa.string()


def test_rows_that_can_not_be_embedded_say_why(tmp_path: Path) -> None:
    ids = ["a", None, "c", "d", "e", "f"]
    texts = ["x", "x", None, "", " \n\u2003", "\u200b y"]
    found = read(plan_of(one_file(tmp_path, id=ids, text=texts)))
    assert found.column(REJECT).to_pylist() == [
        None, "null id", "null text", "empty text", "blank text", None,
    ]  # fmt: skip
    assert found.column("text").to_pylist() == texts


@given(st.lists(st.tuples(st.none() | st.text(max_size=2), st.none() | st.text(max_size=3))))
def test_a_row_is_rejected_exactly_where_id_or_text_say_nothing(
    rows: list[tuple[str | None, str | None]],
) -> None:
    reasons = reject_reasons([i for i, _ in rows], [t for _, t in rows])
    good = [i is not None and t is not None and t.strip() != "" for i, t in rows]
    assert [reason is None for reason in reasons] == good


def test_texts_and_ids_that_are_not_utf8_are_rejected_alone(tmp_path: Path) -> None:
    folder = one_file(
        tmp_path,
        id=not_utf8(b"a", b"b", b"\xffc", b"d"),
        text=not_utf8(b"river", b"bad \xe9", b"stone", "naïve".encode()),
    )
    found = read(plan_of(folder))
    assert found.column(REJECT).to_pylist() == [
        None, "text is not UTF-8", "id is not UTF-8", None,
    ]  # fmt: skip
    assert found.column("text").to_pylist() == ["river", None, "stone", "naïve"]
    assert found.column("document_id").to_pylist() == ["a", "b", None, "d"]
    assert found.column(ROW).to_pylist() == [0, 1, 2, 3]


def test_metadata_that_is_not_utf8_is_an_error_that_names_its_place(tmp_path: Path) -> None:
    folder = one_file(tmp_path, id=["a", "b"], text=["x", "y"], m=not_utf8(b"a", b"\xff"))
    with pytest.raises(BadInput) as caught:
        read(plan_of(folder, all_columns=True))
    assert (caught.value.option, caught.value.value) == ("input file", str(folder / "a.parquet"))
    assert "'utf-8'" in caught.value.problem
    assert "row 1 of the metadata column 'm'" in caught.value.problem


def test_a_file_that_is_corrupt_inside_is_named(tmp_path: Path) -> None:
    folder = one_file(
        tmp_path, id=[str(n) for n in range(500)], text=[f"{n:090}" for n in range(500)]
    )
    path = folder / "a.parquet"
    content = bytearray(path.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
    path.write_bytes(content)
    plan = plan_of(folder)
    with pytest.raises(BadInput) as caught:
        read(plan)
    assert (caught.value.option, caught.value.value) == ("input file", str(path))
    assert "row group 0" in caught.value.problem


def lossy(folder: Path, rows: int = 60) -> Path:
    """A file of one row group, in which the first page of the texts is lost."""
    table = pa.table(
        {"id": [f"d{n}" for n in range(rows)], "text": [f"{n:090}" for n in range(rows)]}
    )
    pq.write_table(
        table, folder / "a.parquet", compression="none", use_dictionary=False, data_page_size=500,
        write_batch_size=5,
    )  # fmt: skip
    hide_page(folder / "a.parquet", 1)
    return folder


def test_a_lost_page_is_noticed_although_the_last_rows_are_not_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_parts, "ROWS_PER_CHUNK", 7)
    files = list_inputs((str(lossy(tmp_path)),))
    survey = survey_input(files, ColumnOptions())
    plan = plan_parts(survey, 10, 1_000, [BitMap64(range(25))])
    with pytest.raises(BadInput) as caught:
        read(plan)
    assert (caught.value.option, caught.value.value) == ("input file", files[0].url)
    assert "row group 0" in caught.value.problem
    # Whoever reads the ids alone is not deceived by it.
    [piece] = slices_of(survey)
    assert sum(table.num_rows for table in read_ids(survey, piece)) == 60


@pytest.mark.parametrize("size", [1, 7, 2_048])
def test_a_lost_page_is_noticed_in_batches_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(read_parts, "ROWS_PER_CHUNK", size)
    with pytest.raises(BadInput) as caught:
        read(plan_of(lossy(tmp_path), 25))
    assert caught.value.value == str(tmp_path / "a.parquet")


def test_metadata_keeps_its_types_under_new_names_and_is_hashed(tmp_path: Path) -> None:
    nested = pa.array(
        [{"a": [1, None], "b": {"c": "x"}}, None],
        pa.struct([("a", pa.list_(pa.int8())), ("b", pa.struct([("c", pa.string())]))]),
    )
    times = pa.array([1, None], pa.timestamp("ns", "Europe/Berlin"))
    folder = one_file(tmp_path, id=["a", "b"], text=["x", "y"], start=nested, when=times)
    plan = plan_of(folder, metadata=(("begin", "start"), ("when", "when"), ("again", "when")))
    found = read(plan)
    assert found.column_names[-3:] == ["begin", "when", "again"]
    assert found.column("begin").combine_chunks().equals(nested)
    assert found.column("when").combine_chunks().equals(times)
    assert found.column("again").type == times.type
    columns = {name: found.column(name).combine_chunks() for name in found.column_names[-3:]}
    assert found.column("metadata_hash").to_pylist() == metadata_hashes(columns, 2).to_pylist()


def test_the_same_column_may_be_id_and_metadata(tmp_path: Path) -> None:
    folder = one_file(tmp_path, id=[1, 2], text=["x", "y"])
    found = read(plan_of(folder, metadata=(("number", "id"),)))
    assert found.column("document_id").to_pylist() == ["1", "2"]
    assert found.column("number").to_pylist() == [1, 2]


def test_files_with_and_without_a_type_for_a_column_agree_on_what_is_read(tmp_path: Path) -> None:
    for name, values in (("a", pa.nulls(1)), ("b", pa.array(["m"]))):
        table = pa.table({"id": [name], "text": ["x"], "m": values})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    found = read(plan_of(tmp_path, all_columns=True))
    assert found.column("m").to_pylist() == [None, "m"]
    assert found.column("m").type == pa.string()


def test_a_file_that_changes_between_plan_and_reading_stops_the_run(tmp_path: Path) -> None:
    folder = one_file(tmp_path, id=["a", "b"], text=["river", "stone"])
    plan = plan_of(folder)
    [part] = plan.parts
    assert sum(table.num_rows for table in read_chunks(plan, part)) == 2
    path = folder / "a.parquet"
    os.utime(path, (1, 1))
    with pytest.raises(BadInput) as caught:
        list(read_chunks(plan, part))
    assert (caught.value.option, caught.value.value) == ("input", str(path))
    path.unlink()
    with pytest.raises((BadInput, FileNotFoundError), match=r"a\.parquet"):
        list(read_chunks(plan, part))
