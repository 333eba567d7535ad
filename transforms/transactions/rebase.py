"""Apply a run's change set to the newest snapshot, which may be newer than the compared one.

The later commit wins: the new snapshot has each document of the run's input as the input has it.
Documents that the input lacks stay as the newest snapshot has them, or die in mode ``sync``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap64

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.open_snapshot import OpenSnapshot
from transforms.catalog.parts import live_document_ids, open_part
from transforms.catalog.segment import SegmentInfo
from transforms.catalog.snapshot import SegmentRef, read_segment
from transforms.catalog.tombstones import read_rows, read_tombstones, write_tombstones
from transforms.errors import Conflict, Damaged, Stale
from transforms.storage import filesystem
from transforms.storage.parquet_files import reading
from transforms.transactions.buckets import add_rows, read_buckets
from transforms.transactions.change_set import ChangeSet, SegmentChange
from transforms.transactions.diff import RECORD_SCHEMA, live_records

Bools = npt.NDArray[np.bool_]
_KEY = ("document_id", "text_hash", "metadata_hash")
_ADDRESSED_KEY = (*_KEY, "segment", "first", "rows")


@dataclass(frozen=True)
class Work:
    """The content that a run is about to commit.

    Attributes:
        store: the store's URL.
        name: the segment with the files of the change set.
        mode: ``append`` or ``sync``.
        changes: the change set.
        segment: the segment that the run wrote, if it wrote one.
    """

    store: str
    name: str
    mode: str
    changes: ChangeSet
    segment: SegmentRef | None = None

    @property
    def paths(self) -> SegmentPaths:
        """The paths of the segment with the files of the change set."""
        return SegmentPaths(self.store, self.name)


def rebase(work: Work, newest: OpenSnapshot) -> tuple[SegmentRef, ...]:
    """Return the segments of the newest snapshot with the tombstones of a run's change set.

    - Tombstones of the change set are added to existing ones.
    - Unchanged rows of the comparison are live, even if another writer has removed them since.
    - In segments that were added since, the run's documents die; with ``sync`` all documents die.
    - Exception: if the segment of unchanged documents is no longer live, they may have been moved
      to a new segment, where they live. Otherwise their old segment is restored with only them.
    - A segment without live rows is left out.

    Raises:
        Stale: a vacuum removed, or is removing, the segment of an unchanged document.
        Damaged: a file of the store can't be read.
    """
    changes = work.changes
    base = {each.base.name: each for each in changes.segments}
    found: dict[str, SegmentRef] = {}
    added = [place for place, ref in enumerate(newest.segments) if ref.name not in base]
    lost = _unchanged_in_lost_segments(work, {ref.name for ref in newest.segments})
    restored: list[SegmentRef] = []
    if added or len(lost):
        found, missing = _rebase_added(work, newest, added, lost)
        numbers = missing.column("segment").to_numpy()
        for number in np.unique(numbers).tolist():
            rows = missing.filter(pa.array(numbers == number))
            restored.append(_restore(work, changes.segments[number].base, rows))
    for place, ref in enumerate(newest.segments):
        if ref.name in base:
            found[ref.name] = _rebase_shared(work, newest, place, base[ref.name])
    remaining = (
        found[ref.name]
        for ref in newest.segments
        if found[ref.name] == ref or found[ref.name].live_passages
    )
    return (*restored, *remaining)


def _rebase_shared(
    work: Work, newest: OpenSnapshot, place: int, change: SegmentChange
) -> SegmentRef:
    """Return a segment that both the base and the newest snapshot have, with its tombstones."""
    ref, paths = newest.segments[place], newest.paths(place)
    before = read_tombstones(paths, change.base.tombstones, ref.passages)
    now = newest.tombstones(place)
    planned = read_rows(work.paths.changes, change.dead, ref.passages)
    kept = read_rows(work.paths.changes, change.kept, ref.passages)
    dead = (now | planned) - kept
    # A rollback restored these rows; the comparison did not see them.
    restored = before - now
    if restored and work.mode == "sync":
        dead |= restored
    elif restored:
        records = _read_records(paths, newest.info(place), 0)
        places = np.array([first in restored for first in records.column("first").to_pylist()])
        records = records.filter(pa.array(places, pa.bool_()))
        add_rows(dead, records.filter(pa.array(_in_input(work, records))))
    if dead == now:
        return ref
    if dead == before | planned:
        known = (change.base.tombstones, change.dead)
        documents = sum(each.documents for each in known if each is not None)
    else:
        documents = _count_documents(paths, newest.info(place), dead)
    return _with_tombstones(paths, ref, dead, documents)


def _restore(work: Work, ref: SegmentRef, records: pa.Table) -> SegmentRef:
    """Return a segment that the newest snapshot lacks, with only these documents live."""
    paths = SegmentPaths(work.store, ref.name)
    try:
        paths.claim()
        read_segment(work.store, ref)
    except (Conflict, Damaged) as error:
        raise Stale(
            "document",
            records.column("document_id")[0].as_py(),
            "was changed by another writer while this command ran, perhaps with others, and a "
            "vacuum removed its old version",
            "Run again",
        ) from error
    dead, alive = BitMap64(), BitMap64()
    dead.add_range(0, ref.passages)
    add_rows(alive, records)
    return _with_tombstones(paths, ref, dead - alive, ref.documents - records.num_rows)


def _rebase_added(
    work: Work, newest: OpenSnapshot, added: list[int], lost: pa.Table
) -> tuple[dict[str, SegmentRef], pa.Table]:
    """Return the segments that were added since, and the lost documents that they do not hold."""
    tables = [RECORD_SCHEMA.empty_table()]
    for place in added:
        tables.append(_read_records(newest.paths(place), newest.info(place), place))
    records = pa.concat_tables(tables).combine_chunks()
    segments, first = (records.column(name).to_pylist() for name in ("segment", "first"))
    lives = np.array(
        [row not in newest.tombstones(s) for s, row in zip(segments, first, strict=True)], np.bool_
    )
    moved, missing = _find_moved(records, lives, lost)
    stays = moved | (lives & (work.mode != "sync") & ~_in_input(work, records))
    result = {}
    for place in added:
        ref = newest.segments[place]
        mine = np.array(segments, np.int64) == place
        dead = BitMap64()
        dying = records.filter(pa.array(mine & ~stays))
        add_rows(dead, dying)
        same = bool((stays == lives)[mine].all())
        result[ref.name] = (
            ref if same else _with_tombstones(newest.paths(place), ref, dead, dying.num_rows)
        )
    return result, missing


def _unchanged_in_lost_segments(work: Work, names: set[str]) -> pa.Table:
    """Return the unchanged documents whose segments are not among these names."""
    lost = [
        number
        for number, each in enumerate(work.changes.segments)
        if each.base.name not in names and each.kept is not None
    ]
    tables = [RECORD_SCHEMA.empty_table().select(_ADDRESSED_KEY)]
    if lost:
        columns = ["change", *_ADDRESSED_KEY]
        most = len(work.changes.segments)
        for table in read_buckets(work.paths, work.changes.buckets, columns, segment=most):
            inside = pc.is_in(table.column("segment"), value_set=pa.array(lost, pa.int32()))
            chosen = pc.and_(pc.equal(table.column("change"), "unchanged"), inside)
            tables.append(table.filter(chosen).select(_ADDRESSED_KEY))
    return pa.concat_tables(tables).combine_chunks()


def _find_moved(records: pa.Table, lives: Bools, lost: pa.Table) -> tuple[Bools, pa.Table]:
    """Return which records are lost documents, and the lost documents without a record.

    Of several records of one document, a live one is preferred.
    """
    found = np.zeros(records.num_rows, np.bool_)
    if not len(lost):
        return found, lost
    place = pc.fill_null(pc.index_in(_keys(records), value_set=_keys(lost)), -1)
    places = place.to_numpy(zero_copy_only=False)
    order = np.argsort(~lives, kind="stable")
    unique, at = np.unique(places[order], return_index=True)
    found[order[at[unique >= 0]]] = True
    missing = np.setdiff1d(np.arange(len(lost)), unique)
    return found, lost.take(pa.array(missing))


def _keys(table: pa.Table) -> pa.Array:
    """Return id and hashes joined to one value; the hashes have a fixed length."""
    values = [table.column(name).cast(pa.binary()) for name in _KEY]
    return pc.binary_join_element_wise(*values, b"").combine_chunks()


def _in_input(work: Work, records: pa.Table) -> Bools:
    """Return which documents the run's input has, including its rejects."""
    ids = records.column("document_id")
    found = np.zeros(len(ids), np.bool_)
    if not len(ids):
        return found
    for known in _input_ids(work):
        found |= pc.is_in(ids, value_set=known).to_numpy()
    return found


def _input_ids(work: Work) -> Iterator[pa.ChunkedArray]:
    if work.segment is not None:
        yield from live_document_ids(work.store, [work.segment])
    for table in read_buckets(work.paths, work.changes.buckets, ["document_id", "file"]):
        yield table.filter(pc.is_valid(table.column("file"))).column("document_id")


def _read_records(paths: SegmentPaths, info: SegmentInfo, number: int) -> pa.Table:
    """Return the records of all documents of a segment, including dead ones."""
    tables = [RECORD_SCHEMA.empty_table()]
    first = 0
    for part in info.parts:
        url = filesystem.join(paths.vectors, part.name)
        with open_part(paths, part) as file, reading(url):
            table = file.read(columns=list(_KEY))
        tables.append(live_records(table, np.arange(first, first + part.rows), number))
        first += part.rows
    return pa.concat_tables(tables)


def _count_documents(paths: SegmentPaths, info: SegmentInfo, dead: BitMap64) -> int:
    first = _read_records(paths, info, 0).column("first").to_pylist()
    return sum(row in dead for row in first)


def _with_tombstones(
    paths: SegmentPaths, ref: SegmentRef, dead: BitMap64, documents: int
) -> SegmentRef:
    if not dead:
        return replace(ref, tombstones=None)
    return replace(ref, tombstones=write_tombstones(paths, dead, documents))
