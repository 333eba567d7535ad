"""The codes of rows in a FAISS index file: their widths, codebooks and options; see `file_layout`.

Those functions whose result is a number return the bytes of a row's code.
"""

from collections.abc import Callable
from typing import Any

from transforms.index.vector.file_layout import Layout, UnknownType

#: The ways to score additive codes that albeam accepts: decoded, or by tables. Others have norms.
_NO_NORMS = (0, 1)
#: FAISS's default is 4; training lowers it to the number of codebooks.
_MOST_CHANGES = 4

Codes = Callable[[Layout], Any]


def numbers(*fields: tuple[str, str]) -> Codes:
    """Return the reader of numbers that are the same in every index of the factory string."""

    def read(layout: Layout) -> None:
        for name, kind in fields:
            layout.fixed(name, kind)

    return read


def in_turn(*readers: Codes) -> Codes:
    """Return the reader of one thing after another."""

    def read(layout: Layout) -> None:
        for each in readers:
            each(layout)

    return read


def scalar_codes(layout: Layout) -> int:
    """Read a scalar quantizer."""
    for name, kind in (("code type", "i"), ("range", "i"), ("range argument", "f"), ("width", "Q")):
        layout.fixed(name, kind)
    size = layout.fixed("code size", "Q")
    # FAISS itself compares their number with the type.
    layout.array("bounds", "<f4")
    return int(size)


def product_codes(layout: Layout) -> int:
    """Read a product quantizer."""
    dim, books, bits = (layout.fixed(name, "Q") for name in ("width", "codebooks", "bits"))
    layout.array("codebook entries", "<f4", dim << bits)
    return int(books * bits + 7) // 8


def residual_codes(layout: Layout) -> None:
    """Read a residual quantizer."""
    _additive_codes(layout)
    layout.fixed("training type", "i")
    layout.fixed("beam size", "i")


def local_search_codes(layout: Layout) -> None:
    """Read a local search quantizer."""
    _additive_codes(layout)
    for number, kind in enumerate("QQQQQffQi"):
        layout.fixed(f"search option {number}", kind)
    found = layout.number("number of changes", "Q")
    layout.require(found <= _MOST_CHANGES, f"changes {found} codebooks at once")
    layout.fixed("precise codebooks", "?")


def split_codes(codes: Codes) -> Codes:
    """Return the reader of a quantizer with one of ``codes`` for each part of a vector."""

    def read(layout: Layout) -> None:
        _additive_codes(layout)
        for _ in range(layout.fixed("splits", "Q")):
            codes(layout)

    return read


def _additive_codes(layout: Layout) -> None:
    layout.fixed("width", "Q")
    layout.fixed("codebooks", "Q")
    layout.fixed_array("bits", "<u8")
    layout.require(layout.flag("state of training"), "is not trained")
    # FAISS itself compares their number with the bits.
    layout.array("codebook entries", "<f4")
    if layout.fixed("search type", "i") not in _NO_NORMS:
        raise UnknownType("has additive codes with norms, which are not known")
    layout.number("norms", "f")
    layout.number("norms", "f")


def one_bit_codes(layout: Layout) -> int:
    """Read a RaBitQ quantizer of one bit."""
    layout.fixed("width", "Q")
    size = layout.fixed("code size", "Q")
    layout.fixed("metric", "i")
    return int(size)


def bit_codes(layout: Layout) -> int:
    """Read a RaBitQ quantizer of one or more bits."""
    size = one_bit_codes(layout)
    layout.fixed("bits", "Q")
    return size


def eden_codes(layout: Layout) -> int:
    """Read an EDEN quantizer."""
    size = bit_codes(layout)
    layout.fixed("scale type", "i")
    return size
