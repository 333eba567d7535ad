"""What index a segment is to get, and which parts share a file of it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from transforms.catalog.index_manifest import IndexFile
from transforms.catalog.segment import PartInfo, SegmentInfo
from transforms.index.options import INDEX_NAMES, IndexOptions
from transforms.index.shard_layout import ShardPlan, even_shards, plan_shards
from transforms.index.vector import faiss_search
from transforms.index.vector.selection import choose_index, explain, fits, index_bytes

#: Bytes that an index shard takes in memory at most; it bounds that of building one.
MOST_SHARD_BYTES = 1 << 30
#: Times so many bytes of float32 vectors at most: workers and threads of a search share shards.
_MOST_VECTORS = 4
#: An older index with so many times fewer or more lists than would be chosen still serves.
MOST_LISTS = 4


@dataclass(frozen=True)
class TrainedBefore:
    """The trained index of an older segment, for new rows to use.

    Attributes:
        segment: whose it is.
        factory: FAISS factory.
        file: in the segment's ``index/``.
        error: mean squared distance of the rows that it was trained on from its centres or codes.
    """

    segment: str
    factory: str
    file: IndexFile
    error: float | None


@dataclass(frozen=True)
class IndexPlan:
    """What is to be built.

    Attributes:
        factory: FAISS factory.
        why: one line for people.
        dim: width of the vectors.
        shards: in order.
        target: recall@10 to reach.
        gpu: whether to train on the GPUs that FAISS sees.
        asked: what the user gave for it: a name or a factory.
        before: a trained index to use instead of training one, if it fits the rows.
        questions: a file of question vectors, ``[n, dim]``, whose recall is measured too.
    """

    factory: str
    why: str
    dim: int
    shards: tuple[ShardPlan, ...]
    target: float
    gpu: bool
    asked: str
    before: TrainedBefore | None = None
    questions: IndexFile | None = None

    @property
    def rows(self) -> int:
        """Rows of all shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def exact(self) -> bool:
        """Whether the index is exact search itself."""
        return self.factory == faiss_search.EXACT


@dataclass(frozen=True)
class IndexHelp:
    """What a plan may use besides the rows: trained indexes, newest first, and questions."""

    before: tuple[TrainedBefore, ...] = ()
    questions: IndexFile | None = None


NO_HELP = IndexHelp()


def trained_before(infos: Iterable[SegmentInfo]) -> tuple[TrainedBefore, ...]:
    """The trained indexes of live segments, newest first."""
    found = []
    for info in infos:
        index = info.index
        if index is not None and index.trained is not None:
            error = index.error
            if error is not None and index.drift:
                error /= index.drift
            found.append(TrainedBefore(info.name, index.factory, index.trained, error))
    return tuple(reversed(found))


def most_shard_rows(factory: str, dim: int) -> int:
    """How many rows share an index file at most: the more, the less it keeps of each."""
    row = max(index_bytes(factory, dim, 1), -(-4 * dim // _MOST_VECTORS))
    return max(1, MOST_SHARD_BYTES // row)


def plan_index(
    parts: tuple[PartInfo, ...],
    dim: int,
    options: IndexOptions,
    before: tuple[TrainedBefore, ...] = (),
    questions: IndexFile | None = None,
) -> IndexPlan | None:
    """Plan the index of so many rows; None where none is wanted.

    Where an older segment has a trained index of the same factory, or of any inverted file and one
    is to be chosen, that is used. Where the rows are too few to train what was asked for, exact
    search takes its place.
    """
    rows = sum(part.rows for part in parts)
    choice = choose_index(options, dim, rows)
    if choice.factory is None:
        return None
    factory, why = choice.factory, choice.why
    named = options.index in INDEX_NAMES
    older = next((old for old in before if _serves(old.factory, factory, named)), None)
    if older is not None and older.factory != factory:
        factory = older.factory
        why = explain(factory, "", options, dim, rows)
    if not fits(factory, dim, rows):
        why = f"too few rows ({rows}) for {factory}: exact search"
        factory, older = faiss_search.EXACT, None
    shards = tuple(
        plan_shards(parts, most_shard_rows(factory, dim))
        if not options.shards
        else even_shards(parts, options.shards)
    )
    gpu, asked = options.gpu == "auto", options.index
    return IndexPlan(factory, why, dim, shards, options.recall_target, gpu, asked, older, questions)


def _serves(older: str, wanted: str, named: bool) -> bool:
    """Whether an older factory is the wanted one, or nearly so where that was chosen."""
    if older == wanted:
        return True
    theirs, ours = (re.fullmatch(r"(RR\d+,)?IVF(\d+),(\w+)", one) for one in (older, wanted))
    if not named or theirs is None or ours is None or theirs.group(1, 3) != ours.group(1, 3):
        return False
    return int(ours[2]) / MOST_LISTS <= int(theirs[2]) <= int(ours[2]) * MOST_LISTS
