"""Bare arrays of a bundle: little-endian numbers in row order, and nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


class ArrayFiles:
    """Writes arrays to a folder.

    Attributes:
        about: for each array its file, dtype and shape, for the bundle's description.
    """

    def __init__(self, folder: Path) -> None:
        """Hold the folder."""
        self._folder = folder
        self.about: dict[str, dict[str, Any]] = {}

    def write(self, name: str, array: npt.NDArray[Any], dtype: str) -> None:
        """Append rows to an array, which the first call starts."""
        kind = np.dtype(dtype).newbyteorder("<")
        shape = self.about.get(name, {}).get("shape", [0, *array.shape[1:]])
        file = f"{name}.bin"
        with (self._folder / file).open("ab") as out:
            out.write(np.ascontiguousarray(array, kind).tobytes())
        shape = [shape[0] + len(array), *shape[1:]]
        self.about[name] = {"file": file, "dtype": kind.str, "shape": shape}
