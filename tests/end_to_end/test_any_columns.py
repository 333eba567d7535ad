"""Metadata of any writer and of any value: kept, shown and filtered, over several runs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from pipeline.maintenance import compact
from pipeline.maintenance.options import CompactOptions
from transforms.search.store import Store


def of_numbers(numbers: list[int], kind: pa.DataType) -> pa.Array:
    return pa.array(numbers, pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)


#: Two rows of each: a value that Python or DuckDB lacks, and a plain one; what shows the first; a
#: condition that the first alone meets.
FAR: dict[str, tuple[pa.Array, Any, str]] = {
    "day": (of_numbers([2**31 - 1, 0], pa.date32()), "5881580-07-11", "c > '9999-12-31'"),
    "early_day": (of_numbers([-719_163, 0], pa.date32()), "0000-12-31", "c < '0001-01-01'"),
    "ms_day": (
        of_numbers([253_402_300_800_000, 0], pa.date64()), "10000-01-01", "c > '9999-12-31'",
    ),
    "seconds": (
        of_numbers([2**60, 0], pa.timestamp("ms")), None, "c > TIMESTAMP '9999-01-01'",
    ),
    "micros": (
        of_numbers([2**63 - 1, 0], pa.timestamp("us")), "294247-01-10 04:00:54.775807",
        "c > TIMESTAMP '9999-01-01'",
    ),
    "nanos": (
        of_numbers([2**62, 0], pa.timestamp("ns")), "2116-02-20 23:53:38.427387904",
        "c > TIMESTAMP '2100-01-01'",
    ),
    "zone": (
        of_numbers([10**15, 0], pa.timestamp("us", "Mars/Base")), "2001-09-09 01:46:40.000000Z",
        "c > TIMESTAMPTZ '2000-01-01 00:00:00+00'",
    ),
    "clock": (of_numbers([90_000, 0], pa.time32("s")), "25:00:00.000", "c > TIME '01:00:00'"),
    "length": (
        of_numbers([2**62, 0], pa.duration("s")), "4611686018427387904 s", "c > INTERVAL 1 DAY",
    ),
    "half": (pa.array(np.array([1.5, 0], np.float16)), 1.5, "c > 1"),
    "long": (pa.array([10**50, 0], pa.decimal256(60, 0)), str(10**50), "c > 1"),
    "map": (
        pa.array([[("a", float("nan"))], []], pa.map_(pa.string(), pa.float64())),
        [["a", None]], "c['a'] IS NOT NULL",
    ),
    "bytes": (pa.array([b"\xff", b"a"]), "/w==", "octet_length(c) = 1 AND c != 'a'::BLOB"),
}  # fmt: skip


class Runs:
    """Commands on one store."""

    def __init__(self, folder: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.store, self._folder, self._model, self._capsys = (
            folder / "store",
            folder,
            model,
            capsys,
        )

    def write(self, name: str, ids: list[str], **columns: Any) -> Path:
        path = self._folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"id": ids, "text": ["a river"] * len(ids), **columns}), path)
        return path

    def embed(self, *arguments: object) -> dict[str, Any]:
        command = ["embed", "--store", self.store, "--model", self._model, "--json", *arguments]
        assert main([*map(str, command)]) == 0
        return json.loads(self._capsys.readouterr().out)  # type: ignore[no-any-return]

    def search(self, *arguments: str) -> dict[str, dict[str, Any]]:
        assert main(["search", str(self.store), "river", "--json", *arguments]) == 0
        hits = json.loads(self._capsys.readouterr().out)
        return {hit["document_id"]: hit["metadata"] for hit in hits}


@pytest.fixture
def runs(tmp_path: Path, albert: Path, capsys: pytest.CaptureFixture[str]) -> Runs:
    return Runs(tmp_path, albert, capsys)


def test_what_python_or_duckdb_lacks_is_kept_shown_and_filtered(runs: Runs) -> None:
    columns = {name: column for name, (column, _, _) in FAR.items()}
    path = runs.write("a.parquet", ["far", "near"], **columns)
    assert runs.embed(path, "--all-columns")["documents"] == 2
    found = runs.search()
    for name, (_, shown, _) in FAR.items():
        if shown is not None:
            assert found["far"][name] == shown, name
    for name, (_, _, condition) in FAR.items():
        quoted = f'"{name}"'
        where = condition.replace("c['a']", f"{quoted}['a']").replace("(c)", f"({quoted})")
        where = where.replace("c ", f"{quoted} ")
        assert list(runs.search("--where", where)) == ["far"], name
    answers = Store.open(str(runs.store)).search(["river"], 2)
    table = answers.to_arrow()
    rows = [table.column("document_id").to_pylist().index(name) for name in ("far", "near")]
    for name, (column, _, _) in FAR.items():
        again = table.column(name).take(pa.array(rows)).combine_chunks()
        # Parquet has no seconds.
        assert str(again) == str(column.cast(again.type)), name
    # The same values are found unchanged.
    assert runs.embed(path, "--all-columns", "--stride", "3")["unchanged"] == 2


def test_a_store_of_one_writer_takes_the_files_of_another(runs: Runs) -> None:
    first = runs.write(
        "a.parquet",
        ["a"],
        lang=["en"],
        year=pa.array([2020], pa.int32()),
        share=pa.array([0.5], pa.float32()),
        when=pa.array([10**15], pa.timestamp("us", "UTC")),
        tags=[["x"]],
    )
    second = runs.write(
        "b.parquet",
        ["b"],
        lang=pa.array(["de"]).dictionary_encode(),
        year=pa.array([2**40]),
        share=pa.array([0.1]),
        when=pa.array([10**18], pa.timestamp("ns", "Europe/Berlin")),
        tags=pa.array([["y"]], pa.large_list(pa.large_string())),
        more=[1],
    )
    third = runs.write("c.parquet", ["c"], lang=pa.array(["fr"], pa.large_string()))
    for path in (first, second, third):
        assert runs.embed(path, "--all-columns")["new"] == 1

    def check() -> None:
        found = runs.search()
        assert found["a"]["year"] == 2020
        assert found["b"]["year"] == 2**40
        assert found["b"]["share"] == 0.1
        assert found["b"]["tags"] == ["y"]
        assert found["c"]["lang"] == "fr"
        assert set(runs.search("--where", "lang IN ('en', 'de')")) == {"a", "b"}
        assert set(runs.search("--where", "year > 2000")) == {"a", "b"}
        assert set(runs.search("--where", "\"when\" > TIMESTAMPTZ '2000-01-01 00:00Z'")) == {
            "a",
            "b",
        }
        assert set(runs.search("--where", "list_contains(tags, 'y')")) == {"b"}
        table = Store.open(str(runs.store)).search(["river"], 3).to_arrow()
        assert table.schema.field("year").type == pa.int64()
        assert table.schema.field("lang").type == pa.string()

    check()
    # What another writer wrote again with the same values is not changed.
    again = runs.write(
        "d.parquet",
        ["a", "b"],
        lang=pa.array(["en", "de"], pa.large_string()),
        year=pa.array([2020, 2**40]),
        share=pa.array([0.5, 0.1]),
        when=pa.array([10**18, 10**18], pa.timestamp("ns", "UTC")),
        tags=[["x"], ["y"]],
        more=[None, 1],
    )
    summary = runs.embed(again, "--all-columns")
    # Only the widths of the first file differ from those of the store now.
    assert (summary["unchanged"], summary["metadata"], summary["changed"]) == (1, 1, 0)
    check()
    compact.run(str(runs.store), CompactOptions(max_segments=1))
    check()
    assert runs.embed(again, "--all-columns", "--stride", "3")["unchanged"] >= 1


def test_columns_of_files_folders_and_odd_names_in_one_store(runs: Runs) -> None:
    runs.write("month=5/a.parquet", ["a"], **{"start": [1], "a,b=c": ["x"], "secret": ["s"]})
    runs.write("month=6/a.parquet", ["b"], more=["m"])
    folder = runs.write("month=6/a.parquet", ["b"], more=["m"]).parents[1]
    runs.embed(
        folder, "--all-columns", "--metadata-columns", 'begin=start,odd="a,b=c"',
        "--exclude-columns", "secret",
    )  # fmt: skip
    assert runs.search() == {
        "a": {"begin": 1, "odd": "x", "more": None, "month": 5},
        "b": {"begin": None, "odd": None, "more": "m", "month": 6},
    }
    assert list(runs.search("--where", "month = 5")) == ["a"]
    assert runs.embed(folder / "month=5", "--metadata-columns", "month", "--mode", "replace")
    assert runs.search() == {"a": {"month": 5}}
