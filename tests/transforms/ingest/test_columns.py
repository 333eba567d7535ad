"""Which columns of an input are kept, under which names and types."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.catalog.options import ColumnOptions
from transforms.catalog.plan import Plan
from transforms.errors import BadInput
from transforms.ingest.partitioning import plan_parts
from transforms.ingest.read_parts import read_part
from transforms.ingest.survey import Survey, survey_input
from transforms.storage.file_columns import FileColumns
from transforms.storage.input_files import list_inputs


def write(path: Path, number: int = 0, **columns: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": [f"d{number}"], "text": ["river"], **columns}), path)
    return path


def survey(folder: Path, stored: Sequence[pa.Schema] = (), **columns: object) -> Survey:
    options = ColumnOptions(**({"all_columns": True} | columns))  # type: ignore[arg-type]
    return survey_input(list_inputs((str(folder),)), options, stored)


def read(found: Survey) -> list[dict[str, object]]:
    """The metadata of all rows."""
    plan = plan_parts(found, None, 1_000)
    assert Plan.from_json(plan.to_json(), "plan.json") == plan
    tables = [table for part in plan.parts for table in read_part(plan, part)]
    return [row for table in tables for row in table.select(found.schema.names).to_pylist()]


def refused(folder: Path, stored: Sequence[pa.Schema] = (), **columns: object) -> BadInput:
    with pytest.raises(BadInput) as caught:
        survey(folder, stored, **columns)
    return caught.value


def test_all_columns_are_those_of_every_file_with_nulls(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", 0, year=[1])
    write(tmp_path / "b.parquet", 1, lang=["en"], year=[2])
    write(tmp_path / "c.parquet", 2)
    found = survey(tmp_path)
    assert found.schema == pa.schema([("year", pa.int64()), ("lang", pa.string())])
    assert read(found) == [
        {"year": 1, "lang": None}, {"year": 2, "lang": "en"}, {"year": None, "lang": None},
    ]  # fmt: skip


def test_all_columns_of_every_file_can_be_renamed_and_left_out(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", 0, start=[1], end=[2], more=[3])
    write(tmp_path / "b.parquet", 1, start=[4])
    found = survey(tmp_path, metadata=(("begin", "start"),), excluded=("end",))
    assert read(found) == [{"begin": 1, "more": 3}, {"begin": 4, "more": None}]


def test_an_excluded_column_that_no_file_has_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", 0, lang=["en"])
    error = refused(tmp_path, excluded=("lnag",))
    assert (error.option, error.value) == ("exclude_columns", "lnag")
    assert "lang" in error.problem
    error = refused(tmp_path, excluded=("lang",), all_columns=False)
    assert error.option == "exclude_columns"


@pytest.mark.parametrize(
    ("first", "second", "kind", "values"),
    [
        (pa.array(["x"]), pa.array(["y"], pa.large_string()), pa.string(), ["x", "y"]),
        (pa.array(["x"]), pa.array(["y"], pa.string_view()), pa.string(), ["x", "y"]),
        (pa.array(["x"]).dictionary_encode(), pa.array(["y"]), pa.string(), ["x", "y"]),
        (pa.array([1], pa.int8()), pa.array([2], pa.uint32()), pa.int64(), [1, 2]),
        (pa.array([1], pa.int32()), pa.array([2**40]), pa.int64(), [1, 2**40]),
        (pa.array([0.5], pa.float32()), pa.array([0.1]), pa.float64(), [0.5, 0.1]),
        (pa.array([["x"]], pa.large_list(pa.large_string())), pa.array([[]], pa.list_(pa.null())),
         pa.list_(pa.string()), [["x"], []]),
        (pa.array([{"a": 1}]), pa.array([{"b": "x"}]),
         pa.struct([("a", pa.int64()), ("b", pa.string())]),
         [{"a": 1, "b": None}, {"a": None, "b": "x"}]),
    ],
    ids=str,
)  # fmt: skip
def test_files_of_several_writers_have_one_type(
    tmp_path: Path, first: pa.Array, second: pa.Array, kind: pa.DataType, values: list[object]
) -> None:
    write(tmp_path / "a.parquet", 0, m=first)
    write(tmp_path / "b.parquet", 1, m=second)
    found = survey(tmp_path)
    assert found.schema.field("m").type == kind
    assert [row["m"] for row in read(found)] == values


def test_a_stores_type_stays_where_it_holds_the_values_of_the_input(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", 0, a=["x"], b=[1], c=pa.array([2], pa.int8()))
    stored = [
        pa.schema([("a", pa.large_string()), ("b", pa.int32())]),
        pa.schema([("c", pa.int64())]),
    ]
    found = survey(tmp_path, stored)
    assert found.schema.types == [pa.large_string(), pa.int64(), pa.int64()]
    assert read(found) == [{"a": "x", "b": 1, "c": 2}]


def test_a_type_that_the_store_cant_take_names_file_and_column(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", 0, m=["x"])
    error = refused(tmp_path, [pa.schema([("m", pa.int64())])])
    assert error.option == "metadata columns"
    assert str(path) in error.problem
    assert "'m' has type int64 there, but string" in error.problem


def test_a_time_that_does_not_fit_the_unit_of_the_store_names_its_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    times = pa.array([2_000, 3_000, 4_001], pa.timestamp("ns"))
    table = pa.table({"id": ["a", "b", "c"], "text": ["river"] * 3, "m": times})
    pq.write_table(table, path)
    found = survey(tmp_path, [pa.schema([("m", pa.timestamp("us"))])])
    assert found.schema.field("m").type == pa.timestamp("us")
    with pytest.raises(BadInput) as caught:
        read(found)
    assert (caught.value.option, caught.value.value) == ("input file", str(path))
    assert "row 2 of the metadata column 'm'" in caught.value.problem


def test_folders_are_columns_that_can_be_named(tmp_path: Path) -> None:
    for number, month in enumerate(("05", "6", "__HIVE_DEFAULT_PARTITION__")):
        folder = tmp_path / "lang=en%20GB" / f"month={month}" / "day=2024-05-01"
        write(folder / "a.parquet", number)
    found = survey(tmp_path)
    assert found.schema == pa.schema(
        [("lang", pa.string()), ("month", pa.int64()), ("day", pa.date32())]
    )
    rows = read(found)
    assert [row["month"] for row in rows] == [5, 6, None]
    assert {row["lang"] for row in rows} == {"en GB"}
    assert {row["day"] for row in rows} == {date(2024, 5, 1)}
    found = survey(tmp_path, all_columns=False, metadata=(("m", "month"),))
    assert [row["m"] for row in read(found)] == [5, 6, None]
    assert read(survey(tmp_path, excluded=("lang", "month", "day"))) == [{}] * 3


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (("1", "x"), pa.string()),
        (("2024-05-01", "2024-13-01"), pa.string()),
        (("-1", "+2"), pa.int64()),
        (("9223372036854775807", "1"), pa.int64()),
        (("9223372036854775808", "1"), pa.string()),
        (("1.5", "1"), pa.string()),
        (("__HIVE_DEFAULT_PARTITION__",), pa.string()),
    ],
)
def test_folders_are_whole_numbers_days_or_text(
    tmp_path: Path, values: tuple[str, ...], kind: pa.DataType
) -> None:
    for value in values:
        write(tmp_path / f"k={value}" / "a.parquet")
    assert survey(tmp_path).schema.field("k").type == kind
    assert len(read(survey(tmp_path))) == len(values)


def test_a_column_of_the_file_wins_over_that_of_its_folder(tmp_path: Path) -> None:
    write(tmp_path / "month=5" / "a.parquet", 0, month=[50])
    write(tmp_path / "month=6" / "a.parquet", 1)
    assert [row["month"] for row in read(survey(tmp_path))] == [50, 6]


def test_folders_take_the_type_that_files_or_the_store_have(tmp_path: Path) -> None:
    write(tmp_path / "a" / "k=5" / "a.parquet", 0, k=["x"])
    write(tmp_path / "a" / "k=6" / "a.parquet", 1)
    assert [row["k"] for row in read(survey(tmp_path / "a"))] == ["x", "6"]
    write(tmp_path / "b" / "k=6" / "a.parquet", 1)
    stored = [pa.schema([("k", pa.string())])]
    assert [row["k"] for row in read(survey(tmp_path / "b", stored))] == ["6"]
    write(tmp_path / "c" / "k=x" / "a.parquet", 1)
    error = refused(tmp_path / "c", [pa.schema([("k", pa.int64())])])
    assert (error.option, error.value) == ("metadata column", "k")
    assert str(tmp_path / "c" / "k=x" / "a.parquet") in error.problem


def twice(path: Path, number: int = 0) -> Path:
    columns = [[f"d{number}"], ["river"], ["p"], ["q"]]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns, names=["id", "text", "lang", "lang"]), path)
    return path


def test_doubled_columns_are_named_and_can_be_taken_or_left_out(tmp_path: Path) -> None:
    path = twice(tmp_path / "twice.parquet")
    error = refused(tmp_path)
    assert (error.option, error.value) == ("input file", str(path))
    assert "2 columns 'lang'" in error.problem
    assert "lang=lang#1,lang_2=lang#2" in error.remedy
    both = (("lang", "lang#1"), ("lang_2", "lang#2"))
    assert read(survey(tmp_path, metadata=both)) == [{"lang": "p", "lang_2": "q"}]
    assert read(survey(tmp_path, metadata=both[1:], all_columns=False)) == [{"lang_2": "q"}]
    assert read(survey(tmp_path, excluded=("lang",))) == [{}]
    found = survey(tmp_path, metadata=both[:1], excluded=("lang#2",))
    assert read(found) == [{"lang": "p"}]
    write(tmp_path / "once.parquet", 1, lang=["r"])
    found = survey(tmp_path, metadata=both[:1], excluded=("lang#2",))
    assert read(found) == [{"lang": "r"}, {"lang": "p"}]
    error = refused(tmp_path, metadata=(("lang", "lang"),), all_columns=False)
    assert error.value == str(path)
    assert "more than one metadata column 'lang'" in error.problem


def test_a_column_whose_name_ends_like_a_number_stays_what_it_is(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", 0, **{"x": [1], "x#1": [2]})
    assert read(survey(tmp_path, metadata=(("y", "x#1"),))) == [{"y": 2, "x": 1}]


@pytest.mark.parametrize("name", ["a,b", "a=b", 'a"b', " a ", "", "a\nb", "a.b", "ü", "lang#2"])
def test_columns_of_any_name_are_kept_and_renamed(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a.parquet", 0, **{name: [1]})
    assert read(survey(tmp_path)) == [{name: 1}]
    assert read(survey(tmp_path, metadata=(("new", name),))) == [{"new": 1}]
    assert read(survey(tmp_path, excluded=(name,))) == [{}]


def test_a_dotted_name_is_told_from_a_field_of_a_struct(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", 0, **{"a": [{"b": 1}], "a.b": [2], "c": [3]})
    assert read(survey(tmp_path)) == [{"a": {"b": 1}, "a.b": 2, "c": 3}]
    assert read(survey(tmp_path, excluded=("a",))) == [{"a.b": 2, "c": 3}]


def latin(path: Path, **columns: object) -> Path:
    """A file with a column, or a field of one, of which the name is in Latin-1."""
    pq.write_table(pa.table({"id": ["a"], "text": ["x"], **columns}), path, store_schema=False)
    content = path.read_bytes()
    assert content.count(b"cafX")
    path.write_bytes(content.replace(b"cafX", b"caf\xe9"))
    return path


def test_a_name_that_is_not_utf8_is_escaped(tmp_path: Path) -> None:
    latin(tmp_path / "a.parquet", cafX=["v"], more=[1])
    assert read(survey(tmp_path)) == [{"caf\\xe9": "v", "more": 1}]
    assert read(survey(tmp_path, metadata=(("cafe", "caf\\xe9"),))) == [{"cafe": "v", "more": 1}]
    assert read(survey(tmp_path, excluded=("caf\\xe9",))) == [{"more": 1}]
    error = refused(tmp_path, metadata=(("m", "m"),), all_columns=False)
    assert "caf\\xe9" in error.problem


def test_a_struct_that_cant_be_read_as_names_and_values_is_refused_by_name(tmp_path: Path) -> None:
    values = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    path = write(tmp_path / "a" / "a.parquet", 0, m=values)
    error = refused(path.parent)
    assert (error.option, error.value) == ("metadata column", "m")
    assert str(path) in error.problem
    assert "'x'" in error.problem
    assert read(survey(path.parent, excluded=("m",))) == [{}]
    nested = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), values)
    write(tmp_path / "b" / "a.parquet", 0, m=nested)
    assert refused(tmp_path / "b").value == "m"
    (tmp_path / "c").mkdir()
    path = latin(tmp_path / "c" / "a.parquet", m=[{"cafX": 1}])
    error = refused(path.parent)
    assert (error.value, str(path) in error.problem) == ("m", True)
    assert "caf\\\\xe9" in error.problem
    assert read(survey(path.parent, excluded=("m",))) == [{}]


def test_names_of_the_store_are_refused_with_a_remedy_that_works(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", 0, start=[1], lang=["en"])
    error = refused(tmp_path)
    assert (error.option, error.value) == ("metadata column", "start")
    assert str(path) in error.problem
    assert "--metadata-columns start_=start" in error.remedy
    assert "--exclude-columns start" in error.remedy
    assert read(survey(tmp_path, metadata=(("start_", "start"),))) == [{"start_": 1, "lang": "en"}]


def test_one_name_for_two_columns_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", 0, sprache=["de"], lang=["en"])
    error = refused(tmp_path, metadata=(("lang", "sprache"),))
    assert (error.option, error.value) == ("metadata column", "lang")
    assert str(path) in error.problem
    assert "'sprache' and 'lang'" in error.problem
    found = survey(tmp_path, metadata=(("lang", "sprache"),), excluded=("lang",))
    assert read(found) == [{"lang": "de"}]


def test_leaves_are_counted_through_nested_types() -> None:
    schema = pa.schema(
        [
            ("a", pa.struct([("x", pa.int8()), ("y", pa.map_(pa.string(), pa.int8()))])),
            ("b", pa.list_(pa.list_(pa.int8(), 2))),
            ("c", pa.dictionary(pa.int8(), pa.string())),
            ("d", pa.uuid()),
            ("e", pa.int8()),
        ]
    )
    assert FileColumns.of(schema).leaves == (
        range(3), range(3, 4), range(4, 5), range(5, 6), range(6, 7),
    )  # fmt: skip
