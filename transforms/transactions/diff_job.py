"""The Beam job that compares an input with a store; see `transforms.transactions.diff`.

Small records cross the shuffle: ids, hashes and addresses, never texts or vectors.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.leases import lease_url
from transforms.catalog.manifest_json import decode
from transforms.catalog.plan import Slice
from transforms.catalog.snapshot import Snapshot, read_segment
from transforms.catalog.tombstones import live_mask, read_tombstones
from transforms.errors import Stale
from transforms.ingest.read_parts import read_ids, read_slice
from transforms.ingest.survey import Survey
from transforms.storage import (
    arrow_coder,  # noqa: F401
    filesystem,
)
from transforms.storage.parquet_files import open_parquet, reading
from transforms.storage.schema import NO_TOKENS
from transforms.transactions.change_set import Bucket, write_bucket
from transforms.transactions.diff import (
    RECORD_SCHEMA,
    compare,
    input_records,
    live_records,
    refusal_records,
    refuse,
    split_records,
)

#: So many buckets, but of no fewer and no more records than these on average.
_BUCKETS, _FEWEST_RECORDS, _MOST_RECORDS = 64, 1 << 12, 1 << 18
_LIVE = ["document_id", "text_hash", "metadata_hash"]


@dataclass(frozen=True)
class Comparison:
    """What is compared with what.

    Attributes:
        paths: of the segment in whose ``changes/`` the result goes.
        survey: of the input.
        base: the store's snapshot; None compares with nothing, and finds duplicates alone.
        mode: ``append``, ``sync`` or ``replace``.
        on_duplicate: ``error``, ``first`` or ``last``.
    """

    paths: SegmentPaths
    survey: Survey
    base: Snapshot | None
    mode: str
    on_duplicate: str

    @property
    def buckets(self) -> int:
        """Into how many buckets the ids are split."""
        records = self.survey.rows + (self.base.passages if self.base is not None else 0)
        few = min(records // _FEWEST_RECORDS, _BUCKETS)
        return max(1, few, records // _MOST_RECORDS)

    @property
    def lease(self) -> str:
        """A file that says that the base is in use: vacuum keeps it for a run under way."""
        number = self.base.number if self.base is not None else 0
        return lease_url(self.paths, number, self.mode)

    def marker(self, bucket: int) -> str:
        """Where what a finished bucket holds is written."""
        return filesystem.join(self.paths.changes, f"{self._prefix}{bucket:05d}.json")

    @property
    def _prefix(self) -> str:
        return f"{self.base.number if self.base is not None else 0:08d}-{self.mode}-"

    def finished(self) -> tuple[Bucket, ...]:
        """All buckets.

        Raises:
            Stale: a marker is missing: another run has removed it.
        """
        found = []
        for number in range(self.buckets):
            url = self.marker(number)
            try:
                found.append(decode(filesystem.read_bytes(url), Bucket, url))
            except FileNotFoundError as error:
                raise Stale(f"{url} is gone; run again") from error
        return tuple(found)


@dataclass(frozen=True)
class Unit:
    """What one worker reads at once: a row group of an input file, or a part of a live segment.

    Attributes:
        kind: ``input``, ``live``, or ``rejects`` of a part.
        place: the file's or the segment's number.
        number: the row group's or the part's.
        first: the number of its first row in the file or the segment.
        rows: how many it has.
    """

    kind: str
    place: int
    number: int
    first: int
    rows: int


def units_of(comparison: Comparison) -> list[Unit]:
    """All that is to be read."""
    units = []
    for place, groups in enumerate(comparison.survey.groups):
        first = 0
        for number, group in enumerate(groups):
            units += [Unit("input", place, number, first, group.rows)] if group.rows else []
            first += group.rows
    base = comparison.base
    for place, ref in enumerate(base.segments if base is not None else ()):
        first = 0
        for part in read_segment(comparison.paths.store, ref).parts:
            units += [Unit("live", place, part.number, first, part.rows)] if part.rows else []
            refused = part.rejects.get(NO_TOKENS, 0)
            units += [Unit("rejects", place, part.number, 0, refused)] if refused else []
            first += part.rows
    return units


def read_records(comparison: Comparison, unit: Unit) -> pa.Table:
    """The records of one unit; without a base their hashes are null, since nothing is compared."""
    if unit.kind == "live":
        return _live_records(comparison, unit)
    if unit.kind == "rejects":
        return _refusal_records(comparison, unit)
    survey = comparison.survey
    piece = Slice(unit.place, unit.number, 0, unit.rows, unit.first)
    read = read_slice if comparison.base is not None else read_ids
    tables = [input_records(table, unit.place) for table in read(survey, piece)]
    return pa.concat_tables(tables).combine_chunks()


def _live_records(comparison: Comparison, unit: Unit) -> pa.Table:
    assert comparison.base is not None
    ref = comparison.base.segments[unit.place]
    paths = SegmentPaths(comparison.paths.store, ref.name)
    info = read_segment(paths.store, ref)
    url = filesystem.join(paths.vectors, info.parts[unit.number].name)
    with reading(url):
        table = open_parquet(url).read(columns=_LIVE)
    dead = read_tombstones(paths, ref.tombstones, info.rows)
    live = live_mask(dead, unit.first, unit.first + unit.rows)
    return live_records(table.filter(pa.array(live)), np.flatnonzero(live) + unit.first, unit.place)


def _refusal_records(comparison: Comparison, unit: Unit) -> pa.Table:
    assert comparison.base is not None
    ref = comparison.base.segments[unit.place]
    paths = SegmentPaths(comparison.paths.store, ref.name)
    part = read_segment(paths.store, ref).parts[unit.number]
    url = filesystem.join(paths.rejects, part.rejects_name)
    with reading(url):
        table = open_parquet(url).read(columns=["document_id", "text_hash", "reason"])
    return refusal_records(table)


class _ReadFn(beam.DoFn):
    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison

    def process(self, element: Unit) -> Iterator[tuple[int, pa.Table]]:
        records = read_records(self._comparison, element)
        yield from split_records(records, self._comparison.buckets)


class _CompareFn(beam.DoFn):
    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison

    def process(self, element: tuple[int, Iterable[pa.Table]]) -> Iterator[int]:
        number, tables = element
        records = pa.concat_tables([RECORD_SCHEMA.empty_table(), *tables]).combine_chunks()
        ours = records.column("file").is_valid()
        live = records.column("segment").is_valid()
        refused = pc.invert(pc.or_(ours, live))
        result = compare(
            refuse(records.filter(ours), records.filter(refused)),
            records.filter(live),
            self._comparison.mode,
            self._comparison.on_duplicate,
        )
        bucket = write_bucket(self._comparison.paths, number, result)
        content = json.dumps(asdict(bucket), sort_keys=True).encode()
        filesystem.create_exclusively(self._comparison.marker(number), content)
        yield number


class CompareDocuments(beam.PTransform):
    """An input and a store to files that say what becomes of each document; gives their numbers.

    `Comparison.finished` finds them.
    """

    def __init__(self, comparison: Comparison) -> None:
        super().__init__()
        self._comparison = comparison

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection[int]:
        """Spread the units over the workers, then wire `read_records` and `compare`."""
        every = range(self._comparison.buckets)
        records = (
            pbegin
            | "Units" >> beam.Create(units_of(self._comparison)).with_output_types(Unit)
            | "Spread" >> beam.Reshuffle()
            | "Read"
            >> beam.ParDo(_ReadFn(self._comparison)).with_output_types(tuple[int, pa.Table])
        )
        # Each bucket says that it was compared, also where it has no record.
        empty = pbegin | "EveryBucket" >> beam.Create(
            [(number, RECORD_SCHEMA.empty_table()) for number in every]
        ).with_output_types(tuple[int, pa.Table])
        return (
            (records, empty)
            | "AllRecords" >> beam.Flatten()
            | "Buckets" >> beam.GroupByKey()
            | "Compare" >> beam.ParDo(_CompareFn(self._comparison)).with_output_types(int)
        )
