"""The change set of a run: what it changes in a store, written before it embeds anything.

It is ``changes.json`` in the segment's folder. The files that it names are in ``changes/``. Each
bucket of ids has a file with the changes of its documents, see `transforms.transactions.buckets`.
Each live segment has two sets of rows: those that die, and those that are unchanged.
"""

from collections import Counter
from dataclasses import asdict, dataclass

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.manifest_json import Count, check_name, convert
from transforms.catalog.snapshot import SegmentRef
from transforms.catalog.tombstones import TombstoneRef
from transforms.storage import filesystem, remedies
from transforms.storage.checksummed_json import seal, unseal
from transforms.transactions.diff import CHANGE_KINDS


@dataclass(frozen=True)
class Bucket:
    """The changes of the documents of one bucket.

    Attributes:
        number: the number of the bucket.
        name: the file in ``changes/``.
        sha256: the digest of the file.
        counts: how many documents have each kind of change; see `CHANGE_KINDS`.
        rejects: reason to number of rejected input rows.
        lost: rejected documents that were live.
        twice: ids that occur more than once in the input.
        examples: the first few of those ids.
    """

    number: Count
    name: str
    sha256: str
    counts: dict[str, Count]
    rejects: dict[str, Count]
    lost: Count
    twice: Count
    examples: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise Damaged if the file name leads out of its folder."""
        check_name(self.name)


@dataclass(frozen=True)
class SegmentChange:
    """A live segment of the base, the rows of it that die, and the rows that are unchanged."""

    base: SegmentRef
    dead: TombstoneRef | None
    kept: TombstoneRef | None


@dataclass(frozen=True)
class ChangeSet:
    """The content of ``changes.json``.

    Attributes:
        base: the number of the snapshot that the input was compared with; 0 for an empty store.
        mode: ``append``, ``sync`` or ``replace``.
        rows: the rows of the input.
        segments: the segments of the base, in order; change records refer to them by place.
        buckets: the files with the changes of documents.
    """

    base: Count
    mode: str
    rows: Count
    segments: tuple[SegmentChange, ...]
    buckets: tuple[Bucket, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many documents have each kind of change; every kind is present."""
        found: Counter[str] = Counter()
        for bucket in self.buckets:
            found.update(bucket.counts)
        return {name: found[name] for name in CHANGE_KINDS}

    @property
    def rejects(self) -> dict[str, int]:
        """Reason to number of input rows that the comparison rejected."""
        found: Counter[str] = Counter()
        for bucket in self.buckets:
            found.update(bucket.rejects)
        return dict(sorted(found.items()))

    @property
    def lost(self) -> int:
        """Rejected documents that were live."""
        return sum(bucket.lost for bucket in self.buckets)

    @property
    def kept_passages(self) -> int:
        """Passages of unchanged documents."""
        return sum(each.kept.passages for each in self.segments if each.kept is not None)

    @property
    def removes_rows(self) -> bool:
        """Whether any live row dies."""
        return any(each.dead is not None for each in self.segments)

    @property
    def writes_documents(self) -> bool:
        """Whether documents are embedded or carried over."""
        counts = self.counts
        return any(counts[name] for name in ("new", "changed", "metadata"))

    def to_json(self) -> bytes:
        """Return the change set as JSON."""
        return seal(asdict(self) | {"counts": self.counts})

    @classmethod
    def from_json(cls, content: bytes, where: str) -> "ChangeSet":
        """Parse what `to_json` wrote; ``where`` names the file in errors."""
        value = unseal(content, where)
        # Derived from the buckets; it is there for people who read the file.
        value.pop("counts", None)
        return convert(value, cls, where, remedies.NO_RESUME)


#: The change set of a run that compared its input with nothing.
EMPTY = ChangeSet(0, "append", 0, (), ())


def change_set_url(paths: SegmentPaths) -> str:
    """Return the URL of a segment's ``changes.json``."""
    return filesystem.join(paths.root, "changes.json")


def read_change_set(paths: SegmentPaths) -> ChangeSet | None:
    """Read the change set of a segment; None if it has none.

    Raises:
        Damaged: the file can't be read.
    """
    url = change_set_url(paths)
    try:
        return ChangeSet.from_json(filesystem.read_bytes(url), url)
    except (FileNotFoundError, NotADirectoryError):
        return None


def create_change_set(paths: SegmentPaths, changes: ChangeSet) -> ChangeSet:
    """Create ``changes.json``, or return the existing change set."""
    if filesystem.create_exclusively(change_set_url(paths), changes.to_json()):
        return changes
    existing = read_change_set(paths)
    assert existing is not None
    return existing
