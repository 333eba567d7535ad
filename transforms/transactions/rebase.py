"""Put a run's changes on the newest snapshot, whatever was committed since the run compared.

The later commit wins: after it, each document of the run's input is as that input has it. Documents
that the input lacks are as the newest snapshot has them, or gone in mode ``sync``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap64

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.parts import live_document_ids
from transforms.catalog.segment import SegmentInfo
from transforms.catalog.snapshot import SegmentRef, Snapshot, read_segment
from transforms.catalog.tombstones import read_rows, read_tombstones, write_tombstones
from transforms.errors import Conflict, Damaged, Stale
from transforms.storage import filesystem
from transforms.storage.parquet_files import open_parquet, reading
from transforms.transactions.change_set import Changes, SegmentChange, read_buckets
from transforms.transactions.diff import RECORD_SCHEMA, live_records

Bools = npt.NDArray[np.bool_]
#: Where nothing was compared.
NOTHING = Changes(0, "append", 0, (), ())
_KEY = ("document_id", "text_hash", "metadata_hash")
_LOST = (*_KEY, "segment", "first", "rows")


@dataclass(frozen=True)
class Work:
    """What a run wants to commit.

    Attributes:
        store: the store's URL.
        name: the segment in whose ``changes/`` the changes' files lie.
        mode: ``append`` or ``sync``.
        changes: what it compared.
        segment: what it wrote, if anything.
    """

    store: str
    name: str
    mode: str
    changes: Changes
    segment: SegmentRef | None = None

    @property
    def folder(self) -> str:
        """Where the changes' files lie."""
        return SegmentPaths(self.store, self.name).changes


def rebase(work: Work, newest: Snapshot) -> tuple[SegmentRef, ...]:
    """The newest snapshot's segments with the tombstones that a run's changes ask for.

    Planned tombstones are joined with those that stand. Rows that the comparison found unchanged
    live, also where somebody buried them since. In segments that came since, the run's documents
    die (with ``sync`` all die), but those that are unchanged ones of a segment that has vanished:
    they were moved there. Where they were not, the segment comes back for them alone. A segment
    that loses its last row is left out.

    Raises:
        Stale: an unchanged document's segment was removed by a vacuum, or is being removed.
        Damaged: a file of the store can't be read.
    """
    changes = work.changes
    base = {each.base.name: each for each in changes.segments}
    found: dict[str, SegmentRef] = {}
    added = [ref for ref in newest.segments if ref.name not in base]
    lost = _lost(work, changes, {ref.name for ref in newest.segments})
    back: list[SegmentRef] = []
    if added or len(lost):
        found, missing = _added(work, added, lost)
        numbers = missing.column("segment").to_numpy()
        for number in np.unique(numbers).tolist():
            rows = missing.filter(pa.array(numbers == number))
            back.append(_revive(work, changes.segments[number].base, rows))
    for ref in newest.segments:
        if ref.name in base:
            found[ref.name] = _shared(work, base[ref.name], ref)
    stay = (
        found[ref.name]
        for ref in newest.segments
        if found[ref.name] == ref or found[ref.name].live_passages
    )
    return (*back, *stay)


def _shared(work: Work, change: SegmentChange, ref: SegmentRef) -> SegmentRef:
    """A segment of the base as it is to be."""
    paths = SegmentPaths(work.store, ref.name)
    before = read_tombstones(paths, change.base.tombstones, ref.passages)
    now = read_tombstones(paths, ref.tombstones, ref.passages)
    kill = read_rows(work.folder, change.dead, ref.passages)
    kept = read_rows(work.folder, change.kept, ref.passages)
    dead = (now | kill) - kept
    # A rollback has brought these back; the comparison has not seen them.
    back = before - now
    if back and work.mode == "sync":
        dead |= back
    elif back:
        records = _read_records(paths, read_segment(work.store, ref), 0)
        places = np.array([first in back for first in records.column("first").to_pylist()])
        records = records.filter(pa.array(places, pa.bool_()))
        _add(dead, records.filter(pa.array(_is_ours(work, records))))
    if dead == now:
        return ref
    if dead == before | kill:
        fallen = (change.base.tombstones, change.dead)
        documents = sum(each.documents for each in fallen if each is not None)
    else:
        documents = _count_documents(paths, read_segment(work.store, ref), dead)
    return _bury(paths, ref, dead, documents)


def _revive(work: Work, ref: SegmentRef, records: pa.Table) -> SegmentRef:
    """A segment that is no longer in the store, with these documents alone."""
    paths = SegmentPaths(work.store, ref.name)
    try:
        paths.claim()
        read_segment(work.store, ref)
    except (Conflict, Damaged) as error:
        name = records.column("document_id")[0].as_py()
        raise Stale(
            f"{work.store!r}: another writer changed {name!r} and perhaps more of these documents "
            "while this command ran, and a vacuum took what they were; run again"
        ) from error
    dead, alive = BitMap64(), BitMap64()
    dead.add_range(0, ref.passages)
    _add(alive, records)
    return _bury(paths, ref, dead - alive, ref.documents - records.num_rows)


def _added(
    work: Work, added: list[SegmentRef], lost: pa.Table
) -> tuple[dict[str, SegmentRef], pa.Table]:
    """The segments that came since, as they are to be, and the lost documents not found there."""
    infos = [read_segment(work.store, ref) for ref in added]
    tables = [RECORD_SCHEMA.empty_table()]
    for number, info in enumerate(infos):
        tables.append(_read_records(SegmentPaths(work.store, info.name), info, number))
    records = pa.concat_tables(tables).combine_chunks()
    dead = [
        read_tombstones(SegmentPaths(work.store, ref.name), ref.tombstones, ref.passages)
        for ref in added
    ]
    segments, first = (records.column(name).to_pylist() for name in ("segment", "first"))
    lives = np.array([row not in dead[s] for s, row in zip(segments, first, strict=True)], np.bool_)
    moved, missing = _moved(records, lives, lost)
    stays = moved | (lives & (work.mode != "sync") & ~_is_ours(work, records))
    result = {}
    for number, ref in enumerate(added):
        mine = np.array(segments, np.int64) == number
        fallen = BitMap64()
        gone = records.filter(pa.array(mine & ~stays))
        _add(fallen, gone)
        paths = SegmentPaths(work.store, ref.name)
        same = bool((stays == lives)[mine].all())
        result[ref.name] = ref if same else _bury(paths, ref, fallen, gone.num_rows)
    return result, missing


def _lost(work: Work, changes: Changes, names: set[str]) -> pa.Table:
    """Unchanged documents whose segments have vanished."""
    gone = [i for i, each in enumerate(changes.segments) if each.base.name not in names]
    gone = [number for number in gone if changes.segments[number].kept is not None]
    tables = [RECORD_SCHEMA.empty_table().select(_LOST)]
    if gone:
        paths = SegmentPaths(work.store, work.name)
        for table in read_buckets(paths, changes.buckets, ["change", *_LOST]):
            there = pc.is_in(table.column("segment"), value_set=pa.array(gone, pa.int32()))
            chosen = pc.and_(pc.equal(table.column("change"), "unchanged"), there)
            tables.append(table.filter(chosen).select(_LOST))
    return pa.concat_tables(tables).combine_chunks()


def _moved(records: pa.Table, lives: Bools, lost: pa.Table) -> tuple[Bools, pa.Table]:
    """Which documents are the lost ones, of several the same one that lives; those not found."""
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
    """Id and hashes as one value; the hashes' length is fixed."""
    values = [table.column(name).cast(pa.binary()) for name in _KEY]
    return pc.binary_join_element_wise(*values, b"").combine_chunks()


def _is_ours(work: Work, records: pa.Table) -> Bools:
    """Which documents the run's input has, as good ones or as rejects."""
    ids = records.column("document_id")
    found = np.zeros(len(ids), np.bool_)
    if not len(ids):
        return found
    for known in _our_ids(work):
        found |= pc.is_in(ids, value_set=known).to_numpy()
    return found


def _our_ids(work: Work) -> Iterator[pa.ChunkedArray]:
    if work.segment is not None:
        yield from live_document_ids(work.store, [work.segment])
    paths = SegmentPaths(work.store, work.name)
    for table in read_buckets(paths, work.changes.buckets, ["document_id", "file"]):
        yield table.filter(pc.is_valid(table.column("file"))).column("document_id")


def _read_records(paths: SegmentPaths, info: SegmentInfo, number: int) -> pa.Table:
    """The documents of a segment, dead ones too."""
    tables = [RECORD_SCHEMA.empty_table()]
    first = 0
    for part in info.parts:
        url = filesystem.join(paths.vectors, part.name)
        with reading(url):
            table = open_parquet(url).read(columns=list(_KEY))
        tables.append(live_records(table, np.arange(first, first + part.rows), number))
        first += part.rows
    return pa.concat_tables(tables)


def _add(rows: BitMap64, records: pa.Table) -> None:
    for first, count in zip(
        records.column("first").to_pylist(), records.column("rows").to_pylist(), strict=True
    ):
        rows.add_range(first, first + count)


def _count_documents(paths: SegmentPaths, info: SegmentInfo, dead: BitMap64) -> int:
    first = _read_records(paths, info, 0).column("first").to_pylist()
    return sum(row in dead for row in first)


def _bury(paths: SegmentPaths, ref: SegmentRef, dead: BitMap64, documents: int) -> SegmentRef:
    if not dead:
        return replace(ref, tombstones=None)
    return replace(ref, tombstones=write_tombstones(paths, dead, documents))
