"""The Beam job of a run that embeds."""

from dataclasses import dataclass

import apache_beam as beam

from pipeline.ingest.options import EmbedOptions
from pipeline.runners.dataflow import embedding_hints
from pipeline.runners.launch import make_pipeline, pipeline_options
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.parts import PartFormat
from transforms.catalog.plan import Plan
from transforms.catalog.segment import PartInfo
from transforms.index.build import BuildIndex
from transforms.index.vector.plan import IndexContext
from transforms.ingest.embed_passages import AlbertEmbeddingHandler, EmbedPassages
from transforms.ingest.options import PassageOptions
from transforms.ingest.passages import SplitPassages
from transforms.ingest.read_parts import ReadParts
from transforms.ingest.write_parts import WriteParts
from transforms.models.identity import ModelIdentity
from transforms.models.options import Placement
from transforms.models.resolve import Model, options_for
from transforms.storage.filesystem import FileInfo
from transforms.transactions.commit_job import CommitSnapshot
from transforms.transactions.reuse_vectors import CarryParts


@dataclass(frozen=True)
class EmbedJob:
    """What is settled before work: options, what they resolve to, and when it began."""

    options: EmbedOptions
    store: str
    model: Model
    placement: Placement
    passages: PassageOptions
    files: list[FileInfo]
    started: float

    @property
    def identity(self) -> ModelIdentity:
        """Of the model."""
        return self.model.identity

    def pipeline(self) -> beam.Pipeline:
        """An empty one for the runner that was asked for."""
        options = pipeline_options(self.options.runner, self.options.beam_args)
        return make_pipeline(self.options.runner, options)


def add_embedding(
    pipeline: beam.Pipeline,
    job: EmbedJob,
    paths: SegmentPaths,
    plan: Plan,
    done: set[int],
    context: IndexContext,
    language: str | None,
) -> None:
    """Wire what does the parts of a plan that are not done, indexes and commits them."""
    options, identity = job.options, job.identity
    form = PartFormat(identity, options.vector_dtype, plan.schema)
    # Workers find the very model that was checked here, or say that theirs is another.
    pinned = options_for(identity)
    handler = AlbertEmbeddingHandler(
        pinned, options.placement.device, options.placement.dtype
    ).for_tables()
    pending = [part for part in plan.parts if part.number not in done]
    carried = [part.number for part in pending if part.carry]
    written = []
    if carried:
        written.append(
            pipeline
            | "CarryParts" >> CarryParts(paths, carried)
            | "WriteCarried" >> WriteParts(paths, form)
        )
    numbers = [part.number for part in pending if not part.carry]
    if numbers:
        # On all of the chain: a hint on one stage breaks its fusion with the next.
        hints = embedding_hints(pipeline.options)
        written.append(
            pipeline
            | "ReadParts" >> ReadParts(paths, numbers).with_resource_hints(**hints)
            | "SplitPassages" >> SplitPassages(pinned, job.passages).with_resource_hints(**hints)
            | "EmbedPassages" >> EmbedPassages(handler).with_resource_hints(**hints)
            | "WriteParts" >> WriteParts(paths, form).with_resource_hints(**hints)
        )
    if not written:
        written.append(pipeline | "NoParts" >> beam.Create([]).with_output_types(PartInfo))
    _ = (
        (tuple(written) | "AllParts" >> beam.Flatten() if len(written) > 1 else written[0])
        | "BuildIndex" >> BuildIndex(paths, len(plan.parts), form, options.index, context, language)
        | "CommitSnapshot" >> CommitSnapshot(job.store, options.mode)
    )
