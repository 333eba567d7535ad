"""What a run is to change in a store, frozen before work: ``changes.json`` and ``changes/``.

The files in ``segments/<segment>/changes/`` are, for each bucket of ids, what becomes of its
documents (see `compare`), and for each live segment two sets of rows: those that die and those that
the comparison found unchanged.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyroaring import BitMap64

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.manifest_json import check_name, convert
from transforms.catalog.snapshot import SegmentRef, Snapshot
from transforms.catalog.tombstones import TombstoneRef, write_rows
from transforms.errors import Damaged, Stale
from transforms.storage import filesystem
from transforms.storage.checksummed_json import seal, unseal
from transforms.storage.parquet_files import reading
from transforms.transactions.diff import CHANGES


@dataclass(frozen=True)
class Bucket:
    """What became of the documents of one bucket.

    Attributes:
        number: the bucket's.
        name: the file in ``changes/``.
        sha256: the file's digest.
        counts: how many documents became what; see `transforms.transactions.diff.CHANGES`.
        rejects: reason to number of rejected input rows.
        lost: rejected documents that were live.
        twice: ids that occur more than once in the input.
        examples: the first few of those.
    """

    number: int
    name: str
    sha256: str
    counts: dict[str, int]
    rejects: dict[str, int]
    lost: int
    twice: int
    examples: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise Damaged if the file name leads out of its folder."""
        check_name(self.name)


@dataclass(frozen=True)
class SegmentChange:
    """A live segment of the base: as it was there, which of its rows die, which are unchanged."""

    base: SegmentRef
    dead: TombstoneRef | None
    kept: TombstoneRef | None


@dataclass(frozen=True)
class Changes:
    """The content of ``changes.json``.

    Attributes:
        base: the number of the snapshot that the input was compared with; 0 for an empty one.
        mode: ``append``, ``sync`` or ``replace``.
        rows: of the input.
        segments: those of the base, in order; records name them by their places here.
        buckets: files of documents.
    """

    base: int
    mode: str
    rows: int
    segments: tuple[SegmentChange, ...]
    buckets: tuple[Bucket, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many documents became what; every name of `CHANGES` is there."""
        found: Counter[str] = Counter()
        for bucket in self.buckets:
            found.update(bucket.counts)
        return {name: found[name] for name in CHANGES}

    @property
    def rejects(self) -> dict[str, int]:
        """Reason to number of input rows that the comparison found rejected."""
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
    def kills(self) -> bool:
        """Whether any row dies."""
        return any(each.dead is not None for each in self.segments)

    @property
    def writes(self) -> bool:
        """Whether documents are to be embedded or carried over."""
        counts = self.counts
        return any(counts[name] for name in ("new", "changed", "metadata"))

    def to_json(self) -> bytes:
        """The changes as JSON."""
        return seal(asdict(self) | {"counts": self.counts})

    @classmethod
    def from_json(cls, content: bytes, where: str) -> "Changes":
        """The changes that `to_json` wrote; ``where`` names the file in errors."""
        value = unseal(content, where)
        # Derived from the buckets; there for people who read the file.
        value.pop("counts", None)
        return convert(value, cls, where)


def changes_url(paths: SegmentPaths) -> str:
    """Where ``changes.json`` of a segment lies."""
    return filesystem.join(paths.root, "changes.json")


def read_changes(paths: SegmentPaths) -> Changes | None:
    """The changes that were frozen for a segment, if any."""
    url = changes_url(paths)
    try:
        return Changes.from_json(filesystem.read_bytes(url), url)
    except (FileNotFoundError, NotADirectoryError):
        return None


def settle_changes(paths: SegmentPaths, changes: Changes) -> Changes:
    """Freeze the changes, or adopt those that stand."""
    if filesystem.create_exclusively(changes_url(paths), changes.to_json()):
        return changes
    standing = read_changes(paths)
    assert standing is not None
    return standing


def write_bucket(paths: SegmentPaths, number: int, table: pa.Table) -> Bucket:
    """Write what became of the documents of a bucket; the same rows give the same file."""
    with filesystem.put_by_content(paths.changes, f"bucket-{number:05d}", ".parquet") as written:
        pq.write_table(table, written.path, compression="zstd", write_page_checksum=True)
    kinds = table.column("change")
    rejected = table.filter(pc.equal(kinds, "rejected"))
    twice = pc.unique(table.filter(pc.equal(kinds, "duplicate")).column("document_id"))
    return Bucket(
        number,
        written.name,
        written.sha256,
        counts=_counted(kinds),
        rejects=_counted(rejected.column("reason")),
        lost=rejected.num_rows - rejected.column("segment").null_count,
        twice=len(twice),
        examples=tuple(twice[:5].to_pylist()),
    )


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    return dict(sorted(Counter(column.to_pylist()).items()))


def read_buckets(
    paths: SegmentPaths, buckets: Iterable[Bucket], columns: list[str] | None = None
) -> Iterator[pa.Table]:
    """What became of the documents, a table a bucket.

    Raises:
        Damaged: a file has other bytes than its run wrote.
        Stale: a file is missing.
    """
    for bucket in buckets:
        url = filesystem.join(paths.changes, bucket.name)
        try:
            content = filesystem.read_bytes(url)
        except FileNotFoundError as error:
            raise Stale(f"{url} is gone; run again, and the input is compared anew") from error
        found = filesystem.digest(content)
        if found != bucket.sha256:
            raise Damaged(
                f"{url} has SHA-256 {found}, and its run says {bucket.sha256}; run again with "
                "--no-resume"
            )
        with reading(url):
            yield pq.read_table(pa.BufferReader(content), columns=columns)


def gather_changes(
    paths: SegmentPaths, base: Snapshot | None, mode: str, rows: int, buckets: tuple[Bucket, ...]
) -> Changes:
    """Collect which rows of each live segment die and which are unchanged, and write both down.

    Args:
        paths: of the segment in whose ``changes/`` the buckets lie.
        base: what the input was compared with.
        mode: ``append``, ``sync`` or ``replace``.
        rows: of the input.
        buckets: what the comparison wrote.
    """
    refs = base.segments if base is not None else ()
    sets = {kept: [_Rows() for _ in refs] for kept in (False, True)}
    columns = ["change", "segment", "first", "rows"]
    for records in read_buckets(paths, buckets, columns) if refs else ():
        table = records.filter(pc.is_valid(records.column("segment")))
        unchanged = pc.equal(table.column("change"), "unchanged")
        for kept, chosen in ((True, unchanged), (False, pc.invert(unchanged))):
            part = table.filter(chosen)
            segments = part.column("segment").to_numpy()
            for number in np.unique(segments).tolist():
                sets[kept][number].add(part.filter(pa.array(segments == number)))
    segments = tuple(
        SegmentChange(ref, dead.write(paths), kept.write(paths))
        for ref, dead, kept in zip(refs, sets[False], sets[True], strict=True)
    )
    number = base.number if base is not None else 0
    return Changes(number, mode, rows, segments, buckets)


class _Rows:
    """Rows of one segment and how many documents they are."""

    def __init__(self) -> None:
        self._rows, self._documents = BitMap64(), 0

    def add(self, records: pa.Table) -> None:
        for first, count in zip(
            records.column("first").to_pylist(), records.column("rows").to_pylist(), strict=True
        ):
            self._rows.add_range(first, first + count)
        self._documents += records.num_rows

    def write(self, paths: SegmentPaths) -> TombstoneRef | None:
        return write_rows(paths.changes, self._rows, self._documents) if self._documents else None


def chosen_rows(
    paths: SegmentPaths, changes: Changes, files: int, kinds: frozenset[str]
) -> list[BitMap64]:
    """Of each of so many input files, the rows whose documents became one of ``kinds``."""
    chosen = [BitMap64() for _ in range(files)]
    wanted = pa.array(sorted(kinds))
    for table in read_buckets(paths, changes.buckets, ["change", "file", "row"]):
        part = table.filter(pc.is_in(table.column("change"), value_set=wanted))
        numbers, rows = part.column("file").to_numpy(), part.column("row").to_numpy()
        for file in np.unique(numbers).tolist():
            chosen[file].update(rows[numbers == file].tolist())
    return chosen


def count_changes(paths: SegmentPaths, changes: Changes, ids: set[str]) -> Counter[str]:
    """How many of the documents became what in the comparison."""
    found: Counter[str] = Counter()
    wanted = pa.array(sorted(ids), pa.string())
    for table in read_buckets(paths, changes.buckets, ["document_id", "change"]):
        chosen = table.filter(pc.is_in(table.column("document_id"), value_set=wanted))
        found.update(chosen.column("change").to_pylist())
    return found


def remove_buckets(paths: SegmentPaths) -> None:
    """Remove the files of a comparison that led to nothing; frozen ones stay."""
    if read_changes(paths) is not None:
        return
    for name in filesystem.list_names(paths.changes):
        filesystem.remove(filesystem.join(paths.changes, name))
    for folder in (
        paths.changes,
        paths.root,
        filesystem.join(paths.store, "segments"),
        paths.store,
    ):
        filesystem.remove_folder(folder)
