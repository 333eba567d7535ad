"""``albeam compact``: merge segments and drop their dead rows, without a model."""

import functools
import time
from dataclasses import dataclass

from pipeline.maintenance.options import CompactOptions
from pipeline.runners.launch import check_reachable, make_pipeline, pipeline_options, run_pipeline
from pipeline.runners.progress import show_progress
from transforms.catalog.integrity import intact_parts
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.leases import lease_url, renew_claims
from transforms.catalog.segment import SegmentInfo
from transforms.catalog.snapshot import Snapshot, read_snapshot, snapshot_of
from transforms.errors import BadInput
from transforms.index.build import BuildIndex
from transforms.index.vector.selection import check_index_options
from transforms.ingest.read_parts import ReadParts
from transforms.ingest.write_parts import WriteParts
from transforms.storage import filesystem
from transforms.storage.probe import probe_exclusive
from transforms.transactions.compaction import (
    Source,
    check_compaction,
    choose_segments,
    compacted_format,
    compacted_index,
    compacted_language,
    compacted_name,
    plan_compaction,
)
from transforms.transactions.compaction_commit import CommitCompaction
from transforms.transactions.compaction_rows import open_live
from transforms.transactions.resume import free_name

_DEFAULTS = CompactOptions()


@dataclass(frozen=True)
class CompactSummary:
    """Result of a compaction.

    Attributes:
        store: URL of the store.
        snapshot: number of the snapshot in which the new segment is live.
        segments_before: number of segments before.
        segments_after: number of segments after.
        compacted: number of segments that the new one replaces.
        segment: name of the new segment, or "" if there was nothing to do.
        documents: number of documents in the new segment.
        passages: number of passages in the new segment.
        parts: number of parts of the new segment.
        parts_found_done: number of parts that an earlier, stopped run had written.
        bytes: size of parts and index.
        index: FAISS factory, or ``none``.
        index_reason: why the index has that factory.
        recall: recall@10 of the index, or None.
        seconds: duration of the command.
        notice: a remark for the user, or "".
    """

    store: str
    snapshot: int
    segments_before: int
    segments_after: int
    compacted: int
    segment: str
    documents: int
    passages: int
    parts: int
    parts_found_done: int
    bytes: int
    index: str
    index_reason: str
    recall: float | None
    seconds: float
    notice: str


def run(store: str, options: CompactOptions = _DEFAULTS) -> CompactSummary:
    """Write the live rows of some segments as one new segment, which replaces them.

    Raises:
        BadInput: there is no store, or an option can't be used.
        Damaged: a file of a segment can't be read.
        Conflict: another writer replaced a segment, or other writers were faster.
    """
    started = time.monotonic()
    check_reachable(options.runner, store)
    beam_options = pipeline_options(options.runner, options.beam_args)
    pipeline = make_pipeline(options.runner, beam_options)
    store = filesystem.absolute(store)
    snapshot = read_snapshot(store)
    probe_exclusive(store)
    chosen = choose_segments(snapshot, options.max_segments)
    if not chosen:
        return _nothing_to_do(store, snapshot, started)
    sources = [Source.open(store, ref) for ref in chosen]
    form = compacted_format(sources)
    paths = SegmentPaths(store, free_name(store, compacted_name(chosen)))
    if paths.read_plan() is not None:
        paths.claim()
    filesystem.create_exclusively(lease_url(paths, snapshot.number, "compact"), b"{}")
    most = {} if options.rows_per_part is None else {"rows": options.rows_per_part}
    expected = plan_compaction(sources, form.metadata, **most)
    plan = paths.create_plan(expected)
    check_compaction(plan, expected, paths.plan)
    index = options.index_options(*compacted_index(sources))
    check_index_options(index, form.identity.dim)
    done = intact_parts(paths)
    pending = [part.number for part in plan.parts if part.number not in done]
    _ = (
        pipeline
        | "ReadLive" >> ReadParts(paths, pending, functools.partial(open_live, chosen))
        | "WriteParts" >> WriteParts(paths, form)
        | "BuildIndex"
        >> BuildIndex(paths, len(plan.parts), form, index, language=compacted_language(sources))
        | "CommitCompaction" >> CommitCompaction(store, chosen)
    )
    rows = sum(plan.parts[number].rows for number in pending)
    with renew_claims(paths), show_progress(paths, len(plan.parts), len(done), rows):
        run_pipeline(pipeline)
    info = SegmentInfo.from_json(filesystem.read_bytes(paths.manifest), paths.manifest)
    number = _committed(store, paths.name)
    return CompactSummary(
        store=store,
        snapshot=number,
        segments_before=len(snapshot.segments),
        segments_after=len(read_snapshot(store, number).segments),
        compacted=len(chosen),
        segment=paths.name,
        documents=info.total("documents"),
        passages=info.rows,
        parts=len(info.parts),
        parts_found_done=len(done),
        bytes=info.size,
        index=info.index.factory if info.index is not None else "none",
        index_reason=info.index.why if info.index is not None else "",
        recall=info.index.recall if info.index is not None else None,
        seconds=round(time.monotonic() - started, 3),
        notice="",
    )


def _committed(store: str, segment: str) -> int:
    """Return the snapshot in which a segment is live; the newest if all its rows died since."""
    try:
        return snapshot_of(store, segment)
    except BadInput:
        return read_snapshot(store).number


def _nothing_to_do(store: str, snapshot: Snapshot, started: float) -> CompactSummary:
    count = len(snapshot.segments)
    return CompactSummary(
        store=store,
        snapshot=snapshot.number,
        segments_before=count,
        segments_after=count,
        compacted=0,
        segment="",
        documents=0,
        passages=0,
        parts=0,
        parts_found_done=0,
        bytes=0,
        index="none",
        index_reason="",
        recall=None,
        seconds=round(time.monotonic() - started, 3),
        notice="Nothing to do: no segment has tombstones, and no more segments than may remain.",
    )
