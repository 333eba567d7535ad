"""The plan of a segment's index: its factory, its shards, and what it may reuse."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from transforms.catalog.index_manifest import IndexFile
from transforms.catalog.segment import PartInfo, SegmentInfo
from transforms.index.options import INDEX_NAMES, IndexOptions
from transforms.index.shard_layout import ShardPlan, even_shards, plan_shards
from transforms.index.vector import faiss_search
from transforms.index.vector.selection import choose_index, explain, fits, index_bytes

#: The most bytes that an index shard takes in memory; this also bounds the memory of building it.
MAX_SHARD_BYTES = 1 << 30
#: The float32 vectors of a shard may take so many times `MAX_SHARD_BYTES`. Larger shards would
#: leave too few for the workers and threads of a search.
_MAX_VECTOR_BYTES_RATIO = 4
#: An older index is reused if it has at most so many times fewer or more lists than a new one.
_MAX_LISTS_RATIO = 4


@dataclass(frozen=True)
class ReusableIndex:
    """The trained index of an older segment, which new rows may use.

    Attributes:
        segment: the older segment's name.
        factory: FAISS factory string.
        file: the trained index, in that segment's ``index/``.
        error: mean squared distance of the rows that it was trained on from its centres or codes.
    """

    segment: str
    factory: str
    file: IndexFile
    error: float | None


@dataclass(frozen=True)
class IndexPlan:
    """The index that is to be built.

    Attributes:
        factory: FAISS factory string.
        why: a one-line explanation for people.
        dim: width of the vectors.
        shards: the shards, in order.
        target: recall@10 to reach.
        gpu: whether to train on the GPUs that FAISS sees.
        asked: the value of the user's option: a name or a factory string.
        reused: a trained index to use instead of training one, if it fits the rows.
        questions: a file of question vectors, ``[n, dim]``, whose recall is measured too.
    """

    factory: str
    why: str
    dim: int
    shards: tuple[ShardPlan, ...]
    target: float
    gpu: bool
    asked: str
    reused: ReusableIndex | None = None
    questions: IndexFile | None = None

    @property
    def rows(self) -> int:
        """The number of rows of all shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def exact(self) -> bool:
        """Whether the index is exact search."""
        return self.factory == faiss_search.EXACT


@dataclass(frozen=True)
class IndexContext:
    """The input of an index plan, apart from the rows.

    Attributes:
        reusable: trained indexes of older segments, newest first.
        questions: a file of question vectors, ``[n, dim]``, whose recall is measured too.
    """

    reusable: tuple[ReusableIndex, ...] = ()
    questions: IndexFile | None = None


EMPTY_CONTEXT = IndexContext()


def reusable_indexes(infos: Iterable[SegmentInfo]) -> tuple[ReusableIndex, ...]:
    """Return the trained indexes of live segments, newest first."""
    found = []
    for info in infos:
        index = info.index
        if index is not None and index.trained is not None:
            error = index.error
            if error is not None and index.drift:
                error /= index.drift
            found.append(ReusableIndex(info.name, index.factory, index.trained, error))
    return tuple(reversed(found))


def max_shard_rows(factory: str, dim: int) -> int:
    """Return how many rows may share an index file; smaller codes allow more rows."""
    row = max(index_bytes(factory, dim, 1), -(-4 * dim // _MAX_VECTOR_BYTES_RATIO))
    return max(1, MAX_SHARD_BYTES // row)


def plan_index(
    parts: tuple[PartInfo, ...],
    dim: int,
    options: IndexOptions,
    context: IndexContext = EMPTY_CONTEXT,
) -> IndexPlan | None:
    """Plan the index of some parts; return None if the options ask for no index.

    The plan reuses an older trained index of the same factory. If the factory is chosen here, the
    older one may have somewhat more or fewer lists. If there are too few rows to train the index,
    exact search replaces it.
    """
    rows = sum(part.rows for part in parts)
    choice = choose_index(options, dim, rows)
    if choice.factory is None:
        return None
    factory, why = choice.factory, choice.why
    chosen = options.index in INDEX_NAMES
    usable = (old for old in context.reusable if _is_usable(old.factory, factory, chosen))
    reused = next(usable, None)
    if reused is not None and reused.factory != factory:
        factory = reused.factory
        why = explain(factory, "", options, dim, rows)
    if not fits(factory, dim, rows):
        why = f"too few rows ({rows}) for {factory}: exact search"
        factory, reused = faiss_search.EXACT, None
    shards = (
        even_shards(parts, options.shards)
        if options.shards
        else plan_shards(parts, max_shard_rows(factory, dim))
    )
    return IndexPlan(
        factory=factory,
        why=why,
        dim=dim,
        shards=tuple(shards),
        target=options.recall_target,
        gpu=options.gpu == "auto",
        asked=options.index,
        reused=reused,
        questions=context.questions,
    )


def _is_usable(older: str, wanted: str, chosen: bool) -> bool:
    """Return whether an older factory can replace the wanted one.

    If the wanted one was chosen by albeam, the number of lists may differ somewhat.
    """
    if older == wanted:
        return True
    theirs, ours = (re.fullmatch(r"(RR\d+,)?IVF(\d+),(\w+)", one) for one in (older, wanted))
    if not chosen or theirs is None or ours is None or theirs.group(1, 3) != ours.group(1, 3):
        return False
    return int(ours[2]) / _MAX_LISTS_RATIO <= int(theirs[2]) <= int(ours[2]) * _MAX_LISTS_RATIO
