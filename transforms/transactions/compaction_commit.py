"""Commit a compaction: the new segment takes the place of the old ones."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import apache_beam as beam
import numpy as np
from pyroaring import BitMap64

from transforms.catalog.commit import commit
from transforms.catalog.integrity import claim_segment
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.segment import SegmentInfo
from transforms.catalog.snapshot import Content, SegmentRef, Snapshot
from transforms.catalog.tombstones import live_mask, read_tombstones, write_tombstones
from transforms.errors import Conflict
from transforms.runtime.checked_fn import CheckedFn
from transforms.transactions.compaction import Source


def commit_compaction(
    store: str,
    info: SegmentInfo,
    digest: str,
    chosen: Sequence[SegmentRef],
    command: str = "compact",
) -> Snapshot:
    """Make a compacted segment live in place of the old ones.

    Rows that died in the meantime die in the new segment too.

    Args:
        store: the store's URL.
        info: the compacted segment, which already has a ``segment.json``.
        digest: the SHA-256 of that file.
        chosen: the old segments, with the tombstones that they had when they were read.
        command: the command that the snapshot records.

    Raises:
        Conflict: an old segment is no longer live, dead rows of it are live again, or a vacuum
            removed files of the new segment.
    """
    made = SegmentRef(info.name, digest, info.total("documents"), info.rows, info.rejects)

    def build(parent: Snapshot | None) -> Content | None:
        live = {ref.name: ref for ref in parent.segments} if parent is not None else {}
        if parent is not None and made.name in live:
            return None
        for ref in chosen:
            if parent is None or live.get(ref.name, made).sha256 != ref.sha256:
                raise Conflict(
                    "segment",
                    ref.name,
                    f"is no longer live in {store}: another writer replaced or compacted it",
                    "Run again",
                )
        assert parent is not None
        claim_segment(store, made)
        after = _with_new_tombstones(store, made, chosen, live)
        old = {ref.name for ref in chosen}
        # A segment that never had rows stays: it counts the rejects.
        new = [after] if after is made or after.live_passages else []
        segments: list[SegmentRef] = []
        for ref in parent.segments:
            if ref.name not in old:
                segments.append(ref)
            elif ref.name == chosen[0].name:
                segments += new
        return replace(parent.content, segments=tuple(segments))

    return commit(store, command, build)


def _with_new_tombstones(
    store: str, made: SegmentRef, chosen: Sequence[SegmentRef], live: dict[str, SegmentRef]
) -> SegmentRef:
    """Return the new segment with the tombstones that the old ones got since they were read."""
    dead, documents, first = BitMap64(), 0, 0
    for then in chosen:
        now = live[then.name]
        source = Source.open(store, then)
        alive = live_mask(source.dead, 0, source.info.rows)
        if now.tombstones != then.tombstones:
            dead_now = read_tombstones(source.paths, now.tombstones, source.info.rows)
            if source.dead - dead_now:
                raise Conflict(
                    "segment",
                    then.name,
                    f"has live rows in {store} that were dead: another writer rolled back",
                    "Run again",
                )
            places = np.cumsum(alive) - 1 + first
            died = dead_now - source.dead
            dead.update(places[np.fromiter(died, np.int64, len(died))].tolist())
            documents += then.live_documents - now.live_documents
        first += int(alive.sum())
    if not dead:
        return made
    paths = SegmentPaths(store, made.name)
    return replace(made, tombstones=write_tombstones(paths, dead, documents))


class _CommitFn(CheckedFn):
    def __init__(self, store: str, chosen: Sequence[SegmentRef], command: str = "compact") -> None:
        super().__init__()
        self._store, self._chosen, self._command = store, tuple(chosen), command

    def process(self, element: SegmentInfo) -> Iterator[Snapshot]:
        info, digest = SegmentPaths(self._store, element.name).create_manifest(element)
        yield commit_compaction(self._store, info, digest, self._chosen, self._command)


class CommitCompaction(beam.PTransform):
    """The transform from a compacted segment to the snapshot in which it is live."""

    def __init__(self, store: str, chosen: Sequence[SegmentRef], command: str = "compact") -> None:
        super().__init__()
        self._store, self._chosen, self._command = store, tuple(chosen), command

    def expand(self, pcoll: beam.PCollection[SegmentInfo]) -> beam.PCollection[Snapshot]:
        """Wire `commit_compaction`."""
        commit = beam.ParDo(_CommitFn(self._store, self._chosen, self._command))
        return pcoll | "Commit" >> commit.with_output_types(Snapshot)
