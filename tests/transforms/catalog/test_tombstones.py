"""Tombstones: written once, read back checked, and turned into masks."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap64

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.tombstones import TombstoneRef, live_mask, read_tombstones, write_tombstones
from transforms.errors import Damaged
from transforms.storage import filesystem

ROWS = [0, 3, 4, 70_000, 2**33]


@pytest.fixture
def paths(tmp_path: Path) -> SegmentPaths:
    return SegmentPaths(str(tmp_path), "segment")


def test_rows_come_back_as_they_were_written(paths: SegmentPaths) -> None:
    ref = write_tombstones(paths, BitMap64(ROWS), 2)
    assert (ref.passages, ref.documents) == (5, 2)
    assert list(read_tombstones(paths, ref, 2**34)) == ROWS
    assert filesystem.list_names(paths.tombstones) == [ref.name]


def test_the_same_rows_are_the_same_file_and_others_another(paths: SegmentPaths) -> None:
    first = write_tombstones(paths, BitMap64(ROWS), 2)
    assert write_tombstones(paths, BitMap64(reversed(ROWS)), 2) == first
    other = write_tombstones(paths, BitMap64(ROWS[1:]), 2)
    assert other.name != first.name
    assert list(read_tombstones(paths, first, 2**34)) == ROWS


def test_without_reference_all_rows_live(paths: SegmentPaths) -> None:
    assert not read_tombstones(paths, None, 10)
    assert live_mask(BitMap64(), 0, 10).all()


@given(st.sets(st.integers(0, 300)), st.integers(0, 300), st.integers(0, 300))
def test_masks_are_those_of_brute_force(rows: set[int], one: int, other: int) -> None:
    first, stop = sorted((one, other))
    mask = live_mask(BitMap64(rows), first, stop)
    assert mask.tolist() == [row not in rows for row in range(first, stop)]
    assert mask.dtype == np.bool_


def test_a_missing_file_is_damaged_and_named(paths: SegmentPaths) -> None:
    ref = write_tombstones(paths, BitMap64(ROWS), 2)
    url = filesystem.join(paths.tombstones, ref.name)
    filesystem.remove(url)
    with pytest.raises(Damaged) as caught:
        read_tombstones(paths, ref, 2**34)
    assert (caught.value.option, caught.value.value) == ("file", url)


@pytest.mark.parametrize("place", [0, 8, -1])
def test_a_flipped_bit_is_damaged_and_named(paths: SegmentPaths, place: int) -> None:
    ref = write_tombstones(paths, BitMap64(ROWS), 2)
    path = Path(paths.tombstones, ref.name)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(Damaged) as caught:
        read_tombstones(paths, ref, 2**34)
    assert (caught.value.option, caught.value.value) == ("file", str(path))
    assert ref.sha256 in caught.value.problem


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(60)), b"\xff" * 60])
def test_a_file_that_is_no_bitmap_is_damaged_even_where_its_digest_is_vouched_for(
    paths: SegmentPaths, content: bytes
) -> None:
    os.makedirs(paths.tombstones)
    Path(paths.tombstones, "rows").write_bytes(content)
    ref = TombstoneRef("rows", filesystem.digest(content), 1, 1)
    with pytest.raises(Damaged) as caught:
        read_tombstones(paths, ref, 10)
    assert caught.value.value == filesystem.join(paths.tombstones, "rows")


def test_rows_that_are_not_there_are_damaged(paths: SegmentPaths) -> None:
    ref = write_tombstones(paths, BitMap64([3, 9]), 1)
    assert list(read_tombstones(paths, ref, 10)) == [3, 9]
    for wrong, rows in ((ref, 9), (dataclasses.replace(ref, passages=3), 10)):
        with pytest.raises(Damaged) as caught:
            read_tombstones(paths, wrong, rows)
        assert caught.value.value == filesystem.join(paths.tombstones, ref.name)
        assert f"{wrong.passages} of {rows}" in caught.value.problem


@pytest.mark.parametrize("name", ["../rows", "/etc/passwd", "a/b", ""])
def test_a_name_that_leaves_the_folder_is_refused(name: str) -> None:
    with pytest.raises(Damaged) as caught:
        TombstoneRef(name, "", 1, 1)
    assert (caught.value.option, caught.value.value) == ("file name", name)
