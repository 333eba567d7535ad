"""A position in a FAISS index file, which is read without FAISS and compared with an empty index.

FAISS trusts much of what a file says. Whatever training and new rows leave alone must be equal in
a file and in FAISS's own empty index of the same factory string. The rest must fit: every array
lies inside the file and has the length that its index needs, and the file ends after the last one.
"""

import struct
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

#: Names and values that every index of a factory string has, in the order of the file.
Facts = tuple[tuple[str, Any], ...]
Array = npt.NDArray[Any]


class LayoutError(ValueError):
    """A file that is not such an index; the text is the rest of a sentence about it."""


class UnknownType(LayoutError):
    """A part of a type that albeam does not build."""


class Layout:
    """A position in a file; ``expected`` are the facts to compare with, or None to record them."""

    def __init__(self, content: Any, expected: Facts | None = None) -> None:
        """Start at the beginning of ``content``, a buffer of the whole file."""
        self._content, self._at = memoryview(content), 0
        self._expected = expected
        self.facts: list[tuple[str, Any]] = []

    def require(self, holds: bool, problem: str) -> None:
        """Raise LayoutError if a file breaks a rule; an empty index may, as it is not trained."""
        if self._expected is not None and not holds:
            raise LayoutError(problem)

    def end(self) -> None:
        """Check that nothing follows."""
        left = len(self._content) - self._at
        self.require(not left, f"has {left} bytes after its end")

    def number(self, name: str, kind: str) -> Any:
        """Read a number of a type of `struct`."""
        start = self._skip(name, struct.calcsize("<" + kind))
        return struct.unpack_from("<" + kind, self._content, start)[0]

    def fixed(self, name: str, kind: str) -> Any:
        """Read a number that is the same in every index of the factory string."""
        return self._fact(name, self.number(name, kind))

    def flag(self, name: str) -> bool:
        """Read a truth value, which is one byte."""
        found = self.number(name, "B")
        self.require(found <= 1, f"has {name} {found}, which is neither 0 nor 1")
        return bool(found)

    def array(self, name: str, kind: str, count: int | None = None) -> Array:
        """Read an array, which must have ``count`` entries if that is known."""
        found = self.number(name, "Q")
        if count is not None:
            self.require(found == count, f"has {found} {name}, but {count} belong there")
        return self.block(name, kind, found)

    def fixed_array(self, name: str, kind: str) -> Array:
        """Read an array that is the same in every index of the factory string."""
        found = self.array(name, kind)
        self._fact(name, found.tobytes())
        return found

    def block(self, name: str, kind: str, count: int) -> Array:
        """Read so many entries, without a number before them."""
        each = np.dtype(kind)
        start = self._skip(name, count * each.itemsize)
        return np.frombuffer(self._content, each, count, start) if count else np.empty(0, each)

    def tag(self, known: Collection[str]) -> str:
        """Read the four letters of a type, which is that of the empty index."""
        found = self._letters()
        if found == "ilod":
            raise LayoutError("keeps its lists in another file, which albeam never opens")
        if found not in known:
            raise UnknownType(f"has a part of the unknown type {found!r}")
        return str(self._fact("type", found))

    def either(self, *known: str) -> str:
        """Read four letters that depend on the rows."""
        found = self._letters()
        if found not in known:
            raise UnknownType(f"has a part of the unknown type {found!r}")
        return found

    def header(self, rows: int) -> int:
        """Read what every index starts with; return its width."""
        dim = self.fixed("width", "i")
        found = self.number("rows", "q")
        self.require(found == rows, f"has {found} rows, but {rows} belong there")
        self._skip("header", 16)
        self.require(self.flag("state of training"), "is not trained")
        self.fixed("metric", "i")
        return int(dim)

    def _letters(self) -> str:
        return self.block("type", "u1", 4).tobytes().decode("latin-1")

    def _fact(self, name: str, value: Any) -> Any:
        if self._expected is None:
            self.facts.append((name, value))
            return value
        wanted = self._expected[len(self.facts)]
        if wanted != (name, value):
            found = "another" if isinstance(value, bytes) else f"{value!r} as its"
            wish = "" if isinstance(value, bytes) else f", but {wanted[1]!r} belongs there"
            raise LayoutError(f"has {found} {name}{wish}")
        self.facts.append(wanted)
        return value

    def _skip(self, name: str, size: int) -> int:
        start = self._at
        if size > len(self._content) - start:
            raise LayoutError(f"has {len(self._content)} bytes, and ends inside its {name}")
        self._at += size
        return start
