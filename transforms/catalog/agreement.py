"""Check that the values of a manifest agree with each other and with the snapshot.

A reader computes places of rows from them, so a wrong one would give another passage than the one
that was found.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Protocol

from transforms.catalog.segment import PartInfo, SegmentInfo
from transforms.errors import Damaged
from transforms.models.identity import PRECISIONS, ModelIdentity
from transforms.storage.remedies import BUILD_INDEX, BUILD_LEXICAL, ROLL_BACK
from transforms.storage.schema import RESERVED

if TYPE_CHECKING:
    from transforms.catalog.snapshot import SegmentRef, Snapshot

VECTOR_DTYPES = ("float32", "float16")
#: The largest width of vectors, and the most tokens of a passage.
_MOST_DIM, _MOST_TOKENS = 1 << 16, 1 << 24


class _Shard(Protocol):
    @property
    def number(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def first_row(self) -> int: ...


def check_identity(identity: ModelIdentity, where: str) -> None:
    """Raise Damaged, which names the file ``where``, if no model has such numbers."""
    if not 1 <= identity.dim <= _MOST_DIM:
        raise _damaged(where, f"has vectors of width {identity.dim}", ROLL_BACK)
    if not 1 <= identity.max_tokens <= _MOST_TOKENS:
        raise _damaged(where, f"has passages of {identity.max_tokens} tokens", ROLL_BACK)
    if identity.precision not in PRECISIONS:
        raise _damaged(where, f"has vectors of precision {identity.precision!r}", ROLL_BACK)


def check_snapshot(snapshot: "Snapshot", where: str) -> None:
    """Raise Damaged, which names the file ``where``, if values of a snapshot disagree."""
    check_identity(snapshot.identity, where)
    names = [ref.name for ref in snapshot.segments]
    if len(set(names)) < len(names):
        raise _damaged(where, "names a segment twice", ROLL_BACK)
    for ref in snapshot.segments:
        if min(ref.live_passages, ref.live_documents) < 0:
            raise _damaged(where, f"has more dead rows than rows in {ref.name!r}", ROLL_BACK)
    if snapshot.weight is not None and not 0 <= snapshot.weight <= 1:
        problem = f"has the weight {snapshot.weight}, which is not between 0 and 1"
        raise _damaged(where, problem, ROLL_BACK)


def check_segment(info: SegmentInfo, ref: "SegmentRef", where: str) -> None:
    """Check the values of a manifest, without its indexes, and what the snapshot says of them.

    Raises:
        Damaged: values contradict each other; ``where`` names the file.
    """
    check_identity(info.identity, where)
    if (info.name, info.rows) != (ref.name, ref.passages):
        problem = (
            f"is of segment {info.name!r} with {info.rows} passages, but the snapshot records "
            f"{ref.name!r} with {ref.passages}"
        )
        raise _damaged(where, problem, ROLL_BACK)
    if info.vector_dtype not in VECTOR_DTYPES:
        raise _damaged(where, f"has vectors of type {info.vector_dtype[:80]!r}", ROLL_BACK)
    names = info.metadata.names
    if len(set(names)) < len(names) or not RESERVED.isdisjoint(names):
        problem = f"has metadata columns {names}, with a name twice or one of albeam's own"
        raise _damaged(where, problem, ROLL_BACK)
    for part in info.parts:
        _check_part(part, where)
    if any(first.number >= second.number for first, second in pairwise(info.parts)):
        raise _damaged(where, "has parts in another order than their numbers", ROLL_BACK)
    if len({part.name for part in info.parts}) < len(info.parts):
        raise _damaged(where, "names a part twice", ROLL_BACK)


def check_indexes(info: SegmentInfo, index: str, lexical: str) -> None:
    """Check that the shards of a segment's indexes are its rows, in order.

    Args:
        info: the segment.
        index: the file that describes its vector index.
        lexical: the file that describes its lexical index.
    """
    if info.index is not None:
        _check_shards(info.index.shards, info.rows, index, "index", BUILD_INDEX)
    if info.lexical is None:
        return
    _check_shards(info.lexical.shards, info.rows, lexical, "lexical index", BUILD_LEXICAL)
    for shard in info.lexical.shards:
        pieces = sum(piece.rows for piece in shard.pieces)
        if pieces != shard.rows:
            problem = f"has {pieces} rows in the pieces of shard {shard.number}, not {shard.rows}"
            raise _damaged(lexical, problem, BUILD_LEXICAL)


def _check_part(part: PartInfo, where: str) -> None:
    if part.documents > part.rows:
        problem = f"has {part.documents} documents in the {part.rows} passages of {part.name}"
        raise _damaged(where, problem, ROLL_BACK)


def _check_shards(shards: Sequence[_Shard], rows: int, where: str, what: str, remedy: str) -> None:
    firsts = accumulate((shard.rows for shard in shards), initial=0)
    for place, (shard, first) in enumerate(zip(shards, firsts, strict=False)):
        if (shard.number, shard.first_row) != (place, first):
            problem = (
                f"has shard {shard.number} from row {shard.first_row} in its {what}, where shard "
                f"{place} from row {first} must be"
            )
            raise _damaged(where, problem, remedy)
    found = _total(shards)
    if found != rows:
        raise _damaged(where, f"has {found} rows in its {what}, but {rows} in its parts", remedy)


def _total(shards: Iterable[_Shard]) -> int:
    return sum(shard.rows for shard in shards)


def _damaged(where: str, problem: str, remedy: str) -> Damaged:
    return Damaged("file", where, problem, remedy)
