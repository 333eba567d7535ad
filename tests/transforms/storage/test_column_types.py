"""Which types of columns are one type to a store, and what holds the values of two types."""

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.storage.column_types import (
    TypesDiffer,
    cast_column,
    common_schema,
    common_type,
    stored_type,
    type_in_store,
)

TEXTS = [
    pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.int32(), pa.large_string()),
]  # fmt: skip
LEAVES = [
    *TEXTS, pa.null(), pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(),
    pa.uint16(), pa.uint32(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.date32(),
    pa.date64(), pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"),
    pa.timestamp("s"), pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("us", "UTC"),
    pa.timestamp("ns", "Europe/Berlin"), pa.duration("s"), pa.duration("ns"), pa.binary(),
    pa.large_binary(), pa.binary_view(), pa.binary(4), pa.decimal128(9, 2), pa.decimal128(38, 0),
    pa.decimal256(60, 3),
]  # fmt: skip
TYPES = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: (
        st.builds(pa.list_, inner)
        | st.builds(pa.large_list, inner)
        | st.builds(lambda kind: pa.list_(kind, 2), inner)
        | st.builds(pa.map_, st.sampled_from([pa.string(), pa.int32()]), inner)
        | st.builds(
            lambda a, b: pa.struct([pa.field("a", a), pa.field("b", b, nullable=b == pa.null())]),
            inner, inner,
        )
    ),
    max_leaves=3,
)  # fmt: skip


@pytest.mark.parametrize("first", TEXTS, ids=str)
@pytest.mark.parametrize("second", TEXTS, ids=str)
def test_all_kinds_of_strings_are_one_type(first: pa.DataType, second: pa.DataType) -> None:
    assert common_type(first, second) == pa.string()
    assert common_type(pa.list_(first), pa.large_list(second)) == pa.list_(pa.string())
    values = cast_column(pa.array(["x", None]).cast(first), pa.string())
    assert values.to_pylist() == ["x", None]


@pytest.mark.parametrize(
    ("first", "second", "common"),
    [
        (pa.int32(), pa.int64(), pa.int64()),
        (pa.uint8(), pa.uint32(), pa.uint32()),
        (pa.uint8(), pa.int8(), pa.int16()),
        (pa.uint32(), pa.int8(), pa.int64()),
        (pa.uint64(), pa.int64(), pa.decimal128(20, 0)),
        (pa.decimal128(20, 0), pa.int64(), pa.decimal128(20, 0)),
        (pa.decimal128(9, 2), pa.decimal128(9, 4), pa.decimal128(11, 4)),
        (pa.decimal128(38, 0), pa.decimal128(38, 20), pa.decimal256(58, 20)),
        (pa.decimal256(76, 0), pa.decimal256(76, 70), None),
        (pa.float32(), pa.float64(), pa.float64()),
        (pa.float16(), pa.float32(), pa.float32()),
        (pa.int32(), pa.float32(), pa.float64()),
        (pa.int64(), pa.float64(), None),
        (pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("ns")),
        (pa.timestamp("us", "UTC"), pa.timestamp("us", "Asia/Tokyo"), pa.timestamp("us", "UTC")),
        (pa.timestamp("us"), pa.timestamp("us", "UTC"), None),
        (pa.time32("s"), pa.time64("us"), pa.time64("us")),
        (pa.date32(), pa.date64(), pa.date64()),
        (pa.date32(), pa.timestamp("us"), None),
        (pa.duration("s"), pa.duration("ms"), pa.duration("ms")),
        (pa.binary(4), pa.binary(5), pa.binary()),
        (pa.binary(), pa.string(), None),
        (pa.bool_(), pa.int8(), None),
        (pa.string(), pa.int8(), None),
        (pa.list_(pa.int8(), 2), pa.list_(pa.int8(), 3), pa.list_(pa.int8())),
        (pa.list_(pa.int8(), 2), pa.list_(pa.int32(), 2), pa.list_(pa.int32(), 2)),
        (pa.list_(pa.null()), pa.list_(pa.string()), pa.list_(pa.string())),
        (pa.struct([("a", pa.int8())]), pa.struct([("b", pa.int8())]),
         pa.struct([("a", pa.int8()), ("b", pa.int8())])),
        (pa.struct([("a", pa.int8())]), pa.struct([("a", pa.string())]), None),
        (pa.map_(pa.string(), pa.int8()), pa.map_(pa.large_string(), pa.int64()),
         pa.map_(pa.string(), pa.int64())),
        (pa.uuid(), pa.binary(16), None),
        (pa.uuid(), pa.uuid(), pa.uuid()),
    ],
    ids=str,
)  # fmt: skip
def test_two_types_have_the_type_that_holds_both(
    first: pa.DataType, second: pa.DataType, common: pa.DataType | None
) -> None:
    assert common_type(first, second) == common
    assert common_type(pa.list_(first), pa.list_(second)) == (
        None if common is None else pa.list_(common)
    )


@given(TYPES, TYPES)
def test_the_common_type_is_stable(first: pa.DataType, second: pa.DataType) -> None:
    common = common_type(first, second)
    assert stored_type(stored_type(first)) == stored_type(first)
    assert common_type(first, first) == stored_type(first)
    assert common_type(first, pa.null()) == stored_type(first)
    if common is not None:
        assert common_type(common, first) == common == common_type(common, second)
        assert common_type(second, first) is not None
        assert cast_column(pa.nulls(1, first), common).to_pylist() == [None]


@given(TYPES, TYPES)
def test_a_store_keeps_its_type_or_takes_one_that_holds_both(
    theirs: pa.DataType, ours: pa.DataType
) -> None:
    kept = type_in_store(theirs, ours)
    assert (kept is None) == (common_type(theirs, ours) is None)
    if kept is not None:
        assert type_in_store(kept, ours) == kept
        assert common_schema([pa.schema([("a", theirs)]), pa.schema([("a", kept)])]).field(
            "a"
        ).type in (kept, theirs)


@pytest.mark.parametrize(
    ("theirs", "ours", "kept"),
    [
        (pa.large_string(), pa.string(), pa.large_string()),
        (pa.string(), pa.large_string(), pa.string()),
        (pa.dictionary(pa.int8(), pa.string()), pa.string(), pa.string()),
        (pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int8(), pa.string()),
         pa.dictionary(pa.int8(), pa.string())),
        (pa.int64(), pa.int8(), pa.int64()),
        (pa.int8(), pa.int64(), pa.int64()),
        (pa.null(), pa.int64(), pa.int64()),
        (pa.int64(), pa.null(), pa.int64()),
        (pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("us")),
        (pa.timestamp("ns", "Asia/Tokyo"), pa.timestamp("s", "UTC"),
         pa.timestamp("ns", "Asia/Tokyo")),
        (pa.list_(pa.timestamp("us")), pa.large_list(pa.timestamp("ns")),
         pa.list_(pa.timestamp("us"))),
        (pa.date32(), pa.date64(), pa.date32()),
        (pa.struct([pa.field("a", pa.int8(), nullable=False)]), pa.struct([("a", pa.int8())]),
         pa.struct([("a", pa.int8())])),
        (pa.int64(), pa.string(), None),
    ],
    ids=str,
)  # fmt: skip
def test_the_type_of_an_input_in_a_store(
    theirs: pa.DataType, ours: pa.DataType, kept: pa.DataType | None
) -> None:
    assert type_in_store(theirs, ours) == kept


def test_a_schema_has_every_column_in_the_order_of_its_first_schema() -> None:
    first = pa.schema([("a", pa.int8()), ("b", pa.string())])
    second = pa.schema([("c", pa.bool_()), ("a", pa.int64())])
    found = common_schema([first, second])
    assert found == pa.schema([("a", pa.int64()), ("b", pa.string()), ("c", pa.bool_())])


def test_types_that_differ_are_named() -> None:
    with pytest.raises(TypesDiffer) as caught:
        common_schema([pa.schema([("a", pa.int8())]), pa.schema([("a", pa.string())])])
    assert (caught.value.name, caught.value.types) == ("a", (pa.int8(), pa.string()))


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (pa.array([2**64 - 1], pa.uint64()), pa.decimal128(20, 0), Decimal(2**64 - 1)),
        (pa.array([2**31 - 1], pa.int32()), pa.float64(), 2.0**31 - 1),
        (pa.array([{"x": 1}]), pa.struct([("y", pa.string()), ("x", pa.int64())]),
         {"y": None, "x": 1}),
        (pa.array(["x"]).cast(pa.string_view()).dictionary_encode(), pa.string(), "x"),
        (pa.array([b"x" * 16], pa.uuid()), pa.binary(16), b"x" * 16),
        (pa.array([[], ["x"]], pa.list_(pa.string())), pa.large_list(pa.large_string()), []),
    ],
    ids=str,
)  # fmt: skip
def test_values_are_the_same_in_the_common_type(
    values: pa.Array, kind: pa.DataType, expected: object
) -> None:
    found = cast_column(values, kind)
    assert found.type == kind
    assert found[0].as_py() == expected


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (pa.timestamp("us"), pa.timestamp("ns"), False),
        (pa.timestamp("us", "UTC"), pa.timestamp("us", "Asia/Tokyo"), True),
        (pa.duration("s"), pa.duration("ms"), False),
        (pa.list_(pa.time64("us")), pa.large_list(pa.time64("ns")), False),
        (pa.struct([("a", pa.duration("s"))]), pa.struct([("a", pa.duration("ms"))]), False),
        (pa.struct([("a", pa.duration("s"))]), pa.struct([("b", pa.duration("ms"))]), True),
        (pa.map_(pa.string(), pa.duration("s")), pa.map_(pa.string(), pa.duration("ms")), False),
        (pa.date32(), pa.date64(), True),
        (pa.null(), pa.timestamp("us"), True),
        (pa.int8(), pa.int64(), True),
        (pa.large_string(), pa.string(), True),
    ],
    ids=str,
)
def test_times_of_two_units_are_one_type_only_where_one_may_be_chosen(
    first: pa.DataType, second: pa.DataType, same: bool
) -> None:
    schemas = [pa.schema([("a", first)]), pa.schema([("a", second)])]
    assert common_schema(schemas).names == ["a"]
    if same:
        assert common_schema(schemas, same_times=True) == common_schema(schemas)
    else:
        with pytest.raises(TypesDiffer):
            common_schema(schemas, same_times=True)
