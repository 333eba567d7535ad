"""The files of a bundle: JSON, and bare arrays that are memory-mapped."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

#: The name of the file that describes the others, and the version of their format.
DESCRIPTION, BUNDLE_VERSION = "bundle.json", 1


class BundleFiles:
    """The files of a bundle's folder.

    Attributes:
        about: what `DESCRIPTION` says.
    """

    def __init__(self, folder: Path) -> None:
        """Read the description.

        Raises:
            ValueError: the folder is no bundle, or one of another version.
        """
        self.folder = folder
        try:
            self.about: dict[str, Any] = self.json(DESCRIPTION)
        except OSError as error:
            raise ValueError(f"{folder} is no bundle: {error}") from error
        version = self.about.get("version")
        if version != BUNDLE_VERSION:
            raise ValueError(f"{folder} has version {version}, and {BUNDLE_VERSION} is read")

    def json(self, name: str) -> Any:
        """Return the value of a JSON file."""
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def array(self, name: str) -> npt.NDArray[Any]:
        """Return one of the arrays that the description lists."""
        about = self.about["arrays"][name]
        kind, shape = np.dtype(about["dtype"]), tuple(about["shape"])
        path = self.folder / about["file"]
        if path.stat().st_size != kind.itemsize * int(np.prod(shape)):
            raise ValueError(f"{path} is cut short or is another bundle's")
        return np.memmap(path, kind, "r", shape=shape) if np.prod(shape) else np.zeros(shape, kind)

    def passages(self, rows: list[int]) -> list[dict[str, Any]]:
        """Return some passages with their metadata; only their row groups are read."""
        file, size = pq.ParquetFile(self.folder / "passages.parquet"), self.about["group_rows"]
        groups = sorted({row // size for row in rows})
        read = {group: file.read_row_group(group).to_pylist() for group in groups}
        found = [dict(read[row // size][row % size]) for row in rows]
        for each in found:
            each["metadata"] = json.loads(each["metadata"])
        return found
