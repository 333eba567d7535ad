"""Which rows make which part, and what an input is checked for before a run."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap64

from tests.faults.fuzz_inputs import encrypted
from transforms.catalog.options import ColumnOptions
from transforms.catalog.plan import Part, Plan
from transforms.errors import BadInput, Damaged
from transforms.ingest.partitioning import (
    FEWEST_ROWS,
    MOST_ROWS,
    choose_rows_per_part,
    cut_parts,
    plan_parts,
)
from transforms.ingest.read_parts import read_slices
from transforms.ingest.survey import RowGroup, slices_of, survey_input
from transforms.storage.checksummed_json import seal
from transforms.storage.filesystem import FileInfo
from transforms.storage.input_files import list_inputs

GROUPS = st.lists(
    st.lists(st.builds(RowGroup, st.integers(0, 40), st.integers(0, 400)), max_size=4), max_size=4
)
FILES = st.lists(st.builds(FileInfo, st.text(), st.integers(0), st.text()), max_size=3)
NAMES = st.text(max_size=5)


def write(folder: Path, name: str = "a.parquet", **columns: object) -> Path:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / name, row_group_size=4)
    return folder


def plan(folder: Path, rows_per_part: int | None = None, **columns: object) -> Plan:
    options = ColumnOptions(**columns)  # type: ignore[arg-type]
    return plan_parts(survey_input(list_inputs((str(folder),)), options), rows_per_part, 1_000)


def addresses(parts: list[Part]) -> list[tuple[int, int, int, int]]:
    """File, row group, row in the group and row in the file of every row, in the parts' order."""
    return [
        (s.file, s.row_group, row, s.row + row - s.start)
        for part in parts
        for s in part.slices
        for row in s.chosen(0, s.stop).tolist()
    ]


@given(GROUPS, st.integers(1, 30), st.integers(1, 300))
def test_parts_have_every_row_once_and_in_order_with_its_number_in_its_file(
    groups: list[list[RowGroup]], rows: int, text_bytes: int
) -> None:
    expected = []
    for file, file_groups in enumerate(groups):
        number = 0
        for index, group in enumerate(file_groups):
            for row in range(group.rows):
                expected.append((file, index, row, number))
                number += 1
    parts = list(cut_parts(groups, rows, text_bytes))
    assert addresses(parts) == expected
    assert [part.number for part in parts] == list(range(len(parts)))
    assert all(s.start < s.stop for part in parts for s in part.slices)


@given(GROUPS, st.integers(1, 30), st.integers(1, 300))
def test_parts_keep_both_bounds_and_are_cut_only_where_one_is_reached(
    groups: list[list[RowGroup]], rows: int, text_bytes: int
) -> None:
    parts = list(cut_parts(groups, rows, text_bytes))
    sizes = [
        [
            groups[file][group].text_bytes / groups[file][group].rows
            for file, group, _, _ in addresses([part])
        ]
        for part in parts
    ]
    for part, size in zip(parts, sizes, strict=True):
        assert 0 < part.rows == len(size) <= rows
        assert part.rows == 1 or sum(size) <= text_bytes + 1e-6
    for part, size, following in zip(parts, sizes, sizes[1:], strict=False):
        full = part.rows == rows
        assert full or sum(size) + following[0] > text_bytes - 1e-6


@given(GROUPS, st.integers(1, 30), st.integers(1, 300), st.data())
def test_parts_of_chosen_rows_have_those_alone_and_a_row_group_is_cut_only_at_a_parts_end(
    groups: list[list[RowGroup]], rows: int, text_bytes: int, data: st.DataObject
) -> None:
    sizes = [sum(group.rows for group in file) for file in groups]
    chosen = [data.draw(st.sets(st.integers(0, n - 1)) if n else st.just(set())) for n in sizes]
    maps = [BitMap64(rows) for rows in chosen]
    parts = list(cut_parts(groups, rows, text_bytes, maps))
    every = addresses(list(cut_parts(groups, 10**9, 10**9)))
    assert addresses(parts) == [each for each in every if each[3] in chosen[each[0]]]
    assert sum(part.rows for part in parts) == sum(map(len, chosen))
    for part in parts:
        assert 0 < part.rows <= rows
        groups_met = [(s.file, s.row_group) for s in part.slices]
        assert len(set(groups_met)) == len(groups_met)
    files = tuple(FileInfo(f"{number}", 1, "") for number in range(len(groups)))
    before = Plan(files, ColumnOptions(), pa.schema([]), tuple(parts))
    assert Plan.from_json(before.to_json(), "plan.json") == before


@given(FILES, GROUPS, NAMES, st.lists(st.tuples(NAMES, NAMES), max_size=3), st.booleans())
def test_a_plan_survives_json(
    files: list[FileInfo],
    groups: list[list[RowGroup]],
    name: str,
    metadata: list[tuple[str, str]],
    every: bool,
) -> None:
    schema = pa.schema(
        [("a", pa.timestamp("ns", "UTC")), ("b", pa.list_(pa.struct([("c", "i1")])))]
    )
    columns = ColumnOptions(name, name, tuple(metadata), every)
    parts = tuple(cut_parts(groups[: len(files)], 7, 100))
    before = Plan(tuple(files), columns, schema, parts)
    after = Plan.from_json(before.to_json(), "plan.json")
    assert after == before
    assert after.to_json() == before.to_json()
    assert after.rows == sum(group.rows for file in groups[: len(files)] for group in file)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"1", b"null", b"{}", b'{"columns": "x"}', b'{"columns": {}}',
        b'{"files": [{}], "columns": {"metadata": []}, "schema": "", "parts": []}',
        b'{"files": [], "columns": {"metadata": []}, "schema": "zz", "parts": []}',
        b'{"files": [], "columns": {"metadata": []}, "schema": "00", "parts": []}',
    ],
)  # fmt: skip
def test_a_broken_plan_is_damaged_and_named(content: bytes) -> None:
    contents = [content]
    if content.startswith(b"{") and content != b"{":
        contents.append(seal(json.loads(content)))
    for each in contents:
        with pytest.raises(Damaged) as caught:
            Plan.from_json(each, "store/plan.json")
        assert caught.value.value == "store/plan.json"


def test_a_plan_with_a_torn_slice_is_damaged(tmp_path: Path) -> None:
    value = json.loads(plan(write(tmp_path, id=["a"], text=["x"])).to_json())
    value["parts"][0][0].pop()
    del value["digest"]
    with pytest.raises(Damaged) as caught:
        Plan.from_json(seal(value), "plan.json")
    assert caught.value.value == "plan.json"


def test_parts_join_row_groups_and_files_of_a_real_input(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path, f"{name}.parquet", id=[f"{name}{n}" for n in range(10)], text=["x"] * 10)
    found = plan(tmp_path, 7)
    assert [part.rows for part in found.parts] == [7, 7, 6]
    assert addresses(list(found.parts)) == [
        (file, row // 4, row % 4, row) for file in range(2) for row in range(10)
    ]
    assert [(s.file, s.row_group) for s in found.parts[1].slices] == [(0, 1), (0, 2), (1, 0)]


@given(st.integers(1, 10**9), st.integers(0, 10**12), st.floats(0.1, 1e7))
def test_the_chosen_rows_of_a_part_keep_the_bounds(rows: int, size: int, rate: float) -> None:
    assert FEWEST_ROWS <= choose_rows_per_part(rows, size, rate) <= MOST_ROWS


def test_the_chosen_rows_of_a_part_take_about_half_a_minute() -> None:
    # 400 bytes are 100 tokens; 10,000 tokens a second are 100 rows a second.
    assert choose_rows_per_part(1_000, 400_000, 10_000) == 3_000
    assert choose_rows_per_part(1_000, 400_000, 1) == FEWEST_ROWS
    assert choose_rows_per_part(1_000, 400_000, 1e9) == MOST_ROWS


def test_all_columns_are_taken_under_their_names_and_renamed_ones_once(tmp_path: Path) -> None:
    folder = write(tmp_path, id=["a"], text=["x"], year=[1], start=[2], tags=[["t"]])
    found = plan(folder, all_columns=True, metadata=(("begin", "start"),))
    assert found.columns.metadata == (("begin", "start"), ("year", "year"), ("tags", "tags"))
    assert found.schema.names == ["begin", "year", "tags"]
    assert found.schema.field("tags").type == pa.list_(pa.string())


def test_without_metadata_options_no_further_column_is_taken(tmp_path: Path) -> None:
    found = plan(write(tmp_path, id=["a"], text=["x"], year=[1]))
    assert found.schema.names == []


def test_view_columns_are_written_as_plain_ones(tmp_path: Path) -> None:
    view = pa.array(["v"], pa.string_view())
    found = plan(write(tmp_path, id=["a"], text=["x"], v=view), all_columns=True)
    assert found.schema.field("v").type == pa.string()


def test_a_column_without_type_takes_the_type_of_the_other_files(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet", id=["a"], text=["x"], m=pa.nulls(1))
    write(tmp_path, "b.parquet", id=["b"], text=["x"], m=["s"])
    assert plan(tmp_path, all_columns=True).schema.field("m").type == pa.string()


@pytest.mark.parametrize("first", [pa.nulls(1), pa.array([1], pa.int64())])
def test_files_whose_metadata_types_differ_are_both_named(tmp_path: Path, first: pa.Array) -> None:
    write(tmp_path, "a.parquet", id=["a"], text=["x"], m=first)
    write(tmp_path, "b.parquet", id=["b"], text=["x"], m=pa.array([1], pa.int64()))
    write(tmp_path, "c.parquet", id=["c"], text=["x"], m=["s"])
    with pytest.raises(BadInput) as caught:
        plan(tmp_path, all_columns=True)
    assert caught.value.value == str(tmp_path / "c.parquet")
    assert str(tmp_path / "a.parquet") in caught.value.problem


@pytest.mark.parametrize(
    ("columns", "thing", "value", "details"),
    [
        ({"id_column": "key"}, "input file", "", ("key", "id, text, year", "--id-column")),
        ({"text_column": "body"}, "input file", "", ("body", "id, text, year", "--text-column")),
        ({"metadata": (("m", "m"),)}, "input file", "", ("'m'", "--metadata-columns")),
        ({"text_column": "year"}, "text column", "year", ("int64", "--text-column")),
        ({"id_column": "half"}, "id column", "half", ("double", "--id-column")),
        ({"metadata": (("vector", "year"),)}, "metadata column", "vector", ("vector_=year",)),
        ({"metadata": (("_row", "year"),)}, "metadata column", "_row", ("_row_=year",)),
        ({"metadata": (("y", "year"), ("y", "half"))}, "metadata column", "y", ("2 times",)),
    ],
)
def test_columns_that_do_not_fit_are_named_with_a_remedy(
    tmp_path: Path, columns: dict[str, object], thing: str, value: str, details: tuple[str, ...]
) -> None:
    folder = write(tmp_path, id=["a"], text=["x"], year=[1], half=[0.5])
    with pytest.raises(BadInput) as caught:
        plan(folder, **columns)
    assert caught.value.option == thing
    assert caught.value.value == (value or str(folder / "a.parquet"))
    assert all(each in str(caught.value) for each in details)


def test_a_column_that_one_file_lacks_is_named_with_that_file(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet", id=["a"], text=["x"], m=[1])
    write(tmp_path, "b.parquet", id=["b"], text=["x"])
    with pytest.raises(BadInput) as caught:
        plan(tmp_path, metadata=(("m", "m"),))
    assert caught.value.value == str(tmp_path / "b.parquet")
    assert "'m'" in caught.value.problem


def test_a_column_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), *[pa.array(["x"])] * 2], ["id", "text", "text"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(BadInput) as caught:
        plan(tmp_path)
    assert caught.value.value == str(tmp_path / "a.parquet")
    assert "more than one text column" in caught.value.problem


def test_reserved_names_of_an_input_are_refused_where_all_columns_are_taken(tmp_path: Path) -> None:
    folder = write(tmp_path, id=["a"], text=["x"], passage=[1])
    with pytest.raises(BadInput) as caught:
        plan(folder, all_columns=True)
    assert caught.value.value == "passage"
    assert "--metadata-columns passage_=passage" in caught.value.remedy


@pytest.mark.parametrize("content", [b"", b"hello", b"PAR1" * 5, None])
def test_a_file_that_is_not_whole_parquet_is_named(tmp_path: Path, content: bytes | None) -> None:
    folder = write(tmp_path, id=["a"] * 50, text=["x"] * 50)
    whole = (folder / "a.parquet").read_bytes()
    (folder / "b.parquet").write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(BadInput) as caught:
        plan(folder)
    assert (caught.value.option, caught.value.value) == ("input file", str(folder / "b.parquet"))


@pytest.mark.parametrize("column", ["id", "text"])
def test_a_file_with_an_encrypted_column_is_named(tmp_path: Path, column: str) -> None:
    rows = pa.table({"id": ["a", "b"], "text": ["a river", "a stone"]})
    (tmp_path / "a.parquet").write_bytes(encrypted(rows, column))

    def read() -> None:
        survey = survey_input(list_inputs((str(tmp_path),)), ColumnOptions())
        list(read_slices(survey, *slices_of(survey)))

    with pytest.raises(BadInput) as caught:
        read()
    assert (caught.value.option, caught.value.value) == (
        "input file", str(tmp_path / "a.parquet"),
    )  # fmt: skip
    assert "decrypt" in caught.value.problem


def test_text_bytes_are_those_of_the_texts_and_estimated_in_large_footers(tmp_path: Path) -> None:
    rows = {"id": [f"{n}" for n in range(400)], "text": ["river " * 20] * 400}
    table = pa.table({**rows, "other": ["x" * 1_000] * 400})
    for size in (100, 2):
        path = tmp_path / f"{size}.parquet"
        pq.write_table(table, path, row_group_size=size, use_dictionary=False)
        [footer] = survey_input(list_inputs((str(path),)), ColumnOptions()).groups
        metadata = pq.read_metadata(path)
        exact = [
            metadata.row_group(group).column(1).total_uncompressed_size
            for group in range(metadata.num_row_groups)
        ]
        assert [group.text_bytes for group in footer] == pytest.approx(exact, rel=0.05)
        assert [group.rows for group in footer] == [size] * (400 // size)


def test_a_file_that_went_away_is_named(tmp_path: Path) -> None:
    gone = FileInfo(str(tmp_path / "gone.parquet"), 1, "")
    with pytest.raises(BadInput) as caught:
        survey_input([gone], ColumnOptions())
    assert (caught.value.option, caught.value.value) == ("input file", gone.url)


def test_an_input_without_rows_is_refused(tmp_path: Path) -> None:
    empty = pa.array([], pa.string())
    with pytest.raises(BadInput) as caught:
        plan(write(tmp_path, id=empty, text=empty))
    assert (caught.value.option, caught.value.value) == ("input", str(tmp_path / "a.parquet"))
