"""The types of FAISS index that albeam can build, as files hold them; see `file_layout`.

None of them refers to another file.
"""

from collections.abc import Callable
from typing import Any

from transforms.index.vector.code_layout import (
    Codes,
    bit_codes,
    eden_codes,
    in_turn,
    local_search_codes,
    numbers,
    one_bit_codes,
    product_codes,
    residual_codes,
    scalar_codes,
    split_codes,
)
from transforms.index.vector.file_layout import Facts, Layout
from transforms.index.vector.graph_layout import check_graph
from transforms.index.vector.list_layout import read_lists
from transforms.index.vector.transform_layout import read_transform

#: How fast-scan codes are searched: albeam sets no other than FAISS's default and 10.
_IMPLEMENTATIONS = (0, 10)
_CODE_SIZE, _RESIDUAL, _QUERY = ("code size", "Q"), ("residual", "?"), ("query bits", "B")
_BLOCK, _BOOKS = ("block size", "i"), ("padded codebooks", "Q")

#: Reads what follows the header of an index, of so many rows of such a width.
_Index = Callable[[Layout, int, int], None]


def read_facts(empty: bytes) -> Facts:
    """Return the facts of an empty index that FAISS serialized.

    Raises:
        UnknownType: albeam can't check files of such an index.
    """
    layout = Layout(empty)
    _index(layout, 0)
    return tuple(layout.facts)


def check_layout(content: Any, facts: Facts, rows: int) -> None:
    """Check a trained index of ``rows`` rows; ``content`` is a buffer of the whole file.

    Raises:
        LayoutError: the file is no such index.
    """
    layout = Layout(content, facts)
    _index(layout, rows)
    layout.end()


def _index(layout: Layout, rows: int) -> None:
    read = _INDEXES[layout.tag(_INDEXES)]
    read(layout, rows, layout.header(rows))


def _flat(layout: Layout, rows: int, dim: int) -> None:
    layout.array("vectors", "<f4", rows * dim)


def _scalar(layout: Layout, rows: int, _: int) -> None:
    layout.array("codes", "u1", rows * scalar_codes(layout))


def _product(layout: Layout, rows: int, _: int) -> None:
    layout.array("codes", "u1", rows * product_codes(layout))
    for name, kind in (("search type", "i"), ("signs", "?"), ("polysemous threshold", "i")):
        layout.fixed(name, kind)


def _product_scan(layout: Layout, rows: int, _: int) -> None:
    product_codes(layout)
    _implementation(layout)
    block = layout.fixed(*_BLOCK)
    layout.fixed("query block size", "i")
    padded = _padded(layout, rows, block)
    layout.array("codes", "u1", padded * layout.fixed(*_BOOKS) // 2)


def _implementation(layout: Layout) -> None:
    found = layout.number("implementation", "i")
    layout.require(found in _IMPLEMENTATIONS, f"has the search implementation {found}")


def _padded(layout: Layout, rows: int, block: int) -> int:
    """Read the number of rows with the empty places of the last block."""
    found, wanted = layout.number("padded rows", "Q"), -(-rows // block) * block
    layout.require(found == wanted, f"has {found} padded rows, but {wanted} belong there")
    return int(found)


def _additive(codes: Codes) -> _Index:
    def read(layout: Layout, rows: int, _: int) -> None:
        codes(layout)
        layout.array("codes", "u1", rows * layout.fixed(*_CODE_SIZE))

    return read


def _additive_scan(codes: Codes) -> _Index:
    def read(layout: Layout, rows: int, _: int) -> None:
        codes(layout)
        _implementation(layout)
        block = layout.fixed(*_BLOCK)
        layout.fixed("query block size", "i")
        for name in ("codebooks", "bits", "entries of a codebook", "code size"):
            layout.fixed(name, "Q")
        padded = _padded(layout, rows, block)
        width = layout.fixed(*_BOOKS)
        for name, kind in (("norm option", "?"), ("norm scale", "i"), ("training rows", "Q")):
            layout.fixed(name, kind)
        layout.array("codes", "u1", padded * width // 2)

    return read


def _bits(codes: Callable[[Layout], int]) -> _Index:
    def read(layout: Layout, rows: int, dim: int) -> None:
        layout.array("codes", "u1", rows * codes(layout))
        layout.array("numbers of the centre", "<f4", dim)
        layout.fixed(*_QUERY)

    return read


def _bits_scan(layout: Layout, rows: int, dim: int) -> None:
    size = bit_codes(layout)
    layout.array("numbers of the centre", "<f4", dim)
    layout.fixed(*_QUERY)
    padded = _padded(layout, rows, layout.fixed(*_BLOCK))
    layout.fixed(*_BOOKS)
    layout.fixed("scanned code size", "Q")
    layout.array("codes", "u1", padded * size)


def _eden(layout: Layout, rows: int, dim: int) -> None:
    layout.array("codes", "u1", rows * eden_codes(layout))
    layout.array("numbers of the centre", "<f4", dim)


def _graph(layout: Layout, rows: int, _: int) -> None:
    layout.fixed_array("level probabilities", "<f8")
    places = layout.fixed_array("links per level", "<i4")
    levels = layout.array("levels", "<i4", rows)
    offsets = layout.array("link offsets", "<u8", rows + 1)
    links = layout.array("links", "<i4")
    entry, top = layout.number("entry point", "i"), layout.number("top level", "i")
    for name in ("construction width", "search width", "beam width"):
        layout.fixed(name, "i")
    problem = check_graph(places, levels, offsets, links, entry, top)
    layout.require(not problem, problem)
    _index(layout, rows)


def _transformed(layout: Layout, rows: int, _: int) -> None:
    for _ in range(layout.fixed("transforms", "i")):
        read_transform(layout)
    _index(layout, rows)


def _refined(layout: Layout, rows: int, _: int) -> None:
    _index(layout, rows)
    _index(layout, rows)
    layout.fixed("refinement factor", "f")


def _lists(*codes: Codes) -> _Index:
    """Return the reader of an inverted file whose codes ``codes`` read in turn."""
    read_codes = in_turn(*codes)

    def read(layout: Layout, rows: int, _: int) -> None:
        lists = layout.fixed("number of lists", "Q")
        layout.fixed("probes", "Q")
        # An empty index has no centres yet.
        _index(layout, lists)
        layout.fixed("kind of row map", "B")
        layout.fixed_array("row map", "<i8")
        read_codes(layout)
        read_lists(layout, lists, rows)

    return read


def _additive_lists(codes: Codes) -> _Index:
    return _lists(numbers(_CODE_SIZE), codes, numbers(_RESIDUAL, ("use of tables", "i")))


_SPLIT_RESIDUAL, _SPLIT_SEARCH = split_codes(residual_codes), split_codes(local_search_codes)
_WIDE_QUERY_BLOCK = ("query block size", "Q")
_INDEXES: dict[str, _Index] = {
    "IxFI": _flat,
    "IxSQ": _scalar,
    "IxPq": _product,
    "IPfs": _product_scan,
    "IxRq": _additive(residual_codes),
    "IxLS": _additive(local_search_codes),
    "IxPR": _additive(_SPLIT_RESIDUAL),
    "IxPL": _additive(_SPLIT_SEARCH),
    "IRfs": _additive_scan(residual_codes),
    "ILfs": _additive_scan(local_search_codes),
    "IPRf": _additive_scan(_SPLIT_RESIDUAL),
    "IPLf": _additive_scan(_SPLIT_SEARCH),
    "Ixrq": _bits(one_bit_codes),
    "Ixrr": _bits(bit_codes),
    "Irfn": _bits_scan,
    "IxEe": _eden,
    "IHNf": _graph,
    "IHNs": _graph,
    "IxPT": _transformed,
    "IxRF": _refined,
    "IwFl": _lists(),
    "IwP2": _lists(numbers(("number of sums", "Q"), ("batch size", "Q"))),
    "IwSq": _lists(scalar_codes, numbers(_CODE_SIZE, _RESIDUAL)),
    "IwPQ": _lists(numbers(_RESIDUAL, _CODE_SIZE), product_codes),
    "IwPf": _lists(
        numbers(_RESIDUAL, _CODE_SIZE, _BLOCK, _BOOKS),
        _implementation,
        numbers(_WIDE_QUERY_BLOCK),
        product_codes,
    ),
    "IwRQ": _additive_lists(residual_codes),
    "IwLS": _additive_lists(local_search_codes),
    "IwPR": _additive_lists(_SPLIT_RESIDUAL),
    "IwPL": _additive_lists(_SPLIT_SEARCH),
    "Iwrq": _lists(one_bit_codes, numbers(_CODE_SIZE, _RESIDUAL, _QUERY)),
    "Iwrr": _lists(bit_codes, numbers(_CODE_SIZE, _RESIDUAL, _QUERY)),
    "Iwrn": _lists(
        bit_codes,
        numbers(_RESIDUAL, _CODE_SIZE, _BLOCK, _WIDE_QUERY_BLOCK, _BOOKS),
        _implementation,
        numbers(_QUERY, ("centred", "?")),
    ),
    "IwEe": _lists(eden_codes, numbers(_CODE_SIZE, _RESIDUAL)),
}
