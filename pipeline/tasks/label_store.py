"""``albeam predict --as``: a new snapshot with the labels as a metadata column."""

import functools

from pipeline.runners.launch import make_pipeline, pipeline_options, run_pipeline
from pipeline.runners.progress import show_progress
from pipeline.tasks.options import PredictOptions
from transforms.catalog.integrity import intact_parts
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.leases import lease_url, renew_claims
from transforms.catalog.segment import SegmentInfo
from transforms.catalog.snapshot import Snapshot, snapshot_of
from transforms.index.build import BuildIndex
from transforms.index.options import IndexOptions
from transforms.ingest.read_parts import ReadParts
from transforms.ingest.write_parts import WriteParts
from transforms.storage import filesystem
from transforms.storage.probe import probe_exclusive
from transforms.tasks.prediction.label_column import labelled_format, labelled_name, open_labelled
from transforms.tasks.vector_heads.vector_head import VectorHead
from transforms.transactions.compaction import (
    Source,
    check_compaction,
    compacted_index,
    compacted_language,
    plan_compaction,
)
from transforms.transactions.compaction_commit import CommitCompaction
from transforms.transactions.resume import free_name


def label_store(
    store: str, snapshot: Snapshot, folder: str, head: VectorHead, options: PredictOptions
) -> tuple[int, SegmentInfo]:
    """Write the live rows of a snapshot again as one segment, with their labels, and commit it.

    Args:
        store: the store's URL.
        snapshot: the newest snapshot, which lacks the column.
        folder: the absolute path of the head.
        head: the head.
        options: with the name of the column.

    Returns:
        The number of the new snapshot, and the new segment.

    Raises:
        Damaged: a file of a segment can't be read.
        Conflict: another writer replaced a segment, or other writers were faster.
    """
    assert options.column is not None
    pipeline = make_pipeline(options.runner, pipeline_options(options.runner, options.beam_args))
    probe_exclusive(store)
    chosen = snapshot.segments
    sources = [Source.open(store, ref) for ref in chosen]
    form = labelled_format(sources, head, options.column)
    name = labelled_name(chosen, head.digest(), options.column)
    paths = SegmentPaths(store, free_name(store, name))
    if paths.read_plan() is not None:
        paths.claim()
    filesystem.create_exclusively(lease_url(paths, snapshot.number, "predict"), b"{}")
    expected = plan_compaction(sources, form.metadata)
    plan = paths.create_plan(expected)
    check_compaction(plan, expected, paths.plan)
    kind, target = compacted_index(sources)
    index = IndexOptions(index=kind, recall_target=target)
    done = intact_parts(paths)
    pending = [part.number for part in plan.parts if part.number not in done]
    reader = functools.partial(open_labelled, chosen, folder, head.digest(), options.column)
    _ = (
        pipeline
        | "ReadLabelled" >> ReadParts(paths, pending, reader)
        | "WriteParts" >> WriteParts(paths, form)
        | "BuildIndex"
        >> BuildIndex(paths, len(plan.parts), form, index, language=compacted_language(sources))
        | "CommitLabels" >> CommitCompaction(store, chosen, "predict")
    )
    rows = sum(plan.parts[number].rows for number in pending)
    with renew_claims(paths), show_progress(paths, len(plan.parts), len(done), rows):
        run_pipeline(pipeline)
    info = SegmentInfo.from_json(filesystem.read_bytes(paths.manifest), paths.manifest)
    return snapshot_of(store, paths.name), info
