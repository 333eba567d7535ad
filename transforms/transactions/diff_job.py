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
from transforms.catalog.open_snapshot import OpenSnapshot
from transforms.catalog.parts import open_part, open_rejects
from transforms.catalog.plan import Slice
from transforms.catalog.tombstones import live_mask
from transforms.errors import Stale
from transforms.ingest.read_parts import read_ids, read_slices
from transforms.ingest.survey import Survey
from transforms.runtime.checked_fn import CheckedFn
from transforms.storage import (
    arrow_coder,  # noqa: F401
    filesystem,
)
from transforms.storage.parquet_files import reading
from transforms.storage.schema import NO_TOKENS
from transforms.transactions.buckets import write_bucket
from transforms.transactions.change_set import Bucket
from transforms.transactions.diff import (
    RECORD_SCHEMA,
    apply_known_rejects,
    compare,
    input_records,
    live_records,
    reject_records,
    split_records,
)

#: The number of buckets, and the fewest and the most records of one on average.
_BUCKETS, _FEWEST_RECORDS, _MOST_RECORDS = 64, 1 << 12, 1 << 18
_LIVE = ["document_id", "text_hash", "metadata_hash"]


@dataclass(frozen=True)
class Comparison:
    """The two sides of a comparison, and where its result goes.

    Attributes:
        paths: the segment; the result is written to its ``changes/``.
        survey: the survey of the input.
        base: the snapshot of the store; against an empty one only duplicates are found.
        mode: ``append``, ``sync`` or ``replace``.
        on_duplicate: ``error``, ``first`` or ``last``.
    """

    paths: SegmentPaths
    survey: Survey
    base: OpenSnapshot
    mode: str
    on_duplicate: str

    @property
    def buckets(self) -> int:
        """The number of buckets into which the ids are split."""
        records = self.survey.rows + self.base.passages
        few = min(records // _FEWEST_RECORDS, _BUCKETS)
        return max(1, few, records // _MOST_RECORDS)

    @property
    def lease(self) -> str:
        """The URL of the file that tells a vacuum that a run needs the base."""
        return lease_url(self.paths, self.base.number, self.mode)

    def marker(self, bucket: int) -> str:
        """Return the URL of the marker of a finished bucket."""
        name = f"{self.base.number:08d}-{self.mode}-{bucket:05d}.json"
        return filesystem.join(self.paths.changes, name)

    def finished(self) -> tuple[Bucket, ...]:
        """Return all buckets.

        Raises:
            Stale: a marker is missing because another run removed it.
        """
        found = []
        for number in range(self.buckets):
            url = self.marker(number)
            try:
                found.append(decode(filesystem.read_bytes(url), Bucket, url))
            except FileNotFoundError as error:
                raise Stale("marker", url, "is missing", "Run again") from error
        return tuple(found)


@dataclass(frozen=True)
class Unit:
    """The data that a worker reads at once: an input row group, or a part of a live segment.

    Attributes:
        kind: ``input``, ``live``, or the ``rejects`` of a part.
        place: the number of the file or of the segment.
        number: the number of the row group or of the part.
        first: the number of its first row in the file or in the segment.
        rows: the number of its rows.
    """

    kind: str
    place: int
    number: int
    first: int
    rows: int


def units_of(comparison: Comparison) -> list[Unit]:
    """Return everything that a comparison reads."""
    units = []
    for place, groups in enumerate(comparison.survey.groups):
        first = 0
        for number, group in enumerate(groups):
            units += [Unit("input", place, number, first, group.rows)] if group.rows else []
            first += group.rows
    for place, info in enumerate(comparison.base.infos()):
        first = 0
        for part in info.parts:
            units += [Unit("live", place, part.number, first, part.rows)] if part.rows else []
            rejects = part.rejects.get(NO_TOKENS, 0)
            units += [Unit("rejects", place, part.number, 0, rejects)] if rejects else []
            first += part.rows
    return units


def read_records(comparison: Comparison, unit: Unit) -> pa.Table:
    """Read the records of a unit; against an empty snapshot their hashes are null."""
    if unit.kind == "live":
        return _live_records(comparison.base, unit)
    if unit.kind == "rejects":
        return _reject_records(comparison.base, unit)
    survey = comparison.survey
    piece = Slice(unit.place, unit.number, 0, unit.rows, unit.first)
    read = read_slices if comparison.base.snapshot is not None else read_ids
    tables = [input_records(table, unit.place) for table in read(survey, piece)]
    return pa.concat_tables(tables).combine_chunks()


def _live_records(base: OpenSnapshot, unit: Unit) -> pa.Table:
    part = base.info(unit.place).parts[unit.number]
    url = filesystem.join(base.paths(unit.place).vectors, part.name)
    with open_part(base.paths(unit.place), part) as file, reading(url):
        table = file.read(columns=_LIVE)
    live = live_mask(base.tombstones(unit.place), unit.first, unit.first + unit.rows)
    return live_records(table.filter(pa.array(live)), np.flatnonzero(live) + unit.first, unit.place)


def _reject_records(base: OpenSnapshot, unit: Unit) -> pa.Table:
    part = base.info(unit.place).parts[unit.number]
    url = filesystem.join(base.paths(unit.place).rejects, part.rejects_name)
    with open_rejects(base.paths(unit.place), part) as file, reading(url):
        table = file.read(columns=["document_id", "text_hash", "reason"])
    return reject_records(table)


class _ReadFn(CheckedFn):
    def __init__(self, comparison: Comparison) -> None:
        super().__init__()
        # Each copy of this function keeps the manifests that it has read; see `OpenSnapshot`.
        self._comparison, self._buckets = comparison, comparison.buckets

    def process(self, element: Unit) -> Iterator[tuple[int, pa.Table]]:
        records = read_records(self._comparison, element)
        yield from split_records(records, self._buckets)


class _CompareFn(CheckedFn):
    def __init__(self, comparison: Comparison) -> None:
        super().__init__()
        self._comparison = comparison

    def process(self, element: tuple[int, Iterable[pa.Table]]) -> Iterator[int]:
        number, tables = element
        records = pa.concat_tables([RECORD_SCHEMA.empty_table(), *tables]).combine_chunks()
        ours = records.column("file").is_valid()
        live = records.column("segment").is_valid()
        rejects = pc.invert(pc.or_(ours, live))
        result = compare(
            apply_known_rejects(records.filter(ours), records.filter(rejects)),
            records.filter(live),
            self._comparison.mode,
            self._comparison.on_duplicate,
        )
        bucket = write_bucket(self._comparison.paths, number, result)
        content = json.dumps(asdict(bucket), sort_keys=True).encode()
        filesystem.create_exclusively(self._comparison.marker(number), content)
        yield number


class CompareDocuments(beam.PTransform):
    """The transform that writes the change of each document to files, and yields bucket numbers.

    `Comparison.finished` reads the result.
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
        # A bucket without records needs a marker too.
        empty = pbegin | "EveryBucket" >> beam.Create(
            [(number, RECORD_SCHEMA.empty_table()) for number in every]
        ).with_output_types(tuple[int, pa.Table])
        return (
            (records, empty)
            | "AllRecords" >> beam.Flatten()
            | "Buckets" >> beam.GroupByKey()
            | "Compare" >> beam.ParDo(_CompareFn(self._comparison)).with_output_types(int)
        )
