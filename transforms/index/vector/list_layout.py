"""The lists of an inverted file, which hold each row's id and code."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from transforms.index.vector.file_layout import Layout

Ids = npt.NDArray[np.int64]


def read_lists(layout: Layout, lists: int, rows: int) -> None:
    """Read lists that hold each of the rows once.

    Raises:
        LayoutError: they do not.
    """
    kind = layout.tag(("ilar", "ilp2", "ilbl"))
    layout.fixed("number of lists", "Q")
    size = layout.fixed("code size of its lists", "Q")
    seen, found = np.zeros(rows, np.bool_), 0
    for ids in _blocks(layout, lists) if kind == "ilbl" else _plain(layout, lists, size, kind):
        found += len(ids)
        inside = not len(ids) or bool(ids.min() >= 0 and ids.max() < rows)
        layout.require(inside, f"has a row in its lists that is not one of its {rows}")
        seen[ids] = True
    layout.require(found == rows, f"has {found} rows in its lists, but {rows} belong there")
    layout.require(bool(seen.all()), "has a row twice in its lists")


def _plain(layout: Layout, lists: int, size: int, kind: str) -> Iterator[Ids]:
    """Yield the ids of each list. Its codes precede them; sums for a quick search may follow."""
    batch = sums = 1
    if kind == "ilp2":
        sums, batch = layout.fixed("number of sums", "Q") + 1, layout.fixed("batch size", "Q")
    for count in _counts(layout, lists):
        padded = -(-count // batch) * batch
        layout.block("codes", "u1", padded * size)
        yield layout.block("ids", "<i8", count)
        if kind == "ilp2":
            layout.block("sums", "<f4", padded * sums)


def _counts(layout: Layout, lists: int) -> list[int]:
    """Return the lengths of the lists that are not empty, in order."""
    if layout.either("full", "sprs") == "full":
        counts = layout.array("lengths of lists", "<u8", lists)
    else:
        pairs = layout.array("lengths of lists", "<u8")
        layout.require(len(pairs) % 2 == 0, "has lengths of lists without their numbers")
        numbers, counts = pairs[::2], pairs[1::2]
        rising = len(numbers) < 2 or bool((numbers[1:] > numbers[:-1]).all())
        layout.require(rising, "has lengths of lists in another order")
        layout.require(not len(numbers) or int(numbers[-1]) < lists, "has a list too many")
    return [int(count) for count in counts if count]


def _blocks(layout: Layout, lists: int) -> Iterator[Ids]:
    """Yield the ids of each list. Its codes follow them, in blocks of equal size."""
    rows, size = layout.fixed("rows of a block", "Q"), layout.fixed("bytes of a block", "Q")
    for _ in range(lists):
        ids = layout.array("ids", "<i8")
        layout.array("codes", "u1", -(-len(ids) // max(1, rows)) * size)
        yield ids
