"""Bundles as archives: they are read where they lie, and are the same as their folder."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.bundles.archive import write_archive
from transforms.bundles.edge.files import BundleFiles, Files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file of each kind."""
    made = tmp_path / "made"
    (made / "LICENSES").mkdir(parents=True)
    (made / "LICENSES" / "albeam").write_text("a licence " * 100)
    np.arange(1_001, dtype="<f4").tofile(made / "numbers.bin")
    (made / "empty.bin").touch()
    (made / "model.onnx").write_bytes(b"model" * 9)
    pq.write_table(pa.table({"row": range(50)}), made / "rows.parquet", row_group_size=10)
    (made / "bundle.json").write_text('{"version": 1, "arrays": {}}')
    return made


def test_files_of_an_archive_are_those_of_its_folder(folder: Path, tmp_path: Path) -> None:
    sizes = write_archive(folder, tmp_path / "made.zip")
    loose, packed = Files(folder), Files(tmp_path / "made.zip")
    kind = np.dtype("<f4")
    for name in sizes:
        assert packed.read(name) == loose.read(name)
    for name in ("numbers.bin", "empty.bin"):
        assert np.array_equal(packed.numbers(name, kind), loose.numbers(name, kind))
    assert packed.whole("model.onnx") == Path(loose.whole("model.onnx")).read_bytes()
    assert packed.table("rows.parquet").read() == loose.table("rows.parquet").read()
    assert sizes["numbers.bin"] == 4_004
    assert sizes["LICENSES/albeam"] < 100


def test_arrays_are_mapped_at_lines_of_memory(folder: Path, tmp_path: Path) -> None:
    write_archive(folder, tmp_path / "made.zip")
    numbers = Files(tmp_path / "made.zip").numbers("numbers.bin", np.dtype("<f4"))
    assert isinstance(numbers, np.memmap)
    assert numbers.flags.aligned
    assert numbers.offset % 64 == 0
    assert zipfile.ZipFile(tmp_path / "made.zip").testzip() is None


def test_equal_folders_make_equal_archives(folder: Path, tmp_path: Path) -> None:
    write_archive(folder, tmp_path / "one.zip")
    os.utime(folder / "numbers.bin", (0, 0))
    write_archive(folder, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_an_archive_of_another_program_is_read(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("numbers.bin", "rows.parquet", "bundle.json"):
            archive.write(folder / name, name)
    files = BundleFiles(tmp_path / "other.zip")
    assert files.numbers("numbers.bin", np.dtype("<f4")).sum() == 500_500
    assert files.table("rows.parquet").read_row_group(2).column("row")[0].as_py() == 20


def test_what_is_no_bundle_is_told(folder: Path, tmp_path: Path) -> None:
    write_archive(folder, tmp_path / "made.zip")
    os.truncate(tmp_path / "made.zip", 2_000)
    for path in (tmp_path / "made.zip", tmp_path / "none", folder / "LICENSES"):
        with pytest.raises(ValueError, match="is no bundle"):
            BundleFiles(path)
    with zipfile.ZipFile(tmp_path / "bare.zip", "w"):
        pass
    with pytest.raises(ValueError, match="no item named"):
        BundleFiles(tmp_path / "bare.zip")
    with pytest.raises(ValueError, match="no item named"):
        Files(tmp_path / "bare.zip").numbers("numbers.bin", np.dtype("u1"))
    with pytest.raises(ValueError, match="cut short"):
        Files(folder).numbers("model.onnx", np.dtype("<f4"))
