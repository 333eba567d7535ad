"""Compaction: the live rows of many segments, written again as one, without the model.

The plan of a compacted segment is a `Plan` whose slices name old parts: ``file`` is the place of a
segment among the chosen ones, ``row_group`` the number of its part, ``stop`` how many of its rows
live. Live rows keep their order, so a row's new place follows from the old segments alone.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap64

from transforms.catalog.commit import commit
from transforms.catalog.integrity import claim_segment
from transforms.catalog.layout import SegmentPaths, segment_name
from transforms.catalog.options import ColumnOptions
from transforms.catalog.parts import PartFormat
from transforms.catalog.plan import Part, Plan, Slice
from transforms.catalog.segment import PartInfo, SegmentInfo
from transforms.catalog.snapshot import Content, SegmentRef, Snapshot, read_segment
from transforms.catalog.tombstones import live_mask, read_tombstones, write_tombstones
from transforms.errors import BadInput, Conflict, Damaged
from transforms.index.options import IndexOptions
from transforms.ingest.partitioning import MOST_ROWS, MOST_TEXT_BYTES
from transforms.ingest.read_parts import BYTES_PER_CHUNK, ROWS_PER_CHUNK, join_tables, mark_chunks
from transforms.storage import (
    arrow_coder,  # noqa: F401
    filesystem,
)
from transforms.storage.parquet_files import open_parquet, reading
from transforms.storage.schema import (
    FILE,
    REJECT_COLUMNS,
    REJECT_SCHEMA,
    ROW,
    SOURCE_FIELDS,
    TOKEN_FIELD,
)


@dataclass(frozen=True)
class Source:
    """A segment that is compacted: where it lies, what it is, which of its rows are dead."""

    paths: SegmentPaths
    info: SegmentInfo
    dead: BitMap64

    @classmethod
    def open(cls, store: str, ref: SegmentRef) -> "Source":
        """Read a segment's manifest and tombstones; raises Damaged."""
        paths, info = SegmentPaths(store, ref.name), read_segment(store, ref)
        return cls(paths, info, read_tombstones(paths, ref.tombstones, info.rows))

    def masks(self) -> Iterator[tuple[PartInfo, npt.NDArray[np.bool_]]]:
        """Each part, and which of its rows live."""
        for number, part in enumerate(self.info.parts):
            yield part, self.mask(number)

    def mask(self, number: int) -> npt.NDArray[np.bool_]:
        """Which rows of a part live."""
        first = self._firsts[number]
        return live_mask(self.dead, first, first + self.info.parts[number].rows)

    @functools.cached_property
    def _firsts(self) -> tuple[int, ...]:
        """The number of each part's first row."""
        return tuple(accumulate((part.rows for part in self.info.parts), initial=0))


def choose_segments(snapshot: Snapshot, most: int) -> tuple[SegmentRef, ...]:
    """The segments to write again as one, in order; none where there is nothing to do.

    Args:
        snapshot: the store's newest.
        most: how many segments may remain. Where there are more, the smallest ones are chosen;
            else those with tombstones.

    Raises:
        BadInput: ``most`` is below 1.
    """
    if most < 1:
        raise BadInput(f"max-segments is {most}; give 1 or more")
    refs = snapshot.segments
    surplus = len(refs) - most
    if surplus <= 0:
        return tuple(ref for ref in refs if ref.tombstones is not None)
    by_size = sorted(range(len(refs)), key=lambda place: (refs[place].live_passages, place))
    return tuple(refs[place] for place in sorted(by_size[: surplus + 1]))


def compacted_name(chosen: Sequence[SegmentRef]) -> str:
    """The name of the segment that some segments become, as their tombstones are now."""
    return segment_name({"compact": [ref.to_dict() for ref in chosen]})


def compacted_format(sources: Sequence[Source]) -> PartFormat:
    """What the parts of the new segment have in common; float32 where vectors differ in width.

    Raises:
        Damaged: metadata columns have types that don't go together.
    """
    kinds = {source.info.vector_dtype for source in sources}
    try:
        metadata = pa.unify_schemas([source.info.metadata for source in sources])
    except pa.ArrowException as error:
        names = ", ".join(source.info.name for source in sources)
        raise Damaged(
            f"segments {names} have metadata columns that don't go together: {error}; "
            "embed again into a new store"
        ) from error
    identity = sources[0].info.identity
    return PartFormat(identity, kinds.pop() if len(kinds) == 1 else "float32", metadata)


def compacted_index(
    sources: Sequence[Source],
    limits: IndexOptions,
    index: str | None = None,
    recall_target: float | None = None,
) -> IndexOptions:
    """What index the new segment gets: what was asked for the old ones, unless it is given.

    Where they differ, what was asked for the one with the most rows.
    """
    old = max(sources, key=_rows).info.index
    asked = old.asked if old is not None else "none"
    target = old.target if old is not None else limits.recall_target
    return replace(
        limits,
        index=asked if index is None else index,
        recall_target=target if recall_target is None else recall_target,
    )


def compacted_language(sources: Sequence[Source]) -> str | None:
    """The language of the new segment's lexical index: that of the largest that has one."""
    having = [source for source in sources if source.info.lexical is not None]
    old = max(having, key=_rows).info.lexical if having else None
    return old.language if old is not None else None


def _rows(source: Source) -> int:
    return source.info.rows


def plan_compaction(
    sources: Sequence[Source],
    schema: pa.Schema,
    rows: int = MOST_ROWS,
    text_bytes: int = MOST_TEXT_BYTES,
) -> Plan:
    """Join old parts, in order, into new ones of at most ``rows`` live rows and ``text_bytes``.

    An old part is never split, so one alone may exceed them; a document stays in one part.
    """
    parts: list[Part] = []
    pieces: list[Slice] = []
    free_rows, free_bytes = rows, float(text_bytes)
    for place, source in enumerate(sources):
        for part, mask in source.masks():
            live = int(mask.sum())
            if not live and not part.rejects_name:
                continue
            size = part.text_bytes * live / max(part.rows, 1)
            if pieces and (live > free_rows or size > free_bytes):
                parts.append(Part(len(parts), tuple(pieces)))
                pieces, free_rows, free_bytes = [], rows, float(text_bytes)
            pieces.append(Slice(place, part.number, 0, live, 0))
            free_rows -= live
            free_bytes -= size
    if pieces:
        parts.append(Part(len(parts), tuple(pieces)))
    inputs = dict.fromkeys(file for source in sources for file in source.info.inputs)
    return Plan(tuple(inputs), ColumnOptions(), schema, tuple(parts))


def read_live(sources: Sequence[Source], part: Part, form: PartFormat) -> Iterator[pa.Table]:
    """The live rows of a new part as marked tables, with their vectors, then its rejects.

    Yields tables of the columns of ``form``, metadata columns that a segment lacks being null, and
    of ``_file, _row, _reject, _tokens``. A document's passages lie in one table.
    """
    yield from mark_chunks(part.number, join_tables(_pieces(sources, part, form)))


def commit_compaction(
    store: str, info: SegmentInfo, digest: str, chosen: Sequence[SegmentRef]
) -> Snapshot:
    """Make a compacted segment live in place of those that it was made of.

    Rows that died in the meantime die in the new segment too.

    Args:
        store: the store's URL.
        info: the compacted segment, whose ``segment.json`` stands.
        digest: the SHA-256 of that file.
        chosen: the segments, with the tombstones that they had when they were read.

    Raises:
        Conflict: one of them is not live any more, rows of it live again, or a vacuum took some of
            the new one.
    """
    made = SegmentRef(info.name, digest, info.total("documents"), info.rows, info.rejects)

    def build(parent: Snapshot | None) -> Content | None:
        live = {ref.name: ref for ref in parent.segments} if parent is not None else {}
        if parent is not None and made.name in live:
            return None
        for ref in chosen:
            if parent is None or live.get(ref.name, made).sha256 != ref.sha256:
                raise Conflict(
                    f"{store!r}: segment {ref.name} is not live any more, another writer replaced "
                    "or compacted it; run again"
                )
        assert parent is not None
        claim_segment(store, made)
        buried = _carry_over(store, made, chosen, live)
        gone = {ref.name for ref in chosen}
        # An empty segment stays: it counts the rejects.
        new = [buried] if buried is made or buried.live_passages else []
        segments: list[SegmentRef] = []
        for ref in parent.segments:
            if ref.name not in gone:
                segments.append(ref)
            elif ref.name == chosen[0].name:
                segments += new
        return replace(parent.content, segments=tuple(segments))

    return commit(store, "compact", build)


def _carry_over(
    store: str, made: SegmentRef, chosen: Sequence[SegmentRef], live: dict[str, SegmentRef]
) -> SegmentRef:
    """The new segment with the tombstones that the old ones got since they were read."""
    died, documents, first = BitMap64(), 0, 0
    for then in chosen:
        now = live[then.name]
        source = Source.open(store, then)
        alive = live_mask(source.dead, 0, source.info.rows)
        if now.tombstones != then.tombstones:
            dead = read_tombstones(source.paths, now.tombstones, source.info.rows)
            if source.dead - dead:
                raise Conflict(
                    f"{store!r}: rows of segment {then.name} live again, another writer rolled "
                    "back; run again"
                )
            places = np.cumsum(alive) - 1 + first
            fallen = dead - source.dead
            died.update(places[np.fromiter(fallen, np.int64, len(fallen))].tolist())
            documents += then.live_documents - now.live_documents
        first += int(alive.sum())
    if not died:
        return made
    paths = SegmentPaths(store, made.name)
    return replace(made, tombstones=write_tombstones(paths, died, documents))


def _pieces(sources: Sequence[Source], part: Part, form: PartFormat) -> Iterator[pa.Table]:
    documents = 0
    for piece in part.slices:
        source = sources[piece.file]
        old = source.info.parts[piece.row_group]
        mask = source.mask(piece.row_group)
        for table in _whole_documents(source.paths, old, mask):
            ids = table.column("document_id").combine_chunks()
            new = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
            places = np.concatenate([[0], np.cumsum(new)]) + documents
            documents = int(places[-1]) + 1
            own = {ROW: pa.array(places, pa.int64()), FILE: pa.array([""] * len(ids), pa.string())}
            yield _with_columns(table, form, own)
        if old.rejects_name:
            url = filesystem.join(source.paths.rejects, old.rejects_name)
            with open_parquet(url) as file, reading(url):
                rejects = file.read(REJECT_SCHEMA.names)
            yield _with_columns(rejects.rename_columns(list(REJECT_COLUMNS)), form, {})


def _whole_documents(
    paths: SegmentPaths, part: PartInfo, mask: npt.NDArray[np.bool_]
) -> Iterator[pa.Table]:
    """The live rows of an old part in tables that no document crosses."""
    if not mask.any():
        return
    url = filesystem.join(paths.vectors, part.name)
    place, rest = 0, None
    with open_parquet(url) as file, reading(url):
        if file.metadata.num_rows != part.rows:
            raise Damaged(
                f"{url} has {file.metadata.num_rows} rows, and the manifest says {part.rows}; "
                "restore it, or embed again into a new store"
            )
        size = sum(file.metadata.row_group(g).total_byte_size for g in range(file.num_row_groups))
        rows = max(min(ROWS_PER_CHUNK, BYTES_PER_CHUNK // max(size // part.rows, 1)), 1)
        for batch in file.iter_batches(rows):
            table = pa.Table.from_batches([batch])
            table = table.filter(pa.array(mask[place : place + batch.num_rows]))
            place += batch.num_rows
            table = table if rest is None else pa.concat_tables([rest, table])
            last = _start_of_last(table)
            if last:
                yield table.slice(0, last)
            rest = table.slice(last)
    if rest is not None and rest.num_rows:
        yield rest


def _start_of_last(table: pa.Table) -> int:
    """Where the passages of the last document start."""
    if not table.num_rows:
        return 0
    ids = table.column("document_id").combine_chunks()
    other = np.flatnonzero(pc.not_equal(ids, ids[-1]).to_numpy(zero_copy_only=False))
    return int(other[-1]) + 1 if len(other) else 0


def _with_columns(table: pa.Table, form: PartFormat, own: dict[str, pa.Array]) -> pa.Table:
    """The table with all columns of a chunk in their order; those that it lacks are null."""
    columns = []
    schema = pa.schema([*form.schema, *SOURCE_FIELDS, TOKEN_FIELD])
    for field in schema:
        if field.name in own:
            columns.append(own[field.name])
        elif field.name in table.column_names:
            columns.append(table.column(field.name).cast(field.type))
        else:
            columns.append(pa.nulls(table.num_rows, field.type))
    return pa.table(columns, schema=schema)


class _ReadLiveFn(beam.DoFn):
    def __init__(self, paths: SegmentPaths, chosen: Sequence[SegmentRef]) -> None:
        self._paths, self._chosen = paths, tuple(chosen)

    def setup(self) -> None:
        plan = self._paths.read_plan()
        if plan is None:
            raise Damaged(f"{self._paths.plan} is missing; run the same command again")
        self._plan = plan
        self._sources = [Source.open(self._paths.store, ref) for ref in self._chosen]
        self._form = compacted_format(self._sources)

    def process(self, element: int) -> Iterator[pa.Table]:
        # A bundle that is tried again finds the parts that its first try finished.
        if self._paths.read_marker(element) is None:
            yield from read_live(self._sources, self._plan.parts[element], self._form)


class ReadLive(beam.PTransform):
    """The live rows of segments, new part by new part, as ``PCollection[pa.Table]``."""

    def __init__(
        self, paths: SegmentPaths, chosen: Sequence[SegmentRef], parts: Iterable[int]
    ) -> None:
        super().__init__()
        self._paths, self._chosen, self._parts = paths, tuple(chosen), tuple(parts)

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection[pa.Table]:
        """Spread the part numbers over the workers, then wire `read_live`."""
        read = beam.ParDo(_ReadLiveFn(self._paths, self._chosen))
        return (
            pbegin
            | "Parts" >> beam.Create(self._parts).with_output_types(int)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> read.with_output_types(pa.Table)
        )


class _CommitFn(beam.DoFn):
    def __init__(self, store: str, chosen: Sequence[SegmentRef]) -> None:
        self._store, self._chosen = store, tuple(chosen)

    def process(self, element: SegmentInfo) -> Iterator[Snapshot]:
        info, digest = SegmentPaths(self._store, element.name).create_manifest(element)
        yield commit_compaction(self._store, info, digest, self._chosen)


class CommitCompaction(beam.PTransform):
    """A compacted `SegmentInfo` to the `Snapshot` in which it is live; see `commit_compaction`."""

    def __init__(self, store: str, chosen: Sequence[SegmentRef]) -> None:
        super().__init__()
        self._store, self._chosen = store, tuple(chosen)

    def expand(self, pcoll: beam.PCollection[SegmentInfo]) -> beam.PCollection[Snapshot]:
        """Wire `commit_compaction`."""
        commit = beam.ParDo(_CommitFn(self._store, self._chosen))
        return pcoll | "Commit" >> commit.with_output_types(Snapshot)
