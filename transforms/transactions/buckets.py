"""Buckets: the files in ``changes/`` that hold the change of each document of an input."""

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyroaring import BitMap64

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.open_snapshot import OpenSnapshot
from transforms.catalog.tombstones import TombstoneRef, write_rows
from transforms.errors import Damaged, Stale
from transforms.storage import filesystem
from transforms.storage.parquet_files import CheckedFile, reading
from transforms.transactions.change_set import Bucket, ChangeSet, SegmentChange, read_change_set
from transforms.transactions.diff import CHANGE_SCHEMA

#: No number of a row is larger; and documents have fewer passages.
_MOST = {"row": 1 << 40, "first": 1 << 40, "rows": 1 << 31, "file": 1 << 31, "segment": 1 << 31}


def write_bucket(paths: SegmentPaths, number: int, table: pa.Table) -> Bucket:
    """Write the changes of the documents of a bucket; the same rows give the same file."""
    with filesystem.put_by_content(paths.changes, f"bucket-{number:05d}", ".parquet") as written:
        pq.write_table(table, written.path, compression="zstd", write_page_checksum=True)
    kinds = table.column("change")
    rejected = table.filter(pc.equal(kinds, "rejected"))
    duplicates = pc.unique(table.filter(pc.equal(kinds, "duplicate")).column("document_id"))
    return Bucket(
        number,
        written.name,
        written.sha256,
        counts=_count_values(kinds),
        rejects=_count_values(rejected.column("reason")),
        lost=rejected.num_rows - rejected.column("segment").null_count,
        twice=len(duplicates),
        examples=tuple(duplicates[:5].to_pylist()),
    )


def _count_values(column: pa.ChunkedArray) -> dict[str, int]:
    return dict(sorted(Counter(column.to_pylist()).items()))


def read_buckets(
    paths: SegmentPaths,
    buckets: Iterable[Bucket],
    columns: list[str] | None = None,
    **most: int,
) -> Iterator[pa.Table]:
    """Yield the changes of the documents, one table per bucket.

    Args:
        paths: the segment with the buckets in its ``changes/``.
        buckets: the buckets.
        columns: the columns to read, all of them by default.
        most: how many files or segments there are, of which the numbers must be.

    Raises:
        Damaged: the digest of a file is wrong, its columns are others, or a number is too large.
        Stale: a file is missing.
    """
    for bucket in buckets:
        url = filesystem.join(paths.changes, bucket.name)
        try:
            content = filesystem.read_bytes(url)
        except FileNotFoundError as error:
            raise Stale(
                "bucket", url, "is missing", "Run again: the input is then compared again"
            ) from error
        found = filesystem.digest(content)
        if found != bucket.sha256:
            raise Damaged(
                "bucket",
                url,
                f"has SHA-256 {found}, but its run recorded {bucket.sha256}",
                "Run again with --no-resume",
            )
        with reading(url):
            table = CheckedFile(pa.BufferReader(content)).read(columns=columns)
            yield _checked(table, columns or CHANGE_SCHEMA.names, _MOST | most, url)


def _checked(table: pa.Table, columns: list[str], most: dict[str, int], url: str) -> pa.Table:
    """Return the columns of a bucket with their types; raise Damaged if they don't fit."""
    problem = ""
    if missing := set(columns) - set(table.column_names):
        problem = f"lacks the columns {', '.join(sorted(missing))}"
    elif others := [n for n in columns if table.field(n).type != CHANGE_SCHEMA.field(n).type]:
        problem = f"has another type of {', '.join(others)}"
    for name in columns if not problem else ():
        if name in most and len(table):
            ends = pc.min_max(table.column(name)).as_py()
            if ends["min"] is not None and not 0 <= ends["min"] <= ends["max"] < most[name]:
                problem = f"has {name} from {ends['min']} to {ends['max']} of {most[name]}"
    if problem:
        raise Damaged("bucket", url, problem, "Run again with --no-resume")
    return table.select(columns)


def gather_changes(
    paths: SegmentPaths, base: OpenSnapshot, mode: str, rows: int, buckets: tuple[Bucket, ...]
) -> ChangeSet:
    """Collect the rows of each live segment that die or are unchanged, and write them down.

    Args:
        paths: the segment with the buckets in its ``changes/``.
        base: the snapshot that the input was compared with.
        mode: ``append``, ``sync`` or ``replace``.
        rows: the rows of the input.
        buckets: the results of the comparison.
    """
    refs = base.segments
    sets = {kept: [_Rows() for _ in refs] for kept in (False, True)}
    columns = ["change", "segment", "first", "rows"]
    for records in read_buckets(paths, buckets, columns, segment=len(refs)) if refs else ():
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
    return ChangeSet(base.number, mode, rows, segments, buckets)


class _Rows:
    """A set of rows of one segment, and the number of their documents."""

    def __init__(self) -> None:
        self._rows, self._documents = BitMap64(), 0

    def add(self, records: pa.Table) -> None:
        add_rows(self._rows, records)
        self._documents += records.num_rows

    def write(self, paths: SegmentPaths) -> TombstoneRef | None:
        return write_rows(paths.changes, self._rows, self._documents) if self._documents else None


def add_rows(rows: BitMap64, records: pa.Table) -> None:
    """Add the rows of records with the columns ``first`` and ``rows`` to a set."""
    for first, count in zip(
        records.column("first").to_pylist(), records.column("rows").to_pylist(), strict=True
    ):
        rows.add_range(first, first + count)


def chosen_rows(
    paths: SegmentPaths, changes: ChangeSet, files: int, kinds: frozenset[str]
) -> list[BitMap64]:
    """Return the rows of each input file that have one of these kinds of change."""
    chosen = [BitMap64() for _ in range(files)]
    wanted = pa.array(sorted(kinds))
    for table in read_buckets(paths, changes.buckets, ["change", "file", "row"], file=files):
        part = table.filter(pc.is_in(table.column("change"), value_set=wanted))
        numbers, rows = part.column("file").to_numpy(), part.column("row").to_numpy()
        for file in np.unique(numbers).tolist():
            chosen[file].update(rows[numbers == file].tolist())
    return chosen


def count_changes(paths: SegmentPaths, changes: ChangeSet, ids: set[str]) -> Counter[str]:
    """Return how many of some documents have each kind of change."""
    found: Counter[str] = Counter()
    wanted = pa.array(sorted(ids), pa.string())
    for table in read_buckets(paths, changes.buckets, ["document_id", "change"]):
        chosen = table.filter(pc.is_in(table.column("document_id"), value_set=wanted))
        found.update(chosen.column("change").to_pylist())
    return found


def remove_buckets(paths: SegmentPaths) -> None:
    """Remove the files of a comparison without a change set; those of a change set stay."""
    if read_change_set(paths) is not None:
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
