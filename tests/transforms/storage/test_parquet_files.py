"""Parquet files of which pages are damaged: no row is lost or changed without an error."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.damage import hide_page
from transforms.errors import BadInput, Damaged
from transforms.storage.parquet_files import CheckedFile, open_parquet, reading, reading_input

TABLE = pa.table({"id": [f"d{n}" for n in range(60)], "text": ["a river with stones"] * 60})
READS: dict[str, Callable[[CheckedFile], object]] = {
    "all": lambda file: file.read(columns=["text"]),
    "a row group": lambda file: file.read_row_group(1, columns=["text"]),
    "batches": lambda file: list(file.iter_batches(7, columns=["text"])),
    "batches of a row group": lambda file: list(file.iter_batches(7, [1], columns=["id", "text"])),
    "leaves": lambda file: list(file.iter_leaves(7, 1, [1])),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    pq.write_table(
        TABLE,
        tmp_path / "a.parquet",
        row_group_size=20,
        compression="none",
        use_dictionary=False,
        write_page_checksum=True,
    )
    return tmp_path / "a.parquet"


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_lost_row_group_is_an_error_however_it_is_read(
    path: Path, read: Callable[[CheckedFile], object]
) -> None:
    read(CheckedFile(path))
    hide_page(path, 1, group=1)
    with CheckedFile(path) as file, pytest.raises(pa.ArrowInvalid, match="damaged"):
        read(file)


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_page_that_differs_from_its_checksum_is_an_error_however_it_is_read(
    path: Path, read: Callable[[CheckedFile], object]
) -> None:
    path.write_bytes(path.read_bytes().replace(b"a river with", b"a liver with"))
    with CheckedFile(path) as file, pytest.raises((OSError, pa.ArrowException), match="CRC"):
        read(file)


def test_what_is_read_is_what_was_written(path: Path) -> None:
    with CheckedFile(path) as file:
        assert file.read().equals(TABLE)
        assert file.read_row_group(1).equals(TABLE.slice(20, 20))
        assert pa.Table.from_batches(file.iter_batches(7)).equals(TABLE)
        assert pa.Table.from_batches(file.iter_batches(7, [2, 0])).num_rows == 40
        assert file.read(columns=[]).num_columns == 0
        [names] = file.iter_leaves(100, 1, [0])
        assert pa.Table.from_batches([names]).equals(TABLE.select(["id"]).slice(20, 20))


def test_a_lost_row_group_of_a_store_is_damage_and_of_an_input_bad_input(path: Path) -> None:
    hide_page(path, 1)
    with open_parquet(str(path)) as file, pytest.raises(Damaged) as damaged, reading(str(path)):
        file.read()
    assert damaged.value.value == str(path)
    with pytest.raises(BadInput) as refused, reading_input(str(path), "questions"):
        CheckedFile(path).read(columns=["text"])
    assert (refused.value.option, refused.value.value) == ("questions", str(path))
    assert "40 of 60 rows" in refused.value.problem
