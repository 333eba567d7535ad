"""What travels between the stages: the coder, chunk marks, hashes and vector columns."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from apache_beam import coders
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from transforms.errors import BadInput
from transforms.ingest.part_tables import Chunk, chunk_of, count_tokens, mark_chunk
from transforms.storage.arrow_coder import ArrowTableCoder
from transforms.storage.arrow_values import plain_column, plain_rows
from transforms.storage.hashing import metadata_hashes, text_hashes
from transforms.storage.schema import TOKEN_FIELD
from transforms.storage.vectors import vectors_to_arrow, vectors_to_numpy

ROOT = Path(__file__).resolve().parents[3]
CODER = ArrowTableCoder()
NESTED = pa.struct([("a", pa.list_(pa.timestamp("ns"))), ("b", pa.map_(pa.string(), pa.int8()))])
TWO_OF_EACH: dict[str, pa.Array] = {
    "nanoseconds": pa.array([1, 2], pa.timestamp("ns", "UTC")),
    "pairs of nanoseconds": pa.array([[1, 2], [1, 3]], pa.list_(pa.timestamp("ns"), 2)),
    "map of nanoseconds": pa.array(
        [[("k", 1)], [("k", 2)]], pa.map_(pa.string(), pa.timestamp("ns"))
    ),
    "nested": pa.array([{"a": [1], "b": [("k", 1)]}, {"a": [1], "b": [("k", 2)]}], NESTED),
    "dictionary": pa.array(["x", "y"]).dictionary_encode(),
    "dictionary of nanoseconds": pa.array([1, 2], pa.timestamp("ns")).dictionary_encode(),
    "time of day": pa.array([1, 2], pa.time64("ns")),
    "nanoseconds in Berlin": pa.array([1, 2], pa.timestamp("ns", "Europe/Berlin")),
    "struct of a time": pa.array([{"a": 1}, {"a": 2}], pa.struct([("a", pa.time64("ns"))])),
    "decimal": pa.array([1, 2], pa.decimal128(9, 2)),
    "bytes": pa.array([b"\xff", b"\xfe"], pa.binary()),
    "string view": pa.array(["x", "y"], pa.string_view()),
    "float": pa.array([float("nan"), 0.5], pa.float32()),
    "null or not": pa.array([None, 0], pa.int64()),
    "date": pa.array([1, 2], pa.date32()),
    "duration": pa.array([1, 2], pa.duration("ns")),
}


class NeverEncodes(ArrowTableCoder):
    def encode(self, value: pa.Table) -> bytes:
        raise AssertionError("the size was asked for, not the bytes")


def big_table(rows: int = 20_000) -> pa.Table:
    vectors = np.arange(rows * 16, dtype=np.float32).reshape(rows, 16)
    return pa.table(
        {
            "text": pa.array([f"text {row}" for row in range(rows)]),
            "vector": vectors_to_arrow(vectors, pa.float32()),
        }
    )


def test_a_table_survives_the_coder_with_its_metadata() -> None:
    table = mark_chunk(big_table(100), Chunk(2, 5, last=False))
    again = CODER.decode(CODER.encode(table))
    assert again.equals(table, check_metadata=True)
    assert chunk_of(again) == Chunk(2, 5, last=False)


@pytest.mark.parametrize("values", TWO_OF_EACH.values(), ids=TWO_OF_EACH)
def test_every_type_survives_the_coder_whole_and_sliced(values: pa.Array) -> None:
    table = pa.table({"x": values})
    assert CODER.decode(CODER.encode(table)).column("x").type == values.type
    sliced = CODER.decode(CODER.encode(table.slice(1)))
    assert sliced.column("x").to_pylist() == table.slice(1).column("x").to_pylist()


def test_a_slice_ships_its_own_rows_and_not_its_parents() -> None:
    table = big_table()
    few = table.slice(10_000, 10)
    encoded = CODER.encode(few)
    assert len(encoded) < 10_000 < table.nbytes / 100
    assert CODER.decode(encoded).equals(few)


def test_an_empty_table_survives_the_coder() -> None:
    table = big_table(10).slice(0, 0)
    assert CODER.decode(CODER.encode(table)).equals(table)


def test_the_size_is_estimated_without_encoding_and_near_the_truth() -> None:
    table = big_table(1_000)
    assert NeverEncodes().estimate_size(table) == table.nbytes
    assert table.nbytes <= len(CODER.encode(table)) < table.nbytes * 1.2
    assert NeverEncodes().estimate_size(table.slice(0, 10)) < table.nbytes / 50


def test_beam_takes_this_coder_for_tables_and_does_not_call_it_deterministic() -> None:
    assert coders.registry.get_coder(pa.Table) == CODER
    assert hash(coders.registry.get_coder(pa.Table)) == hash(CODER)
    assert not CODER.is_deterministic()


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.booleans())
def test_a_chunk_mark_is_read_back(part: int, number: int, last: bool) -> None:
    table = pa.table({"x": [1]})
    marked = mark_chunk(table, Chunk(part, number, last))
    assert chunk_of(marked) == Chunk(part, number, last)
    assert marked.equals(table)


def test_an_unmarked_table_is_refused_with_its_columns() -> None:
    with pytest.raises(BadInput) as caught:
        chunk_of(pa.table({"x": [1]}))
    assert caught.value.option == "table"
    assert "columns are x" in caught.value.problem


def test_text_hashes_are_16_bytes_of_the_text_alone() -> None:
    hashes = text_hashes(pa.array(["river", None, "river", "River", "", "naïve"])).to_pylist()
    assert hashes[0] == hashes[2]
    assert hashes[1] is None
    assert len({*hashes}) == 5
    assert {len(value) for value in hashes if value} == {16}


@pytest.mark.parametrize("values", TWO_OF_EACH.values(), ids=TWO_OF_EACH)
def test_metadata_hashes_tell_values_apart_and_slices_hash_as_copies(values: pa.Array) -> None:
    first, second = metadata_hashes({"x": values}, 2).to_pylist()
    assert first != second
    both = pa.concat_arrays([values, values])
    assert metadata_hashes({"x": both.slice(1, 2)}, 2).to_pylist() == [second, first]
    assert metadata_hashes({"x": values.slice(1)}, 1).to_pylist() == [second]


def test_metadata_hashes_do_not_depend_on_the_order_of_columns() -> None:
    a, b = pa.array([1, 2]), pa.array(["x", "y"])
    assert metadata_hashes({"a": a, "b": b}, 2).equals(metadata_hashes({"b": b, "a": a}, 2))


def test_metadata_hashes_change_with_type_and_name_and_with_values_swapped() -> None:
    columns = [
        {"a": pa.array([1], pa.int64()), "b": pa.array([2], pa.int64())},
        {"a": pa.array([2], pa.int64()), "b": pa.array([1], pa.int64())},
        {"a": pa.array([1], pa.int32()), "b": pa.array([2], pa.int64())},
        {"a": pa.array([1], pa.int64()), "c": pa.array([2], pa.int64())},
        {"a": pa.array([1], pa.int64())},
        {"a": pa.array([1], pa.timestamp("ns"))},
        {"a": pa.array([1], pa.timestamp("us"))},
        {},
    ]
    hashes = {metadata_hashes(each, 1)[0].as_py() for each in columns}
    assert len(hashes) == len(columns)


def test_metadata_hashes_without_columns_are_one_for_each_row() -> None:
    hashes = metadata_hashes({}, 3).to_pylist()
    assert len(hashes) == 3
    assert len({*hashes}) == 1


@given(
    hnp.arrays(
        np.float32, st.tuples(st.integers(1, 8), st.integers(1, 5)), elements=st.floats(width=32)
    ),
    st.sampled_from([pa.float32(), pa.float16()]),
    st.data(),
)
def test_vectors_survive_arrow_in_slices_and_become_null_where_not_finite(
    vectors: np.ndarray, dtype: pa.DataType, data: st.DataObject
) -> None:
    with np.errstate(over="ignore"):
        vectors = vectors.astype(dtype.to_pandas_dtype())
    column = vectors_to_arrow(vectors, dtype)
    assert column.type == pa.list_(dtype, vectors.shape[1])
    finite = np.isfinite(vectors).all(axis=1)
    assert column.is_valid().to_pylist() == finite.tolist()
    first = data.draw(st.integers(0, len(vectors)))
    sliced = column.slice(first)
    kept = vectors_to_numpy(sliced.filter(sliced.is_valid()))
    assert kept.dtype == np.float32
    np.testing.assert_array_equal(kept, vectors[first:][finite[first:]].astype(np.float32))


def test_vectors_of_a_chunked_slice_are_its_own() -> None:
    vectors = np.arange(24, dtype=np.float32).reshape(8, 3)
    arrow = vectors_to_arrow(vectors, pa.float32())
    chunked = pa.chunked_array([arrow.slice(0, 3), arrow.slice(3)]).slice(2, 4)
    np.testing.assert_array_equal(vectors_to_numpy(chunked), vectors[2:6])
    np.testing.assert_array_equal(vectors_to_numpy(arrow.slice(5)), vectors[5:])


def test_vectors_that_overflow_float16_become_null() -> None:
    column = vectors_to_arrow(np.array([[1e6, 0], [1, 2]], np.float32), pa.float16())
    assert column.is_valid().to_pylist() == [False, True]


def test_vectors_that_are_not_contiguous_keep_their_rows() -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(3, 4).T
    np.testing.assert_array_equal(
        vectors_to_numpy(vectors_to_arrow(vectors, pa.float32())), vectors
    )


def test_tokens_are_counted_without_nulls_and_in_slices() -> None:
    tokens = pa.array([[1, 2], None, [], [3, 4, 5]], TOKEN_FIELD.type)
    table = pa.table({TOKEN_FIELD.name: tokens})
    assert count_tokens(table) == 5
    assert count_tokens(table.slice(1, 2)) == 0
    assert count_tokens(table.slice(3)) == 3


def test_nanoseconds_become_text_without_pandas() -> None:
    code = """
import importlib.abc, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "pandas":
            raise ImportError(name)

sys.meta_path.insert(0, Blocker())
import pyarrow as pa
from transforms.storage.arrow_values import plain_rows

kinds = [pa.timestamp("ns"), pa.timestamp("ns", "UTC"), pa.time64("ns"), pa.duration("ns")]
columns = {str(place): pa.array([1], kind) for place, kind in enumerate(kinds)}
columns["list"] = pa.array([[1]], pa.list_(pa.timestamp("ns")))
columns["map"] = pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))
print(plain_rows(pa.table(columns)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert ast.literal_eval(done.stdout) == [
        {
            "0": "1970-01-01 00:00:00.000000001",
            "1": "1970-01-01 00:00:00.000000001Z",
            "2": "00:00:00.000000001",
            "3": 1,
            "list": ["1970-01-01 00:00:00.000000001"],
            "map": [("a", 1)],
        }
    ]


@pytest.mark.parametrize("column", TWO_OF_EACH.values(), ids=TWO_OF_EACH)
def test_a_column_is_made_again_of_its_plain_values(column: pa.Array) -> None:
    column = pa.concat_arrays([column, pa.nulls(1, column.type)])
    rows = plain_rows(pa.table({"column": column}))
    again = plain_column([row["column"] for row in rows], column.type)
    assert again.type == column.type
    assert str(again.to_pylist()) == str(column.to_pylist())
