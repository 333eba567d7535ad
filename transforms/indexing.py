"""The transforms from parts to a live snapshot: index shards, ``segment.json``, commit."""

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam

from transforms import storage
from transforms.changes import read_changes
from transforms.commits import commit_segment
from transforms.parquet import PartFormat, read_vectors
from transforms.planning import Plan
from transforms.segment import (
    IndexInfo,
    IndexShard,
    PartInfo,
    SegmentInfo,
    SegmentPaths,
    complete_parts,
)
from transforms.snapshot import Snapshot

#: Vectors of an index shard at most, in bytes; it bounds the memory of building one.
MOST_SHARD_BYTES = 1 << 30


@dataclass(frozen=True)
class ShardPlan:
    """Consecutive parts whose rows share an index file."""

    number: int
    first_row: int
    parts: tuple[PartInfo, ...]

    @property
    def rows(self) -> int:
        """Rows of all its parts."""
        return sum(part.rows for part in self.parts)


def plan_shards(parts: tuple[PartInfo, ...], dim: int, most_bytes: int) -> list[ShardPlan]:
    """Group parts, in order, into shards of at most ``most_bytes`` of float32 vectors.

    A part is never split, so one alone may exceed it; a part without rows joins its neighbours.
    """
    shards: list[ShardPlan] = []
    group: list[PartInfo] = []
    first = rows = 0
    for part in parts:
        if rows and (rows + part.rows) * dim * 4 > most_bytes:
            shards.append(ShardPlan(len(shards), first, tuple(group)))
            first, rows, group = first + rows, 0, []
        group.append(part)
        rows += part.rows
    if rows:
        shards.append(ShardPlan(len(shards), first, tuple(group)))
    return shards


def build_shard(paths: SegmentPaths, shard: ShardPlan, factory: str, dim: int) -> IndexShard:
    """Build and write the index file of a shard from its parts."""
    from transforms.faiss_index import build_index, write_index

    paths.claim()
    built = build_index(factory, dim, shard.rows, lambda: read_vectors(paths, shard.parts))
    written: list[tuple[str, str]] = []

    def name(digest: str) -> str:
        written.append((f"shard-{shard.number:05d}-{digest[:8]}.faiss", digest))
        return written[-1][0]

    with storage.put_atomically(paths.index, name) as path:
        write_index(built.index, path)
    file, digest = written[-1]
    size = storage.size(storage.join(paths.index, file))
    return IndexShard(shard.number, file, shard.rows, shard.first_row, size, digest, built.recall)


def describe_segment(
    paths: SegmentPaths,
    plan: Plan,
    form: PartFormat,
    factory: str | None,
    parts: tuple[PartInfo, ...],
    shards: list[IndexShard],
) -> SegmentInfo:
    """What ``segment.json`` will say."""
    index = None
    if factory is not None:
        ordered = tuple(sorted(shards, key=_shard_number))
        index = IndexInfo(factory, "inner_product", ordered)
    return SegmentInfo(
        name=paths.name,
        identity=form.identity,
        vector_dtype=form.vector_dtype,
        inputs=plan.files,
        metadata=plan.schema,
        parts=parts,
        index=index,
    )


def _shard_number(shard: IndexShard) -> int:
    return shard.number


class _PlanShardsFn(beam.DoFn):
    def __init__(self, paths: SegmentPaths, parts: int, dim: int) -> None:
        self._paths, self._parts, self._dim = paths, parts, dim

    def process(self, _: None, infos: list[PartInfo]) -> Iterator[ShardPlan]:
        parts = complete_parts(self._paths, self._parts, infos)
        yield from plan_shards(parts, self._dim, MOST_SHARD_BYTES)


class _BuildShardFn(beam.DoFn):
    def __init__(self, paths: SegmentPaths, factory: str, dim: int) -> None:
        self._paths, self._factory, self._dim = paths, factory, dim

    def process(self, element: ShardPlan) -> Iterator[IndexShard]:
        yield build_shard(self._paths, element, self._factory, self._dim)


class _DescribeFn(beam.DoFn):
    def __init__(
        self, paths: SegmentPaths, parts: int, form: PartFormat, factory: str | None
    ) -> None:
        self._paths, self._parts = paths, parts
        self._form, self._factory = form, factory

    def process(
        self, _: None, infos: list[PartInfo], shards: list[IndexShard]
    ) -> Iterator[SegmentInfo]:
        plan = self._paths.read_plan()
        assert plan is not None
        parts = complete_parts(self._paths, self._parts, infos)
        yield describe_segment(self._paths, plan, self._form, self._factory, parts, shards)


class BuildIndex(beam.PTransform):
    """All `PartInfo` of a segment to its one `SegmentInfo`, with an index where one is wanted.

    Parts that an earlier run finished are read from their markers.
    """

    def __init__(
        self, paths: SegmentPaths, parts: int, form: PartFormat, factory: str | None
    ) -> None:
        super().__init__()
        self._paths, self._parts = paths, parts
        self._form, self._factory = form, factory

    def expand(self, pcoll: beam.PCollection[PartInfo]) -> beam.PCollection[SegmentInfo]:
        """Wire planning, one build a shard, and the description."""
        dim = self._form.identity.dim
        infos = beam.pvalue.AsList(pcoll)
        start = pcoll.pipeline | "Start" >> beam.Create([None])
        if self._factory is None:
            shards = pcoll.pipeline | "NoShards" >> beam.Create([]).with_output_types(IndexShard)
        else:
            shards = (
                start
                | "PlanShards" >> beam.ParDo(_PlanShardsFn(self._paths, self._parts, dim), infos)
                | "Spread" >> beam.Reshuffle()
                | "BuildShard" >> beam.ParDo(_BuildShardFn(self._paths, self._factory, dim))
            )
        describe = _DescribeFn(self._paths, self._parts, self._form, self._factory)
        return start | "Describe" >> beam.ParDo(describe, infos, beam.pvalue.AsList(shards))


class _CommitFn(beam.DoFn):
    def __init__(self, store: str, mode: str, command: str) -> None:
        self._store, self._mode, self._command = store, mode, command

    def process(self, element: SegmentInfo) -> Iterator[Snapshot]:
        paths = SegmentPaths(self._store, element.name)
        info, digest = paths.settle_segment(element)
        changes = read_changes(paths)
        yield commit_segment(self._store, info, digest, self._mode, self._command, changes)


class CommitSnapshot(beam.PTransform):
    """A `SegmentInfo` to the `Snapshot` in which it is live; see `commit_segment`."""

    def __init__(self, store: str, mode: str = "append", command: str = "embed") -> None:
        super().__init__()
        self._store, self._mode, self._command = store, mode, command

    def expand(self, pcoll: beam.PCollection[SegmentInfo]) -> beam.PCollection[Snapshot]:
        """Wire `commit_segment`."""
        commit = _CommitFn(self._store, self._mode, self._command)
        return pcoll | "Commit" >> beam.ParDo(commit).with_output_types(Snapshot)
