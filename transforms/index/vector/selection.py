"""The choice of a segment's index, by its rows, their width, the memory and the options."""

import os
from dataclasses import dataclass

import numpy as np

from transforms.errors import BadInput
from transforms.index.options import INDEX_NAMES, IndexOptions
from transforms.index.vector import faiss_factory, faiss_search
from transforms.index.vector.kmeans_choice import worthwhile

#: Up to so many bytes of float32 vectors, an exact search takes about 20 ms on a laptop.
_EXACT_BYTES = 320_000_000
#: Up to so many rows, building a graph takes an acceptable time.
_GRAPH_ROWS = 1_000_000
_GRAPH_LINKS = 32
#: Number of lists divided by the square root of the rows, for scalar and for product codes.
#: Comparing a centre takes as long as comparing 4 scalar or 24 product codes.
_LISTS, _CODE_LISTS = 4, 1.5
#: A rough estimate of one core's multiply-adds per second.
_RATE = 2.5e10
#: Speed-up from comparing rows and centres in bfloat16.
_BFLOAT16_SPEEDUP = 3
_KMEANS_ITERATIONS = 10
#: Multiply-adds, or work that takes as long, per number of an added row, besides the choice of its
#: list. By setting: comparisons in a graph, codebook entries, codes of lists with their recall.
_ROW_WORK = {"efSearch": 15_000, "": 256, "nprobe": 6_000}
#: A product code may be so many times wider or narrower than the intended width.
_MAX_WIDTH_RATIO = 1.5


@dataclass(frozen=True)
class IndexChoice:
    """A FAISS factory string, or None for no index, and a one-line reason."""

    factory: str | None
    why: str


def check_index_options(options: IndexOptions, dim: int, rows: int | None = None) -> None:
    """Check what only FAISS can tell: that it can build the index.

    Args:
        options: the options.
        dim: width of the vectors.
        rows: the most rows that a segment has, if known.

    Raises:
        BadInput: the factory string can't be used, or has more lists than there are rows.
    """
    if options.index in INDEX_NAMES:
        return
    factory = _plain(options.index)
    faiss_factory.check_factory(factory, dim)
    lists = faiss_factory.kind_of(factory, dim).lists
    if rows and lists > rows:
        raise BadInput(
            "index",
            factory,
            f"has {lists} lists for {rows} rows",
            f"Give at most {rows} lists, or flat",
        )


def choose_index(options: IndexOptions, dim: int, rows: int) -> IndexChoice:
    """Choose the FAISS factory string for so many rows, after `check_index_options`."""
    if options.index == "none":
        return IndexChoice(None, "no index was asked for: searches scan the vectors")
    factory, reason = _factory(options, dim, rows)
    return IndexChoice(factory, explain(factory, reason, options, dim, rows))


def fits(factory: str, dim: int, rows: int) -> bool:
    """Return whether so many rows are enough to train such an index."""
    return faiss_factory.kind_of(factory, dim).least <= rows


def _factory(options: IndexOptions, dim: int, rows: int) -> tuple[str, str]:
    """Return the factory string, and why it was chosen if the user did not ask for it."""
    exact = faiss_search.EXACT
    if options.index not in INDEX_NAMES:
        return _plain(options.index), ""
    graph = f"HNSW{_GRAPH_LINKS}"
    lists = lists_for(rows)
    auto = options.index == "auto"
    if options.index == "flat":
        return exact, ""
    small = rows * dim * 4 <= _EXACT_BYTES
    if auto and (small or options.recall_target == 1):
        limit = f"as it is at most {size_words(_EXACT_BYTES)}"
        return exact, limit if small else "as a recall of 1 was asked for"
    if options.index == "hnsw":
        return graph, ""
    wide = index_bytes(graph, dim, rows)
    if auto and rows <= _GRAPH_ROWS and wide <= options.memory:
        return graph, f"a graph, as there are at most {_GRAPH_ROWS:,} rows"
    if lists < 2:
        return exact, "as there are too few rows for lists"
    scalar = f"IVF{lists},SQ8"
    if options.index == "ivf":
        return scalar, ""
    widths = _widths(dim)
    if not widths:
        return scalar, f"scalar codes, as {dim} dimensions can't be cut into equal product codes"
    lists = lists_for(rows, _CODE_LISTS)
    for width in widths:
        product = f"RR{dim},IVF{lists},PQ{width}x4fsr"
        if index_bytes(product, dim, rows) <= options.memory:
            break
    if not fits(product, dim, rows):
        return exact, "as there are too few rows for product codes"
    more = f"there are more than {_GRAPH_ROWS:,} rows"
    large = f"a graph would take {_share(wide, options)}"
    return product, f"lists, as {more if rows > _GRAPH_ROWS else large}" if auto else ""


def _widths(dim: int) -> list[int]:
    """Return widths of a product code: divisors near a third, a sixth and a twelfth of ``dim``."""
    divisors = [width for width in range(2, dim) if dim % width == 0]
    found = []
    for aim in (dim / 3, dim / 6, dim / 12):
        ratios = [(max(width / aim, aim / width), width) for width in divisors]
        off, width = min(ratios, default=(np.inf, 0))
        if off <= _MAX_WIDTH_RATIO and width not in found:
            found.append(width)
    return found


def lists_for(rows: int, times: float = _LISTS) -> int:
    """Return the number of lists: the largest power of two up to ``times`` the root of the rows.

    There are fewer if a list would have fewer training rows than FAISS asks for.
    """
    lists, least = 1, faiss_factory.LEAST_PER_LIST
    while lists * lists * 2 <= times * times * rows and 2 * lists * least <= rows:
        lists *= 2
    return lists


def _plain(option: str) -> str:
    return faiss_search.EXACT if option.lower() == "flat" else option


def index_bytes(factory: str, dim: int, rows: int) -> int:
    """Return the bytes of an index in memory, including memory-mapped lists."""
    return rows * faiss_factory.bytes_of_row(factory, dim)


def build_seconds(factory: str, dim: int, rows: int) -> float:
    """Estimate how long training and filling take on a machine with as many cores as this one."""
    if factory == faiss_search.EXACT:
        return 0.0
    kind = faiss_factory.kind_of(factory, dim)
    train = min(kind.training, rows) * kind.lists * dim * _KMEANS_ITERATIONS
    products: float = train + rows * dim * kind.lists
    if kind.lists and worthwhile(rows, kind.lists, dim):
        products /= _BFLOAT16_SPEEDUP
    work = products + rows * dim * _ROW_WORK[kind.setting]
    return work / (_RATE * (os.cpu_count() or 1))


def explain(factory: str, reason: str, options: IndexOptions, dim: int, rows: int) -> str:
    """Describe in one line what is built, why, its size and the time to build it."""
    size = index_bytes(factory, dim, rows)
    words = [f"{factory} for {rows:,} × {dim}: {size_words(size)}"]
    if factory == faiss_search.EXACT:
        words.append(f"exact, {reason}" if reason else "exact")
        if size > _EXACT_BYTES:
            words.append("each search reads all of it")
    else:
        words += [reason] if reason else []
        words.append(f"and {size_words(2 * rows * dim)} of float16 vectors on disk to re-rank with")
        words.append(f"{_time(build_seconds(factory, dim, rows))} to build")
        words.append(f"recall@10 of {options.recall_target:g} asked for")
        if not faiss_factory.kind_of(factory, dim).selects:
            words.append("a search that excludes rows scans the float16 vectors instead")
    if size > options.memory:
        words.append(f"more than the {size_words(options.memory)} of --index-memory")
    return ", ".join(words)


def _share(size: float, options: IndexOptions) -> str:
    return f"{size_words(size)} of --index-memory {size_words(options.memory)}"


def size_words(count: float) -> str:
    """Format a number of bytes for people, such as ``320 MB``."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB" if count < 10_000 else f"{count / 1000:.1f} TB"


def _time(seconds: float) -> str:
    if seconds < 50:
        return "some seconds" if seconds < 10 else f"about {seconds:.0f} seconds"
    if seconds < 7_200:
        return "about a minute" if seconds < 90 else f"about {seconds / 60:.0f} minutes"
    return f"about {seconds / 3_600:,.0f} hours"
