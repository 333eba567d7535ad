"""The Beam job that writes a segment: embed its parts, index them and commit a snapshot."""

import apache_beam as beam

from pipeline.ingest.resolve import ResolvedJob
from pipeline.runners.dataflow import embedding_hints
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.parts import PartFormat
from transforms.catalog.plan import Plan
from transforms.catalog.segment import PartInfo
from transforms.index.build import BuildIndex
from transforms.index.vector.plan import IndexContext
from transforms.ingest.passages import SplitPassages
from transforms.ingest.read_parts import ReadParts
from transforms.ingest.write_parts import WriteParts
from transforms.transactions.commit_job import CommitSnapshot
from transforms.transactions.reuse_vectors import open_carried


def add_embedding(
    pipeline: beam.Pipeline,
    job: ResolvedJob,
    paths: SegmentPaths,
    plan: Plan,
    done: set[int],
    context: IndexContext,
    language: str | None,
) -> None:
    """Add the stages that write the unfinished parts of a plan, index and commit them."""
    options = job.options
    form = PartFormat(job.identity, options.vector_dtype, plan.schema)
    pending = [part for part in plan.parts if part.number not in done]
    carried = [part.number for part in pending if part.carry]
    written = []
    if carried:
        tables = pipeline | "CarryParts" >> ReadParts(paths, carried, open_carried, "Carry")
        if (labels := job.labels()) is not None:
            tables |= "LabelCarried" >> labels
        written.append(tables | "WriteCarried" >> WriteParts(paths, form))
    numbers = [part.number for part in pending if not part.carry]
    if numbers:
        # On the whole chain: a hint on one stage breaks its fusion with the next.
        hints = embedding_hints(pipeline.options)
        split = SplitPassages(job.pinned_model, job.passages)
        written.append(
            pipeline
            | "ReadParts" >> ReadParts(paths, numbers).with_resource_hints(**hints)
            | "SplitPassages" >> split.with_resource_hints(**hints)
            | "EmbedPassages" >> job.embedding().with_resource_hints(**hints)
            | "WriteParts" >> WriteParts(paths, form).with_resource_hints(**hints)
        )
    if not written:
        written.append(pipeline | "NoParts" >> beam.Create([]).with_output_types(PartInfo))
    _ = (
        (tuple(written) | "AllParts" >> beam.Flatten() if len(written) > 1 else written[0])
        | "BuildIndex" >> BuildIndex(paths, len(plan.parts), form, options.index, context, language)
        | "CommitSnapshot" >> CommitSnapshot(job.store, options.mode)
    )
