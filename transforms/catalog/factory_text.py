"""The text of a FAISS factory string, checked without FAISS, which some strings crash or fill.

Options and manifests go through the same check. FAISS can only tell afterwards whether it knows a
string that is safe.
"""

import re

#: A string that is longer can crash the regular expressions of FAISS.
_MOST_LETTERS = 200
_LETTERS = re.compile(r"[A-Za-z0-9_,()+.-]*")
#: Any number but that of lists: links, codebooks, widths after a transform.
_MOST = 16_384
#: So many lists take half a gigabyte without a row.
_MOST_LISTS = 1 << 22
_LISTS = re.compile(r"IVF(\d+)([kM]?)")
_TIMES = {"": 1, "k": 1 << 10, "M": 1 << 20}
#: Codebooks: the name of their type, then numbers such as ``8x4`` or ``2x8x4_4x6``.
BOOKS = re.compile(r"(?<!O)(P?RQ|P?LSQ|PQ)((?:\d+[x_]?)*)")
#: Codes of more bits have codebooks of gigabytes.
_MOST_BITS = 16
#: The most numbers of the codebooks of product codes: a gigabyte.
_MOST_BOOK_NUMBERS = 1 << 28
#: The most entries of additive codebooks, of which FAISS keeps all products: a gigabyte.
_MOST_ENTRIES = 1 << 14


def factory_problem(factory: str, dim: int = 0) -> str:
    """Return why FAISS or albeam can't be given a factory string; "" if they can.

    Args:
        factory: the string.
        dim: the width of the vectors, if it is known.
    """
    if len(factory) > _MOST_LETTERS:
        return f"has {len(factory)} letters, but at most {_MOST_LETTERS} are possible"
    if not _LETTERS.fullmatch(factory):
        return "has letters that no FAISS factory string has"
    if re.search(r"(?<!\d)0+(?!\d)", factory):
        return "contains the number 0"
    if count_lists(factory) > _MOST_LISTS:
        return f"has {count_lists(factory)} lists, but at most {_MOST_LISTS} are possible"
    numbers = [int(found) for found in re.findall(r"\d+", _LISTS.sub("IVF", factory))]
    if max(numbers, default=0) > _MOST:
        return f"contains the number {max(numbers)}, but at most {_MOST} is possible"
    if re.search(r"HNSW0*1(?!\d)", factory):
        return "is a graph with one link per row, but needs at least two"
    if "NSG" in factory:
        return "is a graph that can't be filled step by step"
    if "Dedup" in factory:
        return "stores equal rows once, in a file that can't be memory-mapped"
    return _codes_problem(factory, max([dim, *numbers]))


def count_lists(factory: str) -> int:
    """Return the most lists of an inverted file in a factory string; 0 if it has none."""
    found = _LISTS.findall(factory)
    return max((int(number) * _TIMES[unit] for number, unit in found), default=0)


def code_bits(factory: str) -> int:
    """Return the largest number of bits of a factory string's codebooks; 0 if it has none."""
    return max((bits for _, _, bits in _books(factory)), default=0)


def _codes_problem(factory: str, widest: int) -> str:
    bits = code_bits(factory)
    if bits > _MOST_BITS:
        return f"has codes of {bits} bits, but at most {_MOST_BITS} are possible"
    if bits and widest << bits > _MOST_BOOK_NUMBERS:
        return f"has codebooks of {widest << bits} numbers, but at most {_MOST_BOOK_NUMBERS} fit"
    entries = sum(books << bits for name, books, bits in _books(factory) if name != "PQ")
    if entries > _MOST_ENTRIES:
        return f"has codebooks of {entries} entries, but at most {_MOST_ENTRIES} are possible"
    return ""


def _books(factory: str) -> list[tuple[str, int, int]]:
    """Return the types of a factory string's codebooks, their numbers and their bits."""
    found = []
    for name, numbers in BOOKS.findall(factory):
        sizes = re.findall(r"(\d+)x(\d+)(?=_|$)", numbers)
        if not sizes and name == "PQ" and numbers:
            sizes = [(re.split("[x_]", numbers)[0], "8")]
        found += [(name, int(books), int(bits)) for books, bits in sizes]
    return found
