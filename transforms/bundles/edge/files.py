"""The files of a bundle: JSON, Parquet, and bare arrays that are memory-mapped.

A bundle is a folder, or one zip archive that is read where it lies. Arrays stand in it without
compression, so that they are mapped from the archive.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

#: The name of the file that describes the others, and the version of their format.
DESCRIPTION, BUNDLE_VERSION = "bundle.json", 1
#: A member's bytes follow a header of so many, and two names whose lengths stand at a place in it.
_HEADER, _LENGTHS = 30, 26


class Files:
    """Files of a folder, or of an archive.

    Attributes:
        path: the folder, or the archive.
    """

    def __init__(self, path: Path) -> None:
        """Open the archive, if it is one.

        Raises:
            ValueError: it is a file, and no archive.
        """
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path) if path.is_file() else None
        except zipfile.BadZipFile as error:
            raise ValueError(f"{path} is no bundle: {error}") from error

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        if self._archive is None:
            return (self.path / name).read_bytes()
        try:
            return self._archive.read(name)
        except (KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"{self.path}: {error.args[0]}") from error

    def whole(self, name: str) -> str | bytes:
        """Return the path of a file; its content if it is in an archive."""
        return str(self.path / name) if self._archive is None else self.read(name)

    def numbers(self, name: str, kind: "np.dtype[Any]") -> npt.NDArray[Any]:
        """Return a file as numbers ``[n]``, which are mapped."""
        path, start, size = self._place(name)
        if size % kind.itemsize:
            raise ValueError(f"{path} is cut short or is another bundle's")
        if start is None:
            return np.frombuffer(self.read(name), kind)
        shape = (size // kind.itemsize,)
        return np.memmap(path, kind, "r", start, shape) if size else np.zeros(shape, kind)

    def table(self, name: str) -> pq.ParquetFile:
        """Return a Parquet file."""
        if self._archive is None:
            return pq.ParquetFile(self.path / name)
        return pq.ParquetFile(pa.BufferReader(self.numbers(name, np.dtype("u1"))))

    def _place(self, name: str) -> tuple[Path, int | None, int]:
        """Return the file that has the bytes, where they start, and how many they are.

        A compressed member starts at None.
        """
        if self._archive is None:
            return self.path / name, 0, (self.path / name).stat().st_size
        try:
            info = self._archive.getinfo(name)
        except KeyError as error:
            raise ValueError(f"{self.path}: {error.args[0]}") from error
        if info.compress_type != zipfile.ZIP_STORED:
            return self.path, None, info.file_size
        with self.path.open("rb") as file:
            file.seek(info.header_offset + _LENGTHS)
            lengths = np.frombuffer(file.read(_HEADER - _LENGTHS), "<u2")
        return self.path, info.header_offset + _HEADER + int(lengths.sum()), info.file_size


class BundleFiles(Files):
    """The files of a bundle.

    Attributes:
        about: what `DESCRIPTION` says.
    """

    def __init__(self, path: Path) -> None:
        """Read the description.

        Raises:
            ValueError: the path is no bundle, or one of another version.
        """
        super().__init__(path)
        try:
            self.about: dict[str, Any] = self.json(DESCRIPTION)
        except OSError as error:
            raise ValueError(f"{path} is no bundle: {error}") from error
        version = self.about.get("version")
        if version != BUNDLE_VERSION:
            raise ValueError(f"{path} has version {version}, and {BUNDLE_VERSION} is read")

    def json(self, name: str) -> Any:
        """Return the value of a JSON file."""
        return json.loads(self.read(name))

    def array(self, name: str) -> npt.NDArray[Any]:
        """Return one of the arrays that the description lists."""
        about = self.about["arrays"][name]
        numbers, shape = self.numbers(about["file"], np.dtype(about["dtype"])), about["shape"]
        if numbers.size != int(np.prod(shape)):
            raise ValueError(f"{about['file']} of {self.path} is cut short or is another bundle's")
        return numbers.reshape(shape)

    def passages(self, rows: list[int]) -> list[dict[str, Any]]:
        """Return some passages with their metadata; only their row groups are read."""
        file, size = self.table("passages.parquet"), self.about["group_rows"]
        groups = sorted({row // size for row in rows})
        read = {group: file.read_row_group(group).to_pylist() for group in groups}
        found = [dict(read[row // size][row % size]) for row in rows]
        for each in found:
            each["metadata"] = json.loads(each["metadata"])
        return found
